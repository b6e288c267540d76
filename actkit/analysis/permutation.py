"""p-values of sparse columns by exchange of labels: exact where few texts are active, else by the limit or by drawing.

The statistic is T = sum over positive texts of mid-rank less mean rank, over all texts whose label the design can
change. p is two-sided: twice the smaller tail, at most 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import BLOCK, Bools, Columns, Floats
from actkit.analysis.conditional import conditional_tails
from actkit.analysis.design import Design, Scores, design_of, permuted, scores_of
from actkit.analysis.exact import MOST_ACTIVE, exact_tails
from actkit.analysis.moments import cumulants, tails
from actkit.analysis.redraws import drawn_tails, largest_under_null

__all__ = ["Design", "PValues", "design_of", "largest_under_null", "p_values", "permuted"]

WIDE = 4096
"""Numbers of positive active texts that are possible, above which T is smooth without conditioning on them."""
EFFECTIVE = {"groups": 50, "within-groups": 150}
"""Units that must carry the variance for the limit to be used where labels are not exchanged between single texts.

Measured against 500,000 draws with groups of 1 to 30 texts, pairs and groups of 8: p then is 0.9 to 1.25 times what it
should be at 1e-3 and 0.8 to 1.5 times at 1e-4. With half as many units it is 0.75 to 1.8 times at 1e-4.
"""
AGAIN = 20
"""Where fewer draws than about this are as extreme, ten times as many are made."""


@dataclass(frozen=True)
class PValues:
    """p [n_columns], and how each was had: `exact`, `limit` or `draws`; NaN and empty where no text is active."""

    p: Floats
    method: npt.NDArray[np.str_]


def p_values(columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int = 10_000) -> PValues:
    """Whether the columns tell positive from negative texts, by exchange of labels [n] as the design allows."""
    labels = np.asarray(labels, dtype=np.bool_)
    design.units_of(labels)
    p, method = np.full(columns.n_columns, np.nan), np.zeros(columns.n_columns, dtype="<U6")
    varies = 0 < design.unit_labels.sum() < len(design.unit_labels)
    for first, last in columns.blocks(BLOCK) if varies else ():
        x = columns.slice(first, last)
        scores = scores_of(x if design.used.all() else x.where(design.used), design.unit, len(design.stratum))
        by_texts = design.kind == "texts"
        p[first:last], method[first:last] = (_texts if by_texts else _units)(scores, labels, design)
    rest = np.flatnonzero(method == "draws")
    if len(rest):
        p[rest] = _drawn(columns.take(rest).where(design.used), labels, design, rng, draws)
    return PValues(p, method)


def _two_sided(low_and_high: tuple[Floats, Floats]) -> Floats:
    found: Floats = np.minimum(1.0, 2 * np.minimum(*low_and_high))
    return found


def _texts(scores: Scores, labels: Bools, design: Design) -> tuple[Floats, npt.NDArray[np.str_]]:
    m, active = int(labels.sum()), scores.active
    few = (active > 0) & (active <= MOST_ACTIVE)
    tied = few.copy()
    tied[few] = scores.where(few).tied()
    width = np.minimum(np.minimum(active, len(labels) - active), min(m, len(labels) - m))
    wide = width > WIDE
    p, method = np.full(len(active), np.nan), np.where(tied, "draws", np.where(few, "exact", "limit"))
    p[few & ~tied] = _two_sided(exact_tails(scores.where(few & ~tied), labels))
    steps = ~few & ~wide & (active > 0)
    p[steps] = _two_sided(conditional_tails(scores.where(steps), labels))
    found = cumulants(scores.where(wide), labels, design)
    p[wide] = _two_sided(tails(found.observed, found.variance, found.third))
    return p, np.where(active > 0, method, "")


def _units(scores: Scores, labels: Bools, design: Design) -> tuple[Floats, npt.NDArray[np.str_]]:
    found = cumulants(scores, labels, design)
    smooth = found.effective >= EFFECTIVE[design.kind]
    p = np.ones(len(scores.active))
    p[smooth] = _two_sided(tails(found.observed[smooth], found.variance[smooth], found.third[smooth]))
    # Where T cannot vary, whatever is drawn is as extreme.
    method = np.where(smooth, "limit", np.where(found.variance > 0, "draws", "exact"))
    active = scores.active > 0
    return np.where(active, p, np.nan), np.where(active, method, "")


def _drawn(x: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int) -> Floats:
    """Where few draws are as extreme, p is from ten times as many fresh ones; it is valid either way."""
    p = _two_sided(drawn_tails(x, labels, design, rng, draws))
    small = np.flatnonzero(p <= 2 * AGAIN / draws)
    if len(small):
        p[small] = _two_sided(drawn_tails(x.take(small), labels, design, rng, 10 * draws))
    return p
