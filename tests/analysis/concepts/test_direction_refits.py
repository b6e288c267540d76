"""A direction fitted again to some pairs is the direction of those pairs; halves that agree have a cosine of one."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from actkit.analysis.auroc import auroc
from actkit.analysis.concepts.direction_scores import HALVES, both, refitted, split_half, transfer
from actkit.analysis.concepts.directions import METHODS, Split, direction, unit
from actkit.analysis.concepts.paired import Paired

STEMS, TEMPLATES = 8, 3


def pairs_of(shift: float, noise: float = 1.0, seed: int = 0, stems: int = STEMS) -> Paired:
    """Each stem in each template; the sides differ along the first axis."""
    rng = np.random.default_rng(seed)
    n = stems * TEMPLATES
    negative = rng.normal(size=(n, 5))
    positive = negative + noise * rng.normal(size=(n, 5)) + shift * np.eye(5)[0]
    return Paired(positive, negative, np.repeat(np.arange(stems), TEMPLATES), np.tile(np.arange(TEMPLATES), stems))


@pytest.mark.parametrize("method", METHODS)
def test_each_part_gets_the_direction_of_its_pairs(method: str) -> None:
    pairs = pairs_of(2.0)
    rng = np.random.default_rng(1)
    parts = np.stack([rng.permutation(len(pairs.stems)) % 2 == 0 for _ in range(4)], axis=1)
    whole = direction(method, pairs)
    found = refitted(method, pairs, parts, whole.strength)
    assert found.shape == (4, 5) and np.allclose(np.linalg.norm(found, axis=1), 1)
    for own, part in zip(found, parts.T, strict=True):
        expected = (
            scaled(pairs, part, whole.strength) if method == "logistic" else direction(method, pairs.where(part)).unit
        )
        assert own @ expected > 1 - 1e-5


def scaled(pairs: Paired, part: Any, strength: float) -> Any:
    """scikit-learn's direction of some pairs, standardised as all of them are."""
    texts = np.concatenate([pairs.positive, pairs.negative])
    scale = texts.std(0)
    chosen = np.concatenate([part, part])
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=1000)
    model.fit(((texts - texts.mean(0)) / scale)[chosen], np.repeat([1, 0], part.sum()))
    return unit(model.coef_[0] / scale)


@pytest.mark.parametrize("method", METHODS)
def test_halves_agree_where_there_is_one_direction_and_not_where_there_is_none(method: str) -> None:
    clear, none = pairs_of(5.0, noise=0.1), pairs_of(0.0)
    assert split_half(method, direction(method, clear), clear, seed=0) > 0.9
    assert abs(split_half(method, direction(method, none), none, seed=0)) < 0.8
    first = split_half(method, direction(method, none), none, seed=3)
    assert first == split_half(method, direction(method, none), none, seed=3), "the same seed, the same halves"
    assert first != split_half(method, direction(method, none), none, seed=4)


def test_halves_are_of_stems_and_the_figure_is_the_mean_over_them() -> None:
    pairs = pairs_of(1.0)
    rng, cosines = np.random.default_rng((3, 0)), []
    for _ in range(HALVES):
        here = np.isin(pairs.stems, rng.permutation(np.arange(STEMS))[: STEMS // 2])
        cosines.append(direction("mean-diff", pairs.where(here)).unit @ direction("mean-diff", pairs.where(~here)).unit)
    assert split_half("mean-diff", direction("mean-diff", pairs), pairs, seed=3) == pytest.approx(np.mean(cosines))


def test_too_few_stems_have_no_halves() -> None:
    few = pairs_of(1.0, stems=3)
    assert math.isnan(split_half("mean-diff", direction("mean-diff", few), few, seed=0))
    lonely = Paired(np.eye(4), np.zeros((4, 4)), np.array([0, 1, 2, 3]), np.zeros(4, dtype=np.int64))
    assert not math.isnan(split_half("mean-diff", direction("mean-diff", lonely), lonely, seed=0)), "two pairs a half"


def split_of(pairs: Paired) -> Split:
    return Split(*(np.isin(pairs.stems, part) for part in ([0, 1, 2, 3], [4, 5], [6, 7])))


def test_transfer_is_the_mean_over_templates_of_what_the_others_give() -> None:
    pairs = pairs_of(1.0)
    split = split_of(pairs)
    expected = []
    for template in range(TEMPLATES):
        fitted = direction("mean-diff", pairs.where(split.train & (pairs.templates == template))).unit
        above, below = pairs.positive @ fitted, pairs.negative @ fitted
        for part in (split.validation, split.test):
            held = part & (pairs.templates != template)
            expected.append(
                auroc(np.concatenate([above[held], below[held]]), np.repeat([True, False], held.sum())).value
            )
    found = transfer("mean-diff", direction("mean-diff", pairs), pairs, split)
    assert found == pytest.approx((np.mean(expected[::2]), np.mean(expected[1::2])))


def test_one_template_has_nothing_to_transfer_to() -> None:
    pairs = pairs_of(1.0)
    single = Paired(pairs.positive, pairs.negative, pairs.stems, np.zeros_like(pairs.templates))
    assert all(map(math.isnan, transfer("mean-diff", direction("mean-diff", single), single, split_of(single))))


def test_a_template_with_one_training_pair_is_not_fitted() -> None:
    pairs = pairs_of(1.0)
    split = split_of(pairs)
    alone = np.array(pairs.templates)
    alone[split.train] = 0
    alone[np.flatnonzero(split.train)[0]] = 1
    few = Paired(pairs.positive, pairs.negative, pairs.stems, alone)
    fitted = direction("mean-diff", few.where(split.train & (alone == 0))).unit
    held = split.test & (alone != 0)
    values = np.concatenate([(pairs.positive @ fitted)[held], (pairs.negative @ fitted)[held]])
    expected = auroc(values, np.repeat([True, False], held.sum())).value
    assert transfer("mean-diff", direction("mean-diff", few), few, split)[1] == pytest.approx(expected)


def test_both_sides_in_one_sample() -> None:
    values, positive = both(np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([True, False, True]))
    assert values.tolist() == [1, 3, 4, 6] and positive.tolist() == [True, True, False, False]
