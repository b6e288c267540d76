"""How an SAE does on the data of a run, counted while its features are computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from actkit.backends.saes.sae import Sae
from actkit.runs.manifest import State

DENSE = 0.1
"""A feature that fires on more than this share of tokens is called dense."""

_SCALARS = ("n_tokens", "n_active", "longest", "n_decoded", "error", "squares")


DECODED_ALL, DECODED_ONE_IN = 16_384, 16
"""Explained variance is from the first tokens, and of those after them from one in so many."""
GOLDEN = 2_654_435_769
"""2^32 times the golden section: multiples of it are spread evenly over 32 bits, whatever stretch or step is taken."""


@dataclass(frozen=True)
class Active:
    """What is active in an encoding [n, d_sae], token by token and by id within a token."""

    rows: torch.Tensor
    ids: torch.Tensor
    values: torch.Tensor
    """[nonzeros] each."""

    def of(self, chosen: torch.Tensor, n: int, d_sae: int) -> torch.Tensor:
        """Some of the n tokens, by number and in order, as a sparse tensor [chosen, d_sae]."""
        number = torch.full((n,), -1, device=chosen.device)
        number[chosen] = torch.arange(len(chosen), device=chosen.device)
        rows = number[self.rows]
        kept = rows >= 0
        indices = torch.stack([rows[kept], self.ids[kept]])
        size = (len(chosen), d_sae)
        return torch.sparse_coo_tensor(indices, self.values[kept], size, check_invariants=False, is_coalesced=True)


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
    n_decoded: int = 0
    """Tokens that the three sums below are over."""
    error: float = 0.0
    """Sum of squared differences between input and reconstruction."""
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    """[d_in] float64: sum of the inputs, centred for an SAE that reads them so."""
    squares: float = 0.0
    """Sum of the inputs' squared norms."""

    def count(self, x: torch.Tensor, active: Active, plain: torch.Tensor) -> None:
        """Add the tokens that are `plain` [n]: input `x` [n, d_in], and what is active in its encoding.

        After the first tokens only one in a few is decoded.
        """
        if not self.n_tokens:
            self.fired = torch.zeros(self.sae.d_sae, dtype=torch.int64)
            self.total = torch.zeros(self.sae.d_in, dtype=torch.float64)
        ids = active.ids[plain[active.rows]]
        before = self.n_tokens
        self.n_tokens += int(plain.sum())
        self.n_active += len(ids)
        self.fired += torch.bincount(ids, minlength=self.sae.d_sae).cpu()
        if self.sae.reconstruct is None:
            return
        chosen = plain.nonzero()[:, 0]
        if self.n_decoded >= DECODED_ALL:
            # By its number among all tokens: each batch's first one would be a sequence's beginning too often.
            number = torch.arange(before, self.n_tokens, device=chosen.device)
            chosen = chosen[(number * GOLDEN) % 2**32 < 2**32 // DECODED_ONE_IN]
        if len(chosen):
            features = active.of(chosen, len(x), self.sae.d_sae)
            x = x[chosen]
            exact = x.to(torch.float32)
            self.n_decoded += len(x)
            self.error += float((exact - self.sae.reconstruct(x, features)).double().square().sum())
            if self.sae.facts.get("centred_input") and self.sae.hook_point.name != "attn.hook_z":
                exact = exact - exact.mean(-1, keepdim=True)  # what it does not read, it does not explain
            self.total += exact.double().sum(0).cpu()
            self.squares += float(exact.double().square().sum())

    def state(self) -> State:
        """A copy of all that has been counted: scalars, and arrays [d_sae] and [d_in]."""
        counted = (self.n_tokens, self.n_active, self.longest, self.n_decoded, self.error, self.squares)
        own = {name: np.array(value) for name, value in zip(_SCALARS, counted, strict=True)}
        return own | {"fired": self.fired.numpy().copy(), "total": self.total.numpy().copy()}

    def restore(self, state: State) -> None:
        """Go back to what `state` gave: every number is as it was, to the last bit."""
        for name in _SCALARS:
            setattr(self, name, state[name].item())
        self.fired = torch.from_numpy(state["fired"].copy())
        self.total = torch.from_numpy(state["total"].copy())

    def summary(self) -> Mapping[str, Any]:
        """L0, explained variance (1 - residual / variance around the mean), and shares of dead and dense features."""
        row: dict[str, Any] = {
            "sae": self.sae.name,
            "hook_point": str(self.sae.hook_point),
            "n_tokens": self.n_tokens,
            "longest_context": self.longest,
        }
        if self.n_tokens:
            variance = self.squares - float(self.total.square().sum()) / max(self.n_decoded, 1)
            row |= {
                "l0": self.n_active / self.n_tokens,
                "n_decoded": self.n_decoded,
                "explained_variance": 1 - self.error / variance if variance > 0 else None,
                "dead_fraction": float((self.fired == 0).double().mean()),
                "dense_fraction": float((self.fired > DENSE * self.n_tokens).double().mean()),
            }
        return row
