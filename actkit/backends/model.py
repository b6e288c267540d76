"""The only interface to models: `Description` before the weights are loaded, `Model` after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch

from actkit.config import ModelSpec

HookFn: TypeAlias = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Description:
    """A model before its weights are loaded, with all that checks of options need."""

    spec: ModelSpec
    """The spec with resolved `device`, `dtype` and `attn`, and `name` as the user wrote it."""
    location: str
    """A local directory or a Hugging Face id."""
    revision: str | None
    """The hub's commit, or for a local directory a digest of its files."""
    config: Any
    tokenizer: Any
    n_layers: int
    d_model: int
    context_length: int | None
    """Most tokens of a sequence; None where the model has no fixed context."""
    doubts: tuple[str, ...] = ()
    """Warnings about the model for readers of the run."""

    @property
    def vocabulary(self) -> int | None:
        """The number of token ids that the model has embeddings of; None where its configuration does not say."""
        found = getattr(self.config.get_text_config(), "vocab_size", None)
        return found if isinstance(found, int) else None

    @property
    def architecture(self) -> str:
        """The class name in `config.json`, for example LlamaForCausalLM."""
        return str((self.config.architectures or ["unknown"])[0])


class Model(Protocol):
    """A loaded model, which runs batches up to the last hook point that is read."""

    @property
    def description(self) -> Description:
        """The description that it was loaded from."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a row of a batch may be a tree of sequences, with a mask of which column attends to which."""

    def weights_digest(self) -> str:
        """A digest of the weights in memory, which differs for another checkpoint."""

    def unembedding(self) -> torch.Tensor | None:
        """The output layer's weights [vocabulary, d_model]; None where they cannot be read."""

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn]
    ) -> None:
        """Run `input_ids` [batch, column] and pass each hook point's tensor [batch, column, …] to its tap, once each.

        `tree` [batch, query, key] is true where a column attends to another; None means that each row is one sequence,
        padded on the right. Computation stops after the last tap: no later block, no LM head.

        Raises ModelError when a hook point does not fire exactly once.
        """
