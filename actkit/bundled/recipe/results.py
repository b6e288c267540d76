"""What evaluate.py measures and card.py prints."""

from dataclasses import dataclass

from actkit.bundled.recipe.language_scores import Baselines, Loss, Sample
from actkit.bundled.recipe.sae_scores import Fidelity, Splice


@dataclass(frozen=True)
class SaeResult:
    """One SAE: its shape and training, its fidelity on held-out and trained-on windows, and its splice."""

    hook_point: str
    d_sae: int
    k: float
    training_tokens: int
    held_out: Fidelity
    trained_on: Fidelity
    splice: Splice

    @property
    def dead(self) -> float:
        """The fraction of features that never fired on the trained-on windows."""
        return 1 - self.trained_on.fired.float().mean().item()


@dataclass(frozen=True)
class Results:
    """Everything that the card reports; `losses` by kind of held-out document, with books among them."""

    parameters: int
    training_tokens: int
    documents: dict[str, tuple[int, int]]
    losses: dict[str, Loss]
    bits_per_byte: float
    baselines: Baselines
    samples: list[Sample]
    saes: list[SaeResult]
    splice_tokens: int
    sae_lens_version: str
