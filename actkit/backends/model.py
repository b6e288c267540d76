"""The one seam to models: `Description` before the weights are loaded, `Model` after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch

from actkit.config import ModelSpec

HookFn: TypeAlias = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Description:
    """A model before its weights are loaded: enough to check every option against it."""

    spec: ModelSpec
    """With `device`, `dtype` and `attn` resolved and `name` as the user wrote it."""
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
    """Warnings for readers of the run."""

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
    """A loaded model: runs a batch up to the last hook point that is wanted."""

    @property
    def description(self) -> Description:
        """The description that it was loaded from."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a row may be a tree, with a mask that says what attends to what."""

    def weights_digest(self) -> str:
        """A digest of the weights that run, as they are in memory: another checkpoint has another."""

    def unembedding(self) -> torch.Tensor | None:
        """The output layer's weights [vocabulary, d_model]; None where there are none that can be read."""

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, HookFn]
    ) -> None:
        """Run `input_ids` [batch, column] and hand each hook point's tensor [batch, column, …] to its tap, once each.

        `tree` [batch, column, column] is true where a column may attend; None means each row is one sequence, padded
        on the right. Computation stops when the last tap has been served: no later block, no LM head.

        Raises ModelError when a hook point does not fire exactly once.
        """
