"""The stored vectors of one kind of hook point, such as hook_resid_post: neighbouring layers are of the same one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actkit.runs.reader import Rows, rows_of

Floats = npt.NDArray[np.float64]


def kind_of(hook_point: str) -> str:
    """A hook point's name without its layer."""
    return hook_point.split(".", 2)[-1]


def rows_of_first_kind(part: Path) -> Iterator[Rows]:
    """The rows of one part, of the kind of hook point that comes first."""
    kind = None
    for rows in rows_of(part):
        own = kind_of(rows.hook_point)
        kind = kind or own
        if own == kind:
            yield rows
