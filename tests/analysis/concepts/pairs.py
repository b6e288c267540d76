"""Contrast pairs whose vectors are in a file, for tests."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from actkit.analysis.concepts.paired import Paired, VectorFile
from actkit.analysis.scratch_file import Spill


@contextmanager
def in_file(pairs: Paired, folder: Path) -> Iterator[Paired]:
    """The same pairs, in float32, out of memory."""
    n, width = pairs.positive.shape
    with closing(Spill(folder)) as file:
        sides = [VectorFile(file, side * n * width * 4, width, np.arange(n)) for side in range(2)]
        sides[0][np.arange(n)], sides[1][np.arange(n)] = pairs.positive[:], pairs.negative[:]
        yield Paired(*sides, pairs.stems, pairs.templates)
