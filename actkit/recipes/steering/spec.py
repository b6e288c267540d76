"""`SteerSpec`: the options of `steer`. `check` refuses options that contradict one another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, cast, get_args

import numpy as np

from actkit.config import ExportFormat, SteerDo, SteerPositions, TokenSpec
from actkit.errors import UsageError


@dataclass(frozen=True)
class SteerSpec:
    """The options of `steer`."""

    command: ClassVar[str] = "steer"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("gguf", "steering-vectors", "persona")
    run: str = field(metadata={"reads": True})
    """A finished run of `concept` or `reward-detect`."""
    answers: str | None = field(default=None, metadata={"reads_too": True})
    """File of prompts with two answers each, in place of the run's held-out texts."""
    do: str | None = None
    """add, project-out, zero, clamp, or clamp:VALUE; None adds directions, and sets features to zero.

    `clamp` without a value sets each feature to its mean activation in the texts where it is active."""
    method: Sequence[str] = ("mean-diff",)
    """Methods whose directions are taken."""
    layers: str | None = None
    """None takes three layers in the middle of the model, or with `every_layer` all that have directions."""
    strengths: str | None = None
    """Numbers with commas, in units of the difference measured at the layer, or of features' mean activations; None
    takes -4,-2,-1,1,2,4 for adding directions, and 1 otherwise."""
    every_layer: bool = False
    """Project out at all layers at once."""
    features: str | None = None
    """top:N, bottom:N or ids, in place of directions."""
    sae_name: str | None = None
    """The SAE whose features are taken, if the run has several."""
    each: bool = False
    """Whether features are steered one by one, not as a set."""
    words: str | None = None
    """Two files, with a comma between, of positive and negative words, whose likelihood after each text is measured."""
    random: int = field(default=20, metadata={"least": 0})
    """Controls for each direction or set of features, at each layer and strength."""
    positions: SteerPositions = "all"
    answer_tokens: int = field(default=20, metadata={"least": 1})
    """Most tokens of an answer that the unsteered model gives."""
    budget: float = field(default=0.1, metadata={"least": 0})
    """Most nats a token that neutral text may lose under the chosen intervention."""
    show: int = field(default=0, metadata={"least": 0})
    """Prompts to which answers are generated, steered and not, to be shown."""
    seed: int = field(default=0, metadata={"least": 0})
    tokens: TokenSpec = field(default_factory=TokenSpec, metadata={"option": None})

    @property
    def done(self) -> tuple[SteerDo | None, float | None]:
        """The action, and the value to which features are set. Raises UsageError for an unknown action."""
        if self.do is None:
            return None, None
        name, _, value = self.do.partition(":")
        if name not in get_args(SteerDo) or (value and name != "clamp") or self.do.endswith(":"):
            raise UsageError(f"--do {self.do} is not known", f"{', '.join(get_args(SteerDo))} or clamp:VALUE")
        return cast("SteerDo", name), _number(value, f"--do {self.do}") if value else None

    def each_strength(self, usual: Sequence[float]) -> tuple[float, ...]:
        """Return the given strengths, or else the `usual` ones. Raises UsageError for 0 and for what is no number."""
        if self.strengths is None:
            return tuple(usual)
        found = [_number(strength, f"--strengths {self.strengths}") for strength in self.strengths.split(",")]
        if 0 in found:
            raise UsageError("--strengths: 0 is the model as it is", "such as --strengths=-4,-2,-1,1,2,4")
        return tuple(dict.fromkeys(found))


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UsageError(f"{what}: {text.strip()!r} is no number", "such as --strengths=-4,-2,-1,1,2,4")
    return value


def check(spec: SteerSpec) -> None:
    """Raise UsageError for options that contradict one another."""
    do, _ = spec.done
    spec.each_strength(())
    on_features = spec.features is not None
    if spec.every_layer and do != "project-out":
        raise UsageError(
            "--every-layer: a difference that is added at every layer is added many times over",
            "add it at one layer, or --do project-out --every-layer",
        )
    if do in ("zero", "clamp") and not on_features:
        raise UsageError(f"--do {do} is for features", "--features top:10; directions are added or projected out")
    if do == "project-out" and on_features:
        raise UsageError("--do project-out is for directions", "features are set to zero: --do zero")
    if spec.each and not on_features:
        raise UsageError("--each is for features", "--features top:10 --each")
