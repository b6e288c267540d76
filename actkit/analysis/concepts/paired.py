"""Read contrast pairs at one hook point in blocks, so that memory does not grow with their number."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.digests import Digests, codes_of, digests_of_rows
from actkit.analysis.scratch_file import Spill

BLOCK = 1 << 18
"""Numbers of one side in a block: 2 MB in float64; a few such blocks are in memory."""


@dataclass(frozen=True)
class VectorFile:
    """Vectors [n, d_model] float32 in a temporary file, with a shape, slices and assignment to rows like an array."""

    file: Spill
    begin: int
    """The byte at which the vectors begin."""
    width: int
    """d_model."""
    rows: Ints
    """[n] indices of these vectors in the file, ascending."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors, and their width."""
        return len(self.rows), self.width

    def __getitem__(self, part: slice) -> npt.NDArray[np.float32]:
        """Read some of the vectors [k, d_model]. Raises EOFError where the file is too short."""
        rows = self.rows[part]
        found = np.empty((len(rows), self.width), dtype=np.float32)
        step = max(BLOCK // self.width, 1)
        done = 0
        while done < len(rows):  # the rows between a few wanted ones must not fill the memory
            first = int(rows[done])
            end = int(np.searchsorted(rows, first + step))
            count = int(rows[end - 1]) + 1 - first
            read = self.file.read(self._place(first), count * self.width, np.float32).reshape(count, self.width)
            found[done:end] = read if count == end - done else read[rows[done:end] - first]
            done = end
        return found

    def __setitem__(self, at: Ints, vectors: npt.NDArray[np.floating]) -> None:
        """Write vectors [k, d_model] as the file's rows `at` [k], ascending. Raises WriteError: disk full."""
        ends = (np.flatnonzero(np.diff(at) != 1) + 1).tolist()
        for first, last in zip([0, *ends], [*ends, len(at)], strict=True):
            if first < last:
                self.file.write(vectors[first:last].astype(np.float32, copy=False), self._place(int(at[first])))

    def where(self, part: Bools) -> "VectorFile":
        """The vectors at which `part` [n] is True."""
        return replace(self, rows=self.rows[part])

    def _place(self, row: int) -> int:
        return self.begin + row * self.width * 4


@dataclass(frozen=True)
class Paired:
    """Contrast pairs at one hook point."""

    positive: npt.NDArray[np.floating] | VectorFile
    negative: npt.NDArray[np.floating] | VectorFile
    """[n_pairs, d_model] each, a row a pair: float32 as in the tables, or float64 computed from it."""
    stems: Ints
    templates: Ints
    """[n_pairs] numbers that stand for the pair's stem and template."""
    alike: Ints | None = None
    """[2, n_pairs] numbers of both sides' vectors, the same where vectors are equal; None where equality is unknown."""

    def knowing_equals(self) -> "Paired":
        """Return the pairs with `alike`, so that equal vectors tie on whatever direction they are projected.

        A matrix product may round the last rows of a block differently, and AUROC would count that as a difference.
        Vectors are often equal: texts that end with the same token have the same embedding there, for example.
        """
        digests: list[list[Digests]] = [[np.zeros((0, 2), dtype=np.uint64)] for _ in range(2)]
        for here in self._slices(self.d_model):
            for found, side in zip(digests, (self.positive, self.negative), strict=True):
                found.append(digests_of_rows(side[here]))
        both = codes_of(np.concatenate([digest for side in digests for digest in side]))
        return replace(self, alike=both.reshape(2, -1))

    @property
    def d_model(self) -> int:
        """The width of the vectors."""
        return int(self.positive.shape[1])

    def where(self, part: Bools) -> "Paired":
        """The pairs at which `part` [n_pairs] is True."""
        positive, negative = (
            side.where(part) if isinstance(side, VectorFile) else side[part] for side in (self.positive, self.negative)
        )
        alike = None if self.alike is None else self.alike[:, part]
        return Paired(positive, negative, self.stems[part], self.templates[part], alike)

    def blocks(self, columns: int = 0) -> Iterator[tuple[slice, Floats, Floats]]:
        """Yield some pairs at a time, in order: their slice, and both sides [k, d_model] in float64.

        `columns` is the number of values that the caller makes of each pair, where that is more than d_model.
        """
        for here in self._slices(max(self.d_model, columns)):
            yield here, self.positive[here].astype(np.float64), self.negative[here].astype(np.float64)

    def differences(self) -> Iterator[tuple[slice, Floats]]:
        """Yield some pairs at a time: their slice, and positive less negative side [k, d_model]."""
        for here, positive, negative in self.blocks():
            yield here, positive - negative

    def projected(self, units: Floats) -> tuple[Floats, Floats]:
        """Project both sides on `units` [d_model, m]: [n_pairs, m] each; on one unit [d_model]: [n_pairs] each."""
        sides = np.empty((2, len(self.stems), *units.shape[1:]))
        for here, *both in self.blocks():
            for side, vectors in zip(sides, both, strict=True):
                side[here] = vectors @ units
        if self.alike is not None:
            _, first, number = np.unique(self.alike, return_index=True, return_inverse=True)
            if len(first) < self.alike.size:
                flat = sides.reshape(-1, *units.shape[1:])
                flat[:] = flat[first[number.reshape(-1)]]
        return sides[0], sides[1]

    def _slices(self, columns: int) -> Iterator[slice]:
        """Yield slices of pairs, in order; a side of a pair takes `columns` numbers."""
        step = max(BLOCK // max(columns, 1), 1)
        for start in range(0, len(self.stems), step):
            yield slice(start, min(start + step, len(self.stems)))
