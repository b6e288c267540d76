"""Pairs in a file are those in memory, block by block, and what statistics hold does not grow with them."""

from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from actkit.analysis.columns import Floats
from actkit.analysis.concepts import direction_chance
from actkit.analysis.concepts import paired as paired_module
from actkit.analysis.concepts.direction_scores import Background, score
from actkit.analysis.concepts.directions import METHODS, Split, direction, split_pairs
from actkit.analysis.concepts.paired import Paired, VectorFile
from actkit.analysis.scratch_file import Spill
from tests.analysis.concepts.pairs import in_file


def some_pairs(n: int = 60, d: int = 16, shift: float = 0.5, seed: int = 0) -> Paired:
    rng = np.random.default_rng(seed)
    sides = [(rng.normal(size=(n, d)) + sign * shift / 2).astype(np.float32) for sign in (1, -1)]
    return Paired(*sides, np.arange(n) // 3, np.arange(n) % 3)


def split_of(pairs: Paired) -> Split:
    split = split_pairs(pairs.stems, 0)
    assert split is not None
    return split


@pytest.mark.parametrize("block", [16, 16 * 7, 1 << 20])
@pytest.mark.parametrize("share", [0.03, 0.5, 1.0])
def test_vectors_in_a_file_are_those_in_memory(
    block: int, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired_module, "BLOCK", block)
    pairs = some_pairs(500)
    part = np.random.default_rng(1).random(500) < share
    again = np.random.default_rng(2).random(part.sum()) < 0.7
    units = np.random.default_rng(3).normal(size=(16, 2))
    with in_file(pairs, tmp_path) as stored:
        held, other = (each.where(part).where(again) for each in (pairs, stored))
        assert isinstance(other.positive, VectorFile) and other.positive.shape == (again.sum(), 16)
        for expected, found in zip(held.blocks(), other.blocks(), strict=True):
            assert expected[0] == found[0] and expected[0].stop - expected[0].start <= max(block // 16, 1)
            assert np.array_equal(expected[1], found[1]) and np.array_equal(expected[2], found[2])
        assert np.array_equal(np.concatenate([x for _, x, _ in other.blocks()]), pairs.positive[part][again])
        above, below = other.projected(units)
        assert above == pytest.approx(held.positive @ units) and below == pytest.approx(held.negative @ units)
        assert other.projected(units[:, 0])[0] == pytest.approx(above[:, 0])
        for (_, expected_block), (_, block_found) in zip(held.differences(), other.differences(), strict=True):
            assert np.array_equal(expected_block, block_found)


def test_rows_are_written_where_they_belong_and_a_hole_is_zeros(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.float64).reshape(6, 4)
    with closing(Spill(tmp_path)) as file:
        stored = VectorFile(file, 32, 4, np.arange(8))
        stored[np.array([5, 6, 7])] = rows[3:]
        stored[np.array([0, 1, 3])] = rows[:3]
        stored[np.arange(0)] = rows[:0]
        assert stored[:].tolist() == [*rows[:2].tolist(), [0] * 4, rows[2].tolist(), [0] * 4, *rows[3:].tolist()]
        assert stored[2:4].tolist() == [[0] * 4, rows[2].tolist()]
        assert stored.where(np.arange(8) > 6)[:].tolist() == [rows[5].tolist()] and stored[3:3].shape == (0, 4)
        with pytest.raises(EOFError, match="missing"):
            VectorFile(file, 32, 4, np.arange(9))[:]


@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize("method", METHODS)
def test_evidence_does_not_depend_on_where_vectors_are_nor_on_blocks(
    method: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few directions at a time too, as of very many pairs."""
    pairs, found = some_pairs(n), []

    def everything(data: Paired) -> Floats:
        split = split_of(data)
        fitted = direction(method, data.where(split.train))
        evidence = score(
            method, fitted, data, split, 0, Background.of(data, split, 0, np.stack([data.stems, data.templates]))
        )
        return np.array([*fitted.unit, fitted.norm, *astuple(evidence)])

    whole = everything(pairs)
    monkeypatch.setattr(paired_module, "BLOCK", 16 * 11)
    monkeypatch.setattr(direction_chance, "AT_ONCE", 1)
    monkeypatch.setattr(direction_chance, "FEWEST", 13)
    with in_file(pairs, tmp_path) as stored:
        found.append(everything(stored))
    assert found[0] == pytest.approx(whole, abs=1e-9, nan_ok=True)


def few_vectors(n: int, seed: int = 0) -> tuple[Paired, np.ndarray, np.ndarray]:
    """Pairs whose sides are of three vectors, as where many texts end with one of three tokens; and which they are."""
    rng = np.random.default_rng((n, seed))
    which = np.stack([rng.integers(0, 3, n), rng.choice(3, n, p=(0.5, 0.3, 0.2))])
    vectors = rng.normal(size=(3, 192)).astype(np.float32)
    sides = vectors[which]
    return Paired(sides[0], sides[1], np.arange(n), np.zeros(n, dtype=np.int64)).knowing_equals(), which, vectors


@pytest.mark.parametrize("units", [1, 200])
def test_equal_vectors_have_equal_projections_wherever_they_stand(
    units: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product rounds the last rows of a block otherwise than the others."""
    monkeypatch.setattr(paired_module, "BLOCK", 192 * 13)
    for n in range(20, 40):
        pairs, which, _ = few_vectors(n)
        directions = np.random.default_rng(n).normal(size=(192, units))
        part = np.arange(n) % 3 > 0
        with in_file(pairs, tmp_path) as stored:
            for held, own in ((pairs, which), (stored.knowing_equals(), which), (pairs.where(part), which[:, part])):
                sides = np.stack(held.projected(directions))
                assert all(len(np.unique(sides[own == vector], axis=0)) == 1 for vector in np.unique(own))
    zeros = np.array([[0.0, 1.0]], dtype=np.float32)
    twins = Paired(zeros, zeros * np.float32([[-1, 1]]), np.arange(1), np.arange(1)).knowing_equals()
    assert twins.alike is not None and twins.alike.tolist() == [[0], [0]], "0 and -0 are the same number"


def test_evidence_counts_equal_vectors_as_ties() -> None:
    """Rounding told them apart: of 40 such sets 13 had a wrong AUROC, one by .03."""
    for n in range(24, 44):
        pairs, which, vectors = few_vectors(n)
        split = split_of(pairs)
        found = direction("mean-diff", pairs.where(split.train))
        lengths = np.ones((2, n), dtype=np.int64)
        evidence = score("mean-diff", found, pairs, split, 0, Background.of(pairs, split, 0, lengths))
        above, below = (vectors.astype(np.float64) @ found.unit)[which[:, split.test]]
        wins = (above[:, None] > below).mean() + (above[:, None] == below).mean() / 2
        assert evidence.auroc_heldout == pytest.approx(wins, abs=1e-12)
