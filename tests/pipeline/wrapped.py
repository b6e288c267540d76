"""A model around a model, for tests that count what it is given or change what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from actkit.backends import Description, Model


@dataclass
class Wrapped:
    """The model `inner` in everything; a test's own class says otherwise where it differs.

    Like an engine that is no `torch.nn.Module`, it has no module to look into.
    """

    inner: Model

    @property
    def description(self) -> Description:
        return self.inner.description

    @property
    def shares_prefixes(self) -> bool:
        return self.inner.shares_prefixes

    def weights_digest(self) -> str:
        return self.inner.weights_digest()

    def unembedding(self) -> torch.Tensor | None:
        return self.inner.unembedding()

    def run(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: Any, taps: Mapping[str, Any]) -> None:
        self.inner.run(input_ids, positions, tree, taps)
