"""The exchanges of labels that a data set allows, and the rank scores of sparse columns under them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from actkit.analysis.column_ranks import touched, twice_below
from actkit.analysis.columns import Bools, Columns, Ints

Kind = Literal["texts", "groups", "within-groups"]


@dataclass(frozen=True)
class Design:
    """A design of exchanges: units of texts, each with one label, swap labels with other units of their stratum.

    `texts`: a unit is a text, all are one stratum. `groups`: a unit is a group, all are one stratum. `within-groups`: a
    unit is a text, a stratum a group that has both labels; texts of other groups keep theirs and are not used.
    """

    kind: Kind
    labels: Bools
    """[n] the observed labels; True: positive."""
    used: Bools
    """[n] texts whose label can change."""
    unit: Ints
    """[n_used] unit of each used text."""
    stratum: Ints
    """[n_units] stratum of each unit."""
    sizes: Ints
    """[n_units] texts of each unit."""
    unit_labels: Bools
    """[n_units] label of each unit."""

    @property
    def n_strata(self) -> int:
        """Number of strata; 0 where no text is used."""
        return int(self.stratum.max()) + 1 if len(self.stratum) else 0

    @property
    def positives(self) -> Ints:
        """[n_strata] positive texts of each stratum."""
        return np.bincount(self.stratum, self.sizes * self.unit_labels, self.n_strata).astype(np.int64)


def design_of(labels: Bools, groups: npt.NDArray[np.integer]) -> Design:
    """Choose the exchanges that keep the null distribution when texts of one of `groups` [n] may resemble each other.

    `texts` where every group is one text; `groups` where labels [n] (True: positive) are constant in each group;
    otherwise `within-groups`. Raises ValueError when labels and groups differ in length.
    """
    if len(labels) != len(groups):
        raise ValueError(f"{len(labels)} labels and {len(groups)} groups")
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n, positives = len(labels), np.bincount(group, labels, len(sizes))
    every, ones = np.ones(n, dtype=np.bool_), np.ones(n, dtype=np.int64)
    if len(sizes) == n:
        return Design("texts", labels, every, np.arange(n), 0 * ones, ones, labels)
    mixed = (positives > 0) & (positives < sizes)
    if not mixed.any():
        return Design("groups", labels, every, group, np.zeros(len(sizes), dtype=np.int64), sizes, positives > 0)
    used = mixed[group]
    strata = np.unique(group[used], return_inverse=True)[1]
    return Design("within-groups", labels, used, np.arange(len(strata)), strata, ones[used], labels[used])


@dataclass(frozen=True)
class Scores:
    """The linear rank statistic's scores of a block of columns, doubled, so that they are whole numbers.

    A text's score is twice its mid-rank among the used texts less twice that of the zeros: 0 for a zero. T, the sum
    over positive texts of mid-rank less mean rank, follows from sums of these alone.
    """

    unit: Ints
    """[k] units that have a score other than 0, by column."""
    starts: Ints
    """[n_columns + 1] where each column's scores start."""
    score: Ints
    """[k] sum over the unit's texts."""
    active: Ints
    """[n_columns] nonzeros."""

    @cached_property
    def owner(self) -> Ints:
        """[k] the column of each score."""
        return np.repeat(np.arange(len(self.active)), np.diff(self.starts))

    def observed(self, labels: Bools) -> Ints:
        """[n_columns] the sum of the scores of the units whose labels [n_units] are positive."""
        return np.bincount(self.owner, self.score * labels[self.unit], len(self.active)).astype(np.int64)

    def where(self, columns: Bools) -> "Scores":
        """The scores of some of the columns ([n_columns] True: kept)."""
        counts = np.diff(self.starts)
        kept = np.repeat(columns, counts)
        starts = np.concatenate([[0], np.cumsum(counts[columns])])
        return Scores(self.unit[kept], starts, self.score[kept], self.active[columns])

    def tied(self) -> Bools:
        """[n_columns] whether two scores of a column are equal."""
        owner = self.owner
        order = np.lexsort((self.score, owner))
        equal = (np.diff(self.score[order]) == 0) & (np.diff(owner) == 0)
        return np.bincount(owner[1:][equal], minlength=len(self.active)) > 0


def scores_of(x: Columns, unit: Ints, n_units: int) -> Scores:
    """Score columns over the used texts, added up by `unit` [x.n_rows]; meant for a block, not for a large matrix."""
    owner, active = x.owners(), np.diff(x.starts)
    below, _ = twice_below(owner, x.values, np.zeros(len(x.rows), dtype=np.bool_))
    score = below + (x.n_rows - active)[owner]
    if n_units == x.n_rows:
        return Scores(unit[x.rows], x.starts, score, active)
    pair, columns, units = touched(x, unit, n_units)
    sums = np.bincount(pair, score, len(units)).astype(np.int64)
    return Scores(units, np.searchsorted(columns, np.arange(x.n_columns + 1)), sums, active)


def permuted_units(
    design: Design, rng: np.random.Generator, draws: int, units: Ints | None = None
) -> npt.NDArray[np.bool_]:
    """[n_units, draws] labels of units, exchanged at random within strata; only those of `units` (ascending) if given.

    Units that are left out take part all the same: the number of positive labels of a stratum's given units is drawn.
    """
    units = np.arange(len(design.stratum)) if units is None else units
    members_of, positives_of = (
        np.bincount(design.stratum, weights, design.n_strata).astype(np.int64)
        for weights in (np.ones(len(design.stratum)), design.unit_labels)
    )
    found = np.empty((len(units), draws), dtype=np.bool_)
    order = np.argsort(design.stratum[units], kind="stable")
    sizes = np.bincount(design.stratum[units], minlength=design.n_strata)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]):  # strata of one size at a time: rows of one array
        strata = np.flatnonzero(sizes == size)
        m, n = positives_of[strata, None], members_of[strata, None]
        cells = len(strata), draws
        chosen = np.broadcast_to(m, cells) if (n == size).all() else rng.hypergeometric(m, n - m, size, cells)
        drawn = np.arange(size) < chosen[:, :, None]
        rng.permuted(drawn, axis=-1, out=drawn)
        found[order[starts[strata][:, None] + np.arange(size)]] = drawn.transpose(0, 2, 1)
    return found
