"""p-values of sparse columns by exchange of labels: exact where few texts are active, else by the limit or by drawing.

The statistic is T = sum over positive texts of mid-rank less mean rank, over all texts whose label the design can
change. p is two-sided: twice the smaller tail, at most 1.
"""

from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import binom

from actkit.analysis.columns import Columns, Floats, Ints
from actkit.analysis.permutation.conditional import conditional_tails, cumulants, hypergeometric, tails
from actkit.analysis.permutation.design import Design, Scores, scores_of
from actkit.analysis.permutation.redraws import ScoreBlocks, drawn_tails, largest_of_draws

WIDE = 4096
"""If the number of positive active texts can range wider than this, T is smooth without conditioning on it."""
EFFECTIVE = {"groups": 50, "within-groups": 150}
"""Units that must carry the variance for the limit to be used where labels are not exchanged between single texts.

Measured against 500,000 draws with groups of 1 to 30 texts, pairs and groups of 8: p then is 0.9 to 1.25 times the
right value at 1e-3 and 0.8 to 1.5 times at 1e-4. With half as many units it is 0.75 to 1.8 times at 1e-4.
"""


PValues: TypeAlias = tuple[Floats, npt.NDArray[np.str_]]
"""p [n_columns], and the method of each: `exact`, `limit` or `draws`; NaN and empty where no text is active."""


def two_sided(low_and_high: tuple[Floats, Floats]) -> Floats:
    """Twice the smaller of two tails, at most 1."""
    found: Floats = np.minimum(1.0, 2 * np.minimum(*low_and_high))
    return found


def by_texts(scores: Scores, design: Design) -> PValues:
    """Compute p of a block whose units are texts; NaN where `exact` or `draws` are still to be computed."""
    labels, active = design.labels, scores.active
    m = int(labels.sum())
    few = (active > 0) & (active <= MOST_ACTIVE)
    tied = few.copy()
    tied[few] = scores.where(few).tied()
    width = np.minimum(np.minimum(active, len(labels) - active), min(m, len(labels) - m))
    wide = width > WIDE
    p, method = np.full(len(active), np.nan), np.where(tied, "draws", np.where(few, "exact", "limit"))
    steps = ~few & ~wide & (active > 0)
    p[steps] = two_sided(conditional_tails(scores.where(steps), labels))
    found = cumulants(scores.where(wide), design)
    p[wide] = two_sided(tails(found.observed, found.variance, found.third))
    return p, np.where(active > 0, method, "")


def by_units(scores: Scores, design: Design) -> PValues:
    """Compute p of a block whose units are groups or their texts; 1 where `draws` are still to be made."""
    found = cumulants(scores, design)
    smooth = found.effective >= EFFECTIVE[design.kind]
    p = np.ones(len(scores.active))
    p[smooth] = two_sided(tails(found.observed[smooth], found.variance[smooth], found.third[smooth]))
    # Where T cannot vary, every draw is as extreme, so that p is 1.
    method = np.where(smooth, "limit", np.where(found.variance > 0, "draws", "exact"))
    active = scores.active > 0
    return np.where(active, p, np.nan), np.where(active, method, "")


MOST_ACTIVE = 64
"""Nonzeros up to which subsets are counted: 64 take 2080 rank sums for each k."""


def exact_tails(observed: Ints, active: Ints, n: int, m: int) -> tuple[Floats, Floats]:
    """P(T ≤ observed) and P(T ≥ observed) of columns [n_columns], each with 1 to MOST_ACTIVE nonzeros in `active`.

    T is the sum of scores over the m positive ones of n texts; no two scores of a column are equal.
    """
    low, high = np.empty(len(observed)), np.empty(len(observed))
    top = int(active.max(initial=0))
    table = np.zeros((top + 1, top * (top + 1) // 2 + 1))
    table[0, 0] = 1
    for number in range(1, top + 1):
        table[1:, number:] += table[:-1, : table.shape[1] - number].copy()
        here = np.flatnonzero(active == number)
        if len(here):
            sums, chances = _distribution(table[: number + 1], number, n, m)
            below, above = np.cumsum(chances), np.cumsum(chances[::-1])[::-1]
            low[here] = below[np.searchsorted(sums, observed[here], side="right") - 1]
            high[here] = above[np.searchsorted(sums, observed[here], side="left")]
    return low, high


def _distribution(table: Floats, active: int, n: int, m: int) -> tuple[Ints, Floats]:
    """The possible sums of positive texts' scores, ascending, and the probability of each."""
    k, ranks = np.nonzero(table)
    chances = table[k, ranks] / binom(active, k) * hypergeometric(k, n, m, np.full(len(k), active))
    # The text of rank r among the active ones is above n - active zeros and r - 1 others: see `Scores`.
    sums = k * (n - active - 1) + 2 * ranks
    order = np.argsort(sums, kind="stable")
    return sums[order], chances[order]


AGAIN = 20
"""Where fewer draws than about this are as extreme, ten times as many are made."""
FINEST = 0.05
"""Where even the least p of ten times as many draws leaves every column's q above this, a hundred times as many are
made: one perfect feature of 16,384, with 10,000 draws to begin with, would otherwise have a q of 0.33."""


class Exchange:
    """Tests columns that come block by block against exchanges of their labels; `close` it when done.

    Only scores are kept, in temporary files in `folder`: for the columns whose p has to be drawn, and for the largest
    AUROC under the null.
    """

    def __init__(self, design: Design, folder: Path) -> None:
        self._design = design
        self._varies = 0 < design.unit_labels.sum() < len(design.unit_labels)
        self._p: list[Floats] = [np.zeros(0)]
        self._method: list[npt.NDArray[np.str_]] = [np.zeros(0, dtype="<U6")]
        self._exact: list[tuple[Ints, Ints]] = []
        self._every, self._to_draw = ScoreBlocks(folder), ScoreBlocks(folder)

    def add(self, x: Columns) -> None:
        """Add the next block of columns, over all texts."""
        design, alone = self._design, self._design.kind != "groups"
        every = scores_of(x, np.arange(x.n_rows) if alone else design.unit, x.n_rows if alone else len(design.stratum))
        self._every.add(every)
        if not self._varies:
            self._p.append(np.full(x.n_columns, np.nan))
            self._method.append(np.zeros(x.n_columns, dtype="<U6"))
            return
        used = every if design.used.all() else scores_of(x.where(design.used), design.unit, len(design.stratum))
        p, method = (by_texts if design.kind == "texts" else by_units)(used, design)
        if design.kind == "texts":
            exact = used.where(method == "exact")
            self._exact.append((exact.observed(design.labels), exact.active))
        self._to_draw.add(used.where(method == "draws"))
        self._p.append(p)
        self._method.append(method)

    def p_values(self, rng: np.random.Generator, draws: int) -> PValues:
        """Return the p of all columns so far; a drawn p takes `draws` exchanges, or up to a hundred times as many."""
        p, method = np.concatenate(self._p), np.concatenate(self._method)
        if self._exact:  # all blocks together, since most of the work is the same for all columns
            n, m = len(self._design.labels), int(self._design.labels.sum())
            observed, active = (np.concatenate(arrays) for arrays in zip(*self._exact, strict=True))
            p[method == "exact"] = two_sided(exact_tails(observed, active, n, m))
        rest = np.flatnonzero(method == "draws")
        if len(rest):
            p[rest] = two_sided(drawn_tails(self._to_draw, self._design, rng, draws))
            p[rest] = self._redrawn(p[rest], rng, 10 * draws)
            least = 2 / (10 * draws + 1)
            if np.isfinite(p).sum() * least > FINEST * (p <= least).sum() > 0:
                p[rest] = self._redrawn(p[rest], rng, 100 * draws)
        return p, method

    def _redrawn(self, p: Floats, rng: np.random.Generator, draws: int) -> Floats:
        """Draw the small p anew, for which a tenth of these draws had few as extreme; p is valid either way."""
        small = p <= 20 * AGAIN / draws
        if small.any():
            with closing(self._to_draw.where(small)) as again:
                p[small] = two_sided(drawn_tails(again, self._design, rng, draws))
        return p

    def largest(self, rng: np.random.Generator, draws: int) -> Floats:
        """See `largest_of_draws`, for all columns so far."""
        return largest_of_draws(self._every, self._design, rng, draws)

    def close(self) -> None:
        """Remove the files."""
        self._every.close()
        self._to_draw.close()
