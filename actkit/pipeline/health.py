"""How an SAE does on the data of a run, counted while its features are computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from actkit.backends.sae import Sae

DENSE = 0.1
"""A feature that fires on more than this share of tokens is called dense."""


@dataclass
class Health:
    """How an SAE does on this data, special tokens left out: they are not what it was trained on."""

    sae: Sae
    n_tokens: int = 0
    n_active: int = 0
    longest: int = 0
    """Tokens before and with the last position read: how much context the SAE was given."""
    fired: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """[d_sae]: on how many tokens each feature fired."""
    error: float = 0.0
    """Sum of squared differences between input and reconstruction."""
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """[d_in] float64: sum of the inputs."""
    squares: float = 0.0
    """Sum of the inputs' squared norms."""

    def count(self, x: torch.Tensor, features: torch.Tensor) -> None:
        """Add tokens with input `x` [n, d_in] and encoding `features` [n, d_sae]."""
        if not len(x):
            return
        if not self.n_tokens:
            self.fired = torch.zeros(self.sae.d_sae, dtype=torch.int64)
            self.total = torch.zeros(self.sae.d_in, dtype=torch.float64)
        active = features > 0
        self.n_tokens += len(x)
        self.fired += active.sum(0).cpu()
        self.n_active += int(active.sum())
        exact = x.to(torch.float32)
        self.error += float((exact - self.sae.reconstruct(x, features)).double().square().sum())
        self.total += exact.double().sum(0).cpu()
        self.squares += float(exact.double().square().sum())

    def summary(self) -> Mapping[str, Any]:
        """L0, explained variance (1 - residual / variance around the mean), and shares of dead and dense features."""
        row: dict[str, Any] = {
            "sae": self.sae.name,
            "hook_point": str(self.sae.hook_point),
            "n_tokens": self.n_tokens,
            "longest_context": self.longest,
        }
        if self.n_tokens:
            variance = self.squares - float(self.total.square().sum()) / self.n_tokens
            row |= {
                "l0": self.n_active / self.n_tokens,
                "explained_variance": 1 - self.error / variance if variance > 0 else None,
                "dead_fraction": float((self.fired == 0).double().mean()),
                "dense_fraction": float((self.fired > DENSE * self.n_tokens).double().mean()),
            }
        return row
