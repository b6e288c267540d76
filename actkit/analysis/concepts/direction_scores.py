"""Evidence for a direction: its scores on pairs that it was not fitted to, and the scores of chance there.

Everything here goes by stem: pairs of one stem are never on both sides of a split, and count together in intervals.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from actkit.analysis.auroc import auroc, auroc_and_error
from actkit.analysis.auroc_interval import accuracy_interval
from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.concepts.direction_chance import exchanged_band, random_band
from actkit.analysis.concepts.directions import Direction, Split, direction, principal, unit
from actkit.analysis.concepts.logistic_direction import logistic_of_parts
from actkit.analysis.concepts.paired import Paired
from actkit.analysis.length import LengthCheck

Number = TypeVar("Number", Floats, Ints)
HALVES = 5
"""Splits of the training stems into two halves."""


@dataclass(frozen=True)
class Evidence:
    """The evidence for one direction; NaN where there is none. Held out: the test pairs."""

    auroc_train: float
    auroc_validation: float
    auroc_heldout: float
    """Chance that a positive text projects higher than a negative one."""
    auroc_heldout_low: float
    auroc_heldout_high: float
    """95 % interval (DeLong), clustered by stem, with Student's quantile for their number."""
    accuracy_train: float
    accuracy_heldout: float
    """Share of texts on their side of the midpoint between the training means."""
    accuracy_heldout_low: float
    accuracy_heldout_high: float
    """95 % interval (Wilson) with as many samples as the test pairs are worth, given how their stems vary."""
    pair_accuracy: float
    """Share of test pairs whose positive text projects higher; ties count half."""
    opposite: float
    """Share of test pairs whose difference points the other way."""
    cohens_d: float
    """Difference of the test means along the direction, in pooled standard deviations."""
    cohens_d_validation: float
    auroc_transfer: float
    """AUROC on the test stems in other templates than the one that was fitted; mean over templates."""
    auroc_transfer_validation: float
    """The same on the validation stems."""
    choice_score: float
    """The score that the layer is chosen by: the mean of the validation pairs' AUROC and, where there is one, their
    AUROC of transfer."""
    choice_error: float
    """Standard error of the validation AUROC, clustered by stem; at least that of an AUROC half a pair below 1."""
    spearman_length: float
    """Spearman's correlation of the test texts' projections with their numbers of tokens."""
    auroc_length_adjusted: float
    """AUROC of the test texts within classes of about equal length; NaN where too few are."""
    auroc_length_only: float
    """AUROC of the test texts' numbers of tokens, with which a direction has to be compared."""
    pairwise_cosine: float
    """Mean cosine of two pairs' differences, all pairs."""
    split_half_cosine: float
    """Mean cosine of the directions of two halves of the training stems."""
    shuffled_low: float
    shuffled_high: float
    """95 % band of the held-out AUROC when the sides are exchanged at random by stem, training and test pairs alike."""
    random_low: float
    random_high: float
    """95 % band of the held-out AUROC of random directions, not folded: chance is 0.5, not more."""


@dataclass(frozen=True)
class Background:
    """The part of `Evidence` that all directions of the same pairs share."""

    pairwise_cosine: float
    random_low: float
    random_high: float
    length: LengthCheck
    """The check of the test texts, positive ones first."""

    @classmethod
    def of(cls, pairs: Paired, split: Split, seed: int, lengths: Ints) -> "Background":
        """Compute it for these pairs, whose texts have `lengths` [2, n_pairs]; `seed` draws the random directions."""
        test = split.test
        length = LengthCheck.of(*both(lengths[0], lengths[1], test), np.tile(pairs.stems[test], 2))
        return cls(pairwise_cosine(pairs), *random_band(pairs, split, seed), length)


def score(method: str, found: Direction, pairs: Paired, split: Split, seed: int, background: Background) -> Evidence:
    """Score a direction that was fitted by `method` to the pairs of `split.train`, and to no others.

    Chance is drawn from `seed`; the same arguments give the same figures.
    """
    stems = pairs.stems
    above, below = pairs.projected(found.unit)
    train, validation, test = split.train, split.validation, split.test
    checked, choice_error = auroc_and_error(*both(above, below, validation), np.tile(stems[validation], 2))
    held = auroc(*both(above, below, test), np.tile(stems[test], 2))
    transferred, transferred_test = transfer(method, found, pairs, split)
    projected, length = both(above, below, test)[0], background.length
    right = _right(above, below, (above[train].mean() + below[train].mean()) / 2)
    return Evidence(
        auroc(*both(above, below, train)).value,
        checked.value,
        held.value,
        held.low,
        held.high,
        float(right[train].mean()),
        float(right[test].mean()),
        *accuracy_interval(right[test], stems[test], texts=2),
        float((np.sign(above[test] - below[test]) / 2 + 0.5).mean()),
        float((above[test] < below[test]).mean()),
        _cohens_d(above[test], below[test]),
        _cohens_d(above[validation], below[validation]),
        transferred_test,
        transferred,
        checked.value if np.isnan(transferred) else (checked.value + transferred) / 2,
        choice_error,
        length.spearman(projected),
        length.adjusted(projected),
        length.only.value,
        background.pairwise_cosine,
        split_half(method, found, pairs.where(train), seed),
        *exchanged_band(method, pairs, split, seed),
        background.random_low,
        background.random_high,
    )


def pairwise_cosine(pairs: Paired) -> float:
    """Mean cosine of two different pairs' differences; NaN for fewer than two that are not zero."""
    n, total = 0, np.zeros(pairs.d_model)
    for _, difference in pairs.differences():
        lengths = np.linalg.norm(difference, axis=1)
        n += int((lengths > 0).sum())
        total += (difference[lengths > 0] / lengths[lengths > 0][:, None]).sum(0)
    return float((np.square(total).sum() - n) / (n * (n - 1))) if n > 1 else float("nan")


def _right(above: Floats, below: Floats, middle: float) -> Floats:
    """[n_pairs] share of each pair's two texts that are on their side of `middle`."""
    found: Floats = ((above > middle).astype(np.float64) + (below <= middle)) / 2
    return found


def _cohens_d(above: Floats, below: Floats) -> float:
    """Cohen's (1988) d of the two sides as independent samples; NaN for fewer than two pairs or if neither varies."""
    if len(above) < 2:
        return float("nan")
    spread = np.sqrt((above.var(ddof=1) + below.var(ddof=1)) / 2)
    return float((above.mean() - below.mean()) / spread) if spread else float("nan")


def refitted(method: str, pairs: Paired, parts: Bools, strength: float) -> Floats:
    """[m, d_model] unit vectors, each fitted to the pairs, at least two, of a column of `parts` [n_pairs, m].

    `strength` is for `logistic`: the value that cross-validation chose over all training pairs serves their parts. The
    parts should resemble each other, as random halves do.
    """
    if method == "logistic":
        found = logistic_of_parts(pairs, parts, strength)
    elif method == "pca":
        found = np.stack([principal(pairs.where(part)).unit for part in parts.T])
    else:
        found = np.zeros((parts.shape[1], pairs.d_model))
        for here, difference in pairs.differences():
            found += parts[here].T.astype(np.float64) @ difference
    return np.stack([unit(vector) for vector in found])


def transfer(method: str, found: Direction, pairs: Paired, split: Split) -> tuple[float, float]:
    """Fit to each template's training pairs; return the mean AUROCs on validation and test pairs of other templates.

    NaN where no template can be fitted and tested like that, such as where there is only one.
    """
    values: list[list[float]] = []
    for template in np.unique(pairs.templates):
        fit, other = split.train & (pairs.templates == template), pairs.templates != template
        if fit.sum() >= 2 and (split.validation & other).any() and (split.test & other).any():
            fitted = direction(method, pairs.where(fit), found.strength).unit
            above, below = pairs.projected(fitted)
            values.append([auroc(*both(above, below, part & other)).value for part in (split.validation, split.test)])
    validation, test = np.mean(values, axis=0) if values else (float("nan"), float("nan"))
    return float(validation), float(test)


def split_half(method: str, found: Direction, pairs: Paired, seed: int) -> float:
    """Mean cosine of the directions of two halves of the stems, over HALVES splits; NaN for fewer than four stems."""
    rng = np.random.default_rng((seed, 0))
    names = np.unique(pairs.stems)
    if len(names) < 4:
        return float("nan")
    halves = np.stack([np.isin(pairs.stems, rng.permutation(names)[: len(names) // 2]) for _ in range(HALVES)], axis=1)
    halves = halves[:, np.minimum(halves.sum(0), (~halves).sum(0)) >= 2]
    if not halves.shape[1]:
        return float("nan")
    units = refitted(method, pairs, np.concatenate([halves, ~halves], axis=1), found.strength)
    return float((units[: halves.shape[1]] * units[halves.shape[1] :]).sum(1).mean())


def both(above: Number, below: Number, part: Bools) -> tuple[Number, Bools]:
    """Join values of both sides, such as projections [n_pairs] each, into one sample; and say which are positive."""
    return np.concatenate([above[part], below[part]]), np.repeat([True, False], int(part.sum()))
