"""The health of an SAE on the data of a run, counted while its features are computed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from actkit.backends.saes.sae import Active, Sae
from actkit.pipeline.data import Ints
from actkit.runs.manifest import State

DENSE = 0.1
"""A feature that fires on more than this share of tokens is called dense."""

SCALARS = ("n_tokens", "n_active", "n_sequences", "longest", "level")
LEVELS = 4
"""Every token has a level, 0 for half of them, 1 for a quarter …, and this for one in sixteen."""
DECODED = 1 << 15
"""Most tokens that are decoded for explained variance, unless one in sixteen are more: those of the highest levels."""
ROUNDING = 1e-12
"""A variance that is no larger than this share of the squares is a rounding error of equal tokens."""


@dataclass
class Counts:
    """Counts over some tokens. The counts of two parts of a run add up to those of both, in any split.

    Sums over decoded tokens are kept by level, from `level` on, so that tokens already decoded can be left out when
    there are more of them: which are decoded in the end depends on the tokens alone, and not on their order.
    """

    fired: torch.Tensor
    """[d_sae] int64: on how many tokens each feature fired."""
    sums: torch.Tensor
    """[LEVELS + 1, 3 + d_in] float64: of decoded tokens how many, the squared differences between input and
    reconstruction, the inputs' squared norms, and the inputs themselves, centred for an SAE that reads them so."""
    n_tokens: int = 0
    n_active: int = 0
    n_sequences: int = 0
    """Sequences that the tokens are of."""
    longest: int = 0
    """Tokens before and with the last position read: how much context the SAE was given."""
    level: int = 0
    """The lowest level that is decoded still."""

    @classmethod
    def none(cls, sae: Sae) -> "Counts":
        """Counts of no tokens."""
        return cls(
            torch.zeros(sae.d_sae, dtype=torch.int64), torch.zeros(LEVELS + 1, 3 + sae.d_in, dtype=torch.float64)
        )

    def copy(self) -> "Counts":
        """Copy the counts as they are now."""
        return replace(self, fired=self.fired.clone(), sums=self.sums.clone())

    def settle(self) -> None:
        """Leave out the lowest levels while there are more tokens than are needed."""
        while self.level < LEVELS and self.sums[self.level :, 0].sum() > DECODED:
            self.level += 1
        self.sums[: self.level] = 0

    def merged(self, later: "Counts") -> "Counts":
        """The counts of both, `later` being of tokens that come after these."""
        found = Counts(
            self.fired + later.fired,
            self.sums + later.sums,
            self.n_tokens + later.n_tokens,
            self.n_active + later.n_active,
            self.n_sequences + later.n_sequences,
            max(self.longest, later.longest),
            max(self.level, later.level),
        )
        found.settle()
        return found

    def state(self) -> State:
        """The counts as arrays, to be written."""
        own = {name: np.array(getattr(self, name)) for name in SCALARS}
        return own | {"fired": self.fired.numpy().copy(), "sums": self.sums.numpy().copy()}

    @classmethod
    def of(cls, state: State) -> "Counts":
        """Make counts of what `state` gave: every number is as it was, to the last bit."""
        fired, sums = (torch.from_numpy(state[name].copy()) for name in ("fired", "sums"))
        return cls(fired, sums, **{name: state[name].item() for name in SCALARS})


class Health:
    """The health of an SAE on this data, without special tokens and attention sinks, which it was not trained on.

    `counts` are of the shard that is being computed, `before` of all finished ones. A shard's counts are added when it
    is done, in order of the shards, so that a run in one piece, a run that went on, and one put together of shards say
    the same.
    """

    def __init__(self, sae: Sae) -> None:
        self.sae = sae
        self.counts, self.before = Counts.none(sae), Counts.none(sae)

    def count(self, x: torch.Tensor, active: Active, plain: torch.Tensor, levels: torch.Tensor) -> None:
        """Add the tokens that are `plain` [n]: input `x` [n, d_in], its active features, their levels."""
        own = self.counts
        ids = active.ids[plain[active.rows]]
        own.n_tokens += int(plain.sum())
        own.n_active += len(ids)
        own.fired += torch.bincount(ids, minlength=self.sae.d_sae).cpu()
        if self.sae.reconstruct is None:
            return
        chosen = (plain & (levels >= max(own.level, self.before.level))).nonzero()[:, 0]
        if not len(chosen):
            return
        x, level = x[chosen], levels[chosen]
        exact = x.to(torch.float32)
        again = self.sae.reconstruct(x, active.of(chosen, len(plain), self.sae.d_sae))
        error = (exact - again).double().square().sum(1)
        if self.sae.facts.get("centred_input") and self.sae.hook_point.name != "attn.hook_z":
            exact = exact - exact.mean(-1, keepdim=True)  # what it does not read, it does not explain
        exact = exact.double()
        rows = torch.cat([torch.stack([torch.ones_like(error), error, exact.square().sum(1)], dim=1), exact], dim=1)
        sums = torch.zeros(LEVELS + 1, rows.shape[1], dtype=torch.float64, device=rows.device)
        own.sums += sums.index_add_(0, level, rows).cpu()
        own.settle()

    def end_shard(self) -> State:
        """Add the counts of the shard to the finished ones, and return them."""
        counts, self.counts = self.counts, Counts.none(self.sae)
        self.before = self.before.merged(counts)
        return counts.state()

    def reset(self) -> None:
        """Count from nothing."""
        self.counts, self.before = Counts.none(self.sae), Counts.none(self.sae)

    def restore(self, state: State) -> None:
        """Add a shard that was finished before, as `end_shard` gave it."""
        self.before = self.before.merged(Counts.of(state))

    def summary(self) -> Mapping[str, Any]:
        """L0, explained variance (1 - residual / variance around the mean), and shares of dead and dense features."""
        found = self.before.merged(self.counts)
        row: dict[str, Any] = {
            "sae": self.sae.name,
            "hook_point": str(self.sae.hook_point),
            "n_tokens": found.n_tokens,
            "n_sequences": found.n_sequences,
            "longest_context": found.longest,
        }
        if found.n_tokens:
            total = found.sums.sum(0)
            n_decoded, error, squares = int(total[0]), float(total[1]), float(total[2])
            variance = squares - float(total[3:].square().sum()) / max(n_decoded, 1)
            row |= {
                "l0": found.n_active / found.n_tokens,
                "n_decoded": n_decoded,
                "explained_variance": 1 - error / variance if variance > ROUNDING * squares else None,
                "dead_fraction": float((found.fired == 0).double().mean()),
                "dense_fraction": float((found.fired > DENSE * found.n_tokens).double().mean()),
            }
        return row


def levels_of(contents: Ints, positions: Ints) -> Ints:
    """[n]: each token's level, a hash of its sequence's token ids and its position, whatever its record and shard.

    `contents` [n] is a number for the sequence's token ids. Mixed as by SplitMix64 (Steele, Lea & Flood 2014), since
    neighbours must not have levels alike.
    """
    mixed = contents.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + positions.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    low = [(mixed & np.uint64(2**bits - 1)) == 0 for bits in range(1, LEVELS + 1)]
    levels: Ints = np.sum(low, axis=0, dtype=np.int64)
    return levels
