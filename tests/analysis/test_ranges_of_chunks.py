"""Chunks in order of feature, read as ranges over all of them: every entry once, in one step or in two."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from actkit.analysis import ranges_of_chunks
from actkit.analysis.ranges_of_chunks import Arrays, ranges, spans

N, SIZE, FEATURES = 300, 40, 90


@dataclass
class Chunk:
    """A chunk in memory, which counts how often it is read."""

    ids: np.typing.NDArray[np.int32]
    numbers: np.typing.NDArray[np.int64]
    reads: list[int] = field(default_factory=list)

    def starts(self, first: int, last: int) -> np.typing.NDArray[np.int64]:
        return np.searchsorted(self.ids, np.arange(first, last + 1))

    def entries(self, begin: int, end: int) -> Arrays:
        self.reads.append(end - begin)
        return self.numbers[begin:end], self.ids[begin:end].astype(np.float32)


def chunks_of(ids: np.typing.NDArray[np.int32]) -> list[Chunk]:
    found = []
    for first in range(0, len(ids), SIZE):
        order = np.argsort(ids[first : first + SIZE], kind="stable")
        found.append(Chunk(ids[first : first + SIZE][order], first + order))
    return found


def drawn(n: int) -> np.typing.NDArray[np.int32]:
    """Some features are in no chunk, one is a fifth of all, and some are more than a range."""
    rng = np.random.default_rng(n)
    ids = (rng.random(n) ** 3 * FEATURES).astype(np.int32)
    ids[rng.random(n) < 0.2] = 70
    ids[ids == 30] = 31
    return ids


@pytest.mark.parametrize("n", [0, 1, SIZE, N * SIZE, 50 * SIZE + 7])
@pytest.mark.parametrize("fan", [4, 10, 1000])
def test_every_entry_is_there_once_in_its_order(
    n: int, fan: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges_of_chunks, "FAN", fan)
    ids = drawn(n)
    chunks, counts = chunks_of(ids), np.bincount(ids, minlength=FEATURES)
    found = list(ranges(chunks, counts, SIZE, tmp_path))
    sizes = [size for _, _, size in spans(counts, SIZE)]
    expected = [min(SIZE, size - at) for size in sizes for at in range(0, size, SIZE)]
    assert [len(features) for features, _ in found] == expected, "ranges do not depend on how they are read"
    order = np.argsort(ids, kind="stable")
    assert [feature for features, _ in found for feature in features.tolist()] == ids[order].tolist()
    for at, wanted in ((0, order), (1, ids[order])):
        assert [value for _, arrays in found for value in arrays[at].tolist()] == wanted.tolist()


def test_a_chunk_is_read_once_a_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for every range, of which there are as many as chunks."""
    ids = np.random.default_rng(0).integers(0, 2000, 120 * SIZE).astype(np.int32)
    counted = {}
    for fan in (1000, 16):
        monkeypatch.setattr(ranges_of_chunks, "FAN", fan)
        chunks = chunks_of(ids)
        list(ranges(chunks, np.bincount(ids, minlength=2000), SIZE, tmp_path))
        counted[fan] = max(len(chunk.reads) for chunk in chunks)
        assert sum(sum(chunk.reads) for chunk in chunks) == len(ids)
    assert counted[16] <= 120 / 16 + 2 < 30 < counted[1000]


def test_one_band_is_on_disk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges_of_chunks, "FAN", 5)
    open_now, most = [], []
    real = ranges_of_chunks.Spill

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            open_now.append(self)
            most.append(len(open_now))

        def close(self) -> None:
            assert self._end <= 6 * SIZE * 20 + 7 * 4 * (FEATURES + 1) + 6 * SIZE * 20
            open_now.remove(self)
            super().close()

    monkeypatch.setattr(ranges_of_chunks, "Spill", Counted)
    ids = drawn(N * SIZE)
    list(ranges(chunks_of(ids), np.bincount(ids, minlength=FEATURES), SIZE, tmp_path))
    assert set(most) == {1} and len(most) > 10 and not open_now
