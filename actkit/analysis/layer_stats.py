"""The table `layer_stats`: mean, spread and norm of each hook point's activations, with and without special tokens.

Moments are merged pairwise in float64 (Chan, Golub & LeVeque 1983): adding up variances of batch means, as some tools
do, forgets the spread between batches.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.reader import Floats, Rows, is_special, parts, rows_of, special_keys
from actkit.schemas import arrow_schema

BLOCK = 1 << 16
"""Numbers processed at once: half a MB in float64, which stays in the processor's cache meanwhile."""


@dataclass(frozen=True)
class Moments:
    """Moments of some vectors, which can be merged with others without going back to the vectors."""

    n_positions: int = 0
    n: int = 0
    """Elements."""
    mean: float = 0.0
    m2: float = 0.0
    """Sum of squared deviations from the mean."""
    norm_sum: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    @staticmethod
    def of(vectors: Floats) -> "Moments":
        """The moments of `vectors` [n, d_model]."""
        if not len(vectors):
            return Moments()
        values: npt.NDArray[np.float64] = vectors.astype(np.float64)
        mean = float(values.mean())
        norms = np.sqrt(np.einsum("nd,nd->n", values, values))
        # In place: allocating one more array takes as long as the computation.
        values -= mean
        m2 = float(np.square(values, out=values).sum())
        low, high = float(vectors.min()), float(vectors.max())
        return Moments(len(values), values.size, mean, m2, float(norms.sum()), low, high)

    def figures(self) -> dict[str, float | None]:
        """Mean and standard deviation (population) of all elements, mean norm, extremes; None where there are none."""
        if not self.n:
            return dict.fromkeys(("mean", "std", "mean_norm", "min", "max"))
        return {
            "mean": self.mean,
            "std": float(np.sqrt(self.m2 / self.n)),
            "mean_norm": self.norm_sum / self.n_positions,
            "min": self.low,
            "max": self.high,
        }

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both together."""
        n = self.n + other.n
        if not n:
            return self
        apart = other.mean - self.mean
        return Moments(
            self.n_positions + other.n_positions,
            n,
            self.mean + apart * other.n / n,
            self.m2 + other.m2 + apart * apart * self.n * other.n / n,
            self.norm_sum + other.norm_sum,
            min(self.low, other.low),
            max(self.high, other.high),
        )


class LayerStats:
    """The table `layer_stats`, from the rows of hook points as they come.

    Moments of special tokens and of the others are kept apart, and merged at the end: each vector is read once.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], list[Moments]] = {}

    def add(self, rows: Rows, plain: npt.NDArray[np.bool_]) -> None:
        """Add the activations of one hook point in one shard; `plain` [n] is True for tokens that are not special."""
        found = self._found.setdefault((rows.layer, rows.hook_point), [Moments(), Moments()])
        step = max(BLOCK // max(rows.activations.shape[1], 1), 1)
        for start in range(0, len(plain), step):
            vectors, own = rows.activations[start : start + step], plain[start : start + step]
            for number, some in enumerate((own, ~own)):
                found[number] = found[number].merged(Moments.of(vectors if some.all() else vectors[some]))

    def table(self) -> pa.Table:
        """The table of all that was added."""
        rows: list[dict[str, Any]] = []
        for (layer, hook_point), (plain, others) in sorted(self._found.items()):
            for special, moments in ((False, plain), (True, plain.merged(others))):
                about = {"layer": layer, "hook_point": hook_point, "special_tokens": special}
                rows.append({**about, "n_positions": moments.n_positions, **moments.figures()})
        return pa.Table.from_pylist(rows, schema=arrow_schema("layer_stats"))


def layer_stats(run: Path) -> pa.Table:
    """The table `layer_stats` of a run, read shard by shard."""
    found = LayerStats()
    for part in parts(run, "activations"):
        special = special_keys(run, part)
        for rows in rows_of(part):
            found.add(rows, ~is_special(rows, special))
    return found.table()
