"""p-values of sparse columns by exchange of labels: exact where few texts are active, else by the limit or by drawing.

The statistic is T = sum over positive texts of mid-rank less mean rank, over all texts whose label the design can
change. p is two-sided: twice the smaller tail, at most 1.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import Bools, Columns, Floats, Ints
from actkit.analysis.permutation.block_p_values import by_texts, by_units, exact_tails, two_sided
from actkit.analysis.permutation.design import Design, scores_of
from actkit.analysis.permutation.redraws import drawn_tails, largest_of_draws
from actkit.analysis.permutation.score_blocks import ScoreBlocks

AGAIN = 20
"""Where fewer draws than about this are as extreme, ten times as many are made."""
FINEST = 0.05
"""Where the least p that ten times as many can give leaves all columns with a larger q than this, a hundred times as
many are made: one perfect feature of 16,384, with 10,000 draws to begin with, would else have a q of 0.33."""


@dataclass(frozen=True)
class PValues:
    """p [n_columns], and how each was had: `exact`, `limit` or `draws`; NaN and empty where no text is active."""

    p: Floats
    method: npt.NDArray[np.str_]


class Exchange:
    """Tests columns that come block by block against exchanges of their labels; `close` it when done.

    Only scores are kept, in temporary files in `folder` where one is given: for the columns whose p has to be drawn,
    and for the largest AUROC under the null.
    """

    def __init__(self, labels: Bools, design: Design, folder: Path | None = None) -> None:
        """For labels [n]; raises ValueError unless an exchange of the design's own could have led to them."""
        self._labels, self._design = np.asarray(labels, dtype=np.bool_), design
        design.units_of(self._labels)
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
        p, method = (by_texts if design.kind == "texts" else by_units)(used, self._labels, design)
        if design.kind == "texts":
            exact = used.where(method == "exact")
            self._exact.append((exact.observed(self._labels), exact.active))
        self._to_draw.add(used.where(method == "draws"))
        self._p.append(p)
        self._method.append(method)

    def p_values(self, rng: np.random.Generator, draws: int) -> PValues:
        """The p of all columns so far; where it has to be drawn, of so many exchanges, or of up to a hundred times."""
        p, method = np.concatenate(self._p), np.concatenate(self._method)
        if self._exact:  # of all blocks together: most of the work is the same for all columns
            n, m = len(self._labels), int(self._labels.sum())
            observed, active = (np.concatenate(arrays) for arrays in zip(*self._exact, strict=True))
            p[method == "exact"] = two_sided(exact_tails(observed, active, n, m))
        rest = np.flatnonzero(method == "draws")
        if len(rest):
            p[rest] = two_sided(drawn_tails(self._to_draw, self._labels, self._design, rng, draws))
            p[rest] = self._redrawn(p[rest], rng, 10 * draws)
            least = 2 / (10 * draws + 1)
            if np.isfinite(p).sum() * least > FINEST * (p <= least).sum() > 0:
                p[rest] = self._redrawn(p[rest], rng, 100 * draws)
        return PValues(p, method)

    def _redrawn(self, p: Floats, rng: np.random.Generator, draws: int) -> Floats:
        """Where a tenth of these draws had few that are as extreme, p is from so many fresh ones; valid either way."""
        small = p <= 20 * AGAIN / draws
        if small.any():
            with closing(self._to_draw.where(small)) as again:
                p[small] = two_sided(drawn_tails(again, self._labels, self._design, rng, draws))
        return p

    def largest(self, rng: np.random.Generator, draws: int) -> Floats:
        """What `largest_of_draws` gives for all columns so far."""
        return largest_of_draws(self._every, self._design, rng, draws)

    def close(self) -> None:
        """Remove the files."""
        self._every.close()
        self._to_draw.close()
