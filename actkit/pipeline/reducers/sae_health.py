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
"""The highest level of a token. Half of the tokens have level 0, a quarter level 1 …, and one in sixteen this one."""
DECODED = 1 << 15
"""Most tokens decoded for explained variance, unless one in sixteen are more; those of the highest levels are taken."""
ROUNDING = 1e-12
"""A variance that is no larger than this share of the squares is a rounding error of equal tokens."""


@dataclass
class Counts:
    """Counts over some tokens. The counts of two parts of a run add up to those of both, however it is split.

    Sums over decoded tokens are kept by level, from `level` on. When more tokens come, the sums of low levels are
    dropped. So which tokens count as decoded depends on the tokens alone, not on their order.
    """

    fired: torch.Tensor
    """[d_sae] int64: the number of tokens on which each feature fired."""
    sums: torch.Tensor
    """[LEVELS + 1, 3 + d_in] float64, sums over decoded tokens: their number, the squared differences between input
    and reconstruction, the inputs' squared norms, and the inputs (centred for an SAE that reads them centred)."""
    n_tokens: int = 0
    n_active: int = 0
    n_sequences: int = 0
    """The number of sequences with such tokens."""
    longest: int = 0
    """The most tokens up to and with a read position: the longest context that the SAE was given."""
    level: int = 0
    """The lowest level that is still decoded."""

    @classmethod
    def none(cls, sae: Sae) -> "Counts":
        """Make counts of no tokens."""
        return cls(
            torch.zeros(sae.d_sae, dtype=torch.int64), torch.zeros(LEVELS + 1, 3 + sae.d_in, dtype=torch.float64)
        )

    def copy(self) -> "Counts":
        """Copy the counts as they are now."""
        return replace(self, fired=self.fired.clone(), sums=self.sums.clone())

    def settle(self) -> None:
        """Drop the lowest levels while more than DECODED tokens are decoded."""
        while self.level < LEVELS and self.sums[self.level :, 0].sum() > DECODED:
            self.level += 1
        self.sums[: self.level] = 0

    def merged(self, later: "Counts") -> "Counts":
        """Return the counts of both parts; `later` has the tokens that come after these."""
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
        """Return the counts as arrays, to be written."""
        own = {name: np.array(getattr(self, name)) for name in SCALARS}
        return own | {"fired": self.fired.numpy().copy(), "sums": self.sums.numpy().copy()}

    @classmethod
    def of(cls, state: State) -> "Counts":
        """Make counts of the arrays that `state` gave: every number is the same, to the last bit."""
        fired, sums = (torch.from_numpy(state[name].copy()) for name in ("fired", "sums"))
        return cls(fired, sums, **{name: state[name].item() for name in SCALARS})


class Health:
    """The health of an SAE on this data. Special tokens and attention sinks, on which it was not trained, do not count.

    `counts` are of the present shard, `before` of all finished ones. A shard's counts are added when it is finished, in
    the order of shards. So a run in one piece, a continued run and a run merged from tasks give the same numbers.
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
            exact = exact - exact.mean(-1, keepdim=True)  # such an SAE does not read the mean, so cannot explain it
        exact = exact.double()
        rows = torch.cat([torch.stack([torch.ones_like(error), error, exact.square().sum(1)], dim=1), exact], dim=1)
        sums = torch.zeros(LEVELS + 1, rows.shape[1], dtype=torch.float64, device=rows.device)
        own.sums += sums.index_add_(0, level, rows).cpu()
        own.settle()

    def end_shard(self) -> State:
        """Add the shard's counts to those of finished shards, and return the shard's."""
        counts, self.counts = self.counts, Counts.none(self.sae)
        self.before = self.before.merged(counts)
        return counts.state()

    def reset(self) -> None:
        """Forget all counts."""
        self.counts, self.before = Counts.none(self.sae), Counts.none(self.sae)

    def restore(self, state: State) -> None:
        """Add the counts of a shard that was finished before, as `end_shard` returned them."""
        self.before = self.before.merged(Counts.of(state))

    def summary(self) -> Mapping[str, Any]:
        """Return L0, explained variance (1 - residual / variance around the mean), dead and dense fractions."""
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
    """[n] Return each token's level, from a hash of its sequence's token ids and its position alone.

    `contents` [n] is a hash of the sequence's token ids. It is mixed as by SplitMix64 (Steele, Lea & Flood 2014), so
    that levels of neighbours are independent.
    """
    mixed = contents.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + positions.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    low = [(mixed & np.uint64(2**bits - 1)) == 0 for bits in range(1, LEVELS + 1)]
    levels: Ints = np.sum(low, axis=0, dtype=np.int64)
    return levels
