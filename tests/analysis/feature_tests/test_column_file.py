"""`ColumnFile`: block by block the columns that `Columns` would have, whatever the parts, and no file is left."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from actkit.analysis.columns import Columns, Part
from actkit.analysis.feature_tests import column_file as column_file_module
from actkit.analysis.feature_tests.column_file import ColumnFile
from actkit.analysis.scratch_file import Spill


def made(seed: int, n_rows: int = 40, n_columns: int = 15) -> np.ndarray:
    random = np.random.default_rng(seed)
    rates = random.choice([0.0, 0.1, 0.5, 1.0], n_columns)
    values = random.lognormal(size=(n_rows, n_columns)).astype(np.float32)
    return values * (random.random((n_rows, n_columns)) < rates)


def parts_of(dense: np.ndarray, order: np.ndarray, n_parts: int) -> Callable[[], Iterator[Part]]:
    rows, ids = np.nonzero(dense)

    def parts() -> Iterator[Part]:
        for some in np.array_split(order, n_parts):
            yield rows[some], ids[some].astype(np.int32), dense[rows[some], ids[some]]

    return parts


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("block", [1, 30, 70, 10**6])
def test_blocks_and_columns_are_those_of_the_matrix_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, shuffled: bool
) -> None:
    monkeypatch.setattr(column_file_module, "BLOCK", block)
    for seed in range(4):
        dense = made(seed)
        order = np.arange(np.count_nonzero(dense))
        if shuffled:
            np.random.default_rng(seed).shuffle(order)
        parts = parts_of(dense, order, 7)
        with closing(ColumnFile(parts, *dense.shape, tmp_path)) as columns:
            following, seen = 0, []
            for first, found in columns.blocks():
                assert first == following
                following += found.n_columns
                seen.append(found.n_columns)
                rows, ids = np.nonzero(dense[:, first:following])
                expected = Columns.of((rows, ids, dense[rows, first + ids]), len(dense), found.n_columns)
                for name in ("n_rows", "starts", "rows", "values"):
                    np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
                assert len(found.rows) <= block or found.n_columns == 1
            assert following == dense.shape[1]
            assert (len(seen) == 1) == (block == 10**6)
            for j in (14, 0, 7, 7):
                np.testing.assert_array_equal(columns.column(j), dense[:, j])
    assert not list(tmp_path.iterdir())


def test_a_matrix_of_nothing_has_its_columns(tmp_path: Path) -> None:
    with closing(ColumnFile(list, 5, 3, tmp_path)) as columns:
        assert [(first, found.n_rows, found.n_columns) for first, found in columns.blocks()] == [(0, 5, 3)]
        assert columns.column(2).tolist() == [0] * 5


@pytest.mark.parametrize("lengths", [(2, 1), (1, 2)])
def test_parts_that_change_are_an_error_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, int]
) -> None:
    made_files: list[Spill] = []
    monkeypatch.setattr(
        column_file_module,
        "Spill",
        lambda folder: made_files.append(Spill(folder)) or made_files[0],
    )
    readings = iter(lengths)

    def parts() -> list[Part]:
        n = next(readings)
        return [(np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n))]

    with pytest.raises(ValueError, match="the second time"):
        ColumnFile(parts, 3, 1, tmp_path)
    with pytest.raises(ValueError, match="closed"):
        made_files[0].read(0, 1, np.int32)
    assert not list(tmp_path.iterdir())


def test_columns_that_change_places_within_a_block_are_an_error(tmp_path: Path) -> None:
    readings = iter((0, 1))

    def parts() -> list[Part]:
        return [(np.arange(2), np.full(2, next(readings)), np.ones(2))]

    with closing(ColumnFile(parts, 3, 2, tmp_path)) as columns, pytest.raises(ValueError, match="the second time"):
        list(columns.blocks())


def test_two_values_at_one_place_are_an_error(tmp_path: Path) -> None:
    part = np.array([1, 1]), np.zeros(2, dtype=np.int64), np.array([1.0, 2.0])
    with (
        closing(ColumnFile(lambda: [part], 3, 1, tmp_path)) as columns,
        pytest.raises(ValueError, match="at one place"),
    ):
        list(columns.blocks())


def test_a_temporary_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    with closing(Spill(tmp_path)) as spill:
        at = [spill.write(np.arange(n, dtype=np.int64)) for n in (3, 0, 2)]
        assert at == [0, 24, 24]
        assert spill.read(24, 2, np.int64).tolist() == [0, 1] and spill.read(8, 2, np.int64).tolist() == [1, 2]
        with pytest.raises(EOFError, match="8 bytes"):
            spill.read(24, 3, np.int64)
