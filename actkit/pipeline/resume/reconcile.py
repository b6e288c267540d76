"""Check that every record was written or rejected exactly once, by comparing the tables with the counts."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from actkit.errors import RunError
from actkit.pipeline.data import Ints
from actkit.runs.part import read_part
from actkit.runs.paths import part_name, part_number
from actkit.runs.progress import Progress
from actkit.runs.reader import parts

NO_CHUNK = -2
"""In place of a chunk's number where there is none: none goes on from it."""


def reconcile(run: Path, progress: Progress) -> None:
    """Raise RunError unless every record that was read stands once in `sequences` or once in `rejected`.

    The tables are read shard by shard: a shard holds all records from one on to another, so what is written and what is
    rejected must together be those numbers without a gap. The first of them may go on from the shard before, with the
    chunk after its last one there. Then the totals must be those that were counted.
    """
    read = written = rejected = truncated = 0
    last = (-1, -1)
    is_cut = False
    numbers = {part_number(path) for table in ("sequences", "rejected") for path in parts(run, table)}
    for part in (
        f"{part_name(number)}.parquet" for number in sorted(number for number in numbers if number is not None)
    ):
        sequences, chunks, n_truncated = _columns(run / "sequences" / part, "record_id", "chunk", "n_truncated")
        (bad,) = _columns(run / "rejected" / part, "record_id")
        good = np.unique(sequences)
        goes_on = len(sequences) > 0 and (sequences[0], chunks[0] - 1) == last
        good = good[goes_on:]
        both = np.sort(np.concatenate([good, bad]))
        if not np.array_equal(both, np.arange(read, read + len(both))):
            raise _defect(f"the records of {part} are not {read} to {read + len(both) - 1}, each once")
        cut = np.unique(sequences[n_truncated > 0])
        truncated += len(cut) - (goes_on and is_cut and last[0] in cut)
        if len(sequences):
            was_cut = is_cut and goes_on and sequences[0] == sequences[-1]
            last, is_cut = (int(sequences[-1]), int(chunks[-1])), was_cut or sequences[-1] in cut
        read, written, rejected = read + len(both), written + len(good), rejected + len(bad)
    found = (read, written, rejected, truncated)
    counted = (progress.read, progress.written, progress.rejected, progress.truncated)
    if found != counted:
        names = "read, written, rejected, truncated"
        raise _defect(f"{names}: {', '.join(map(str, counted))} counted, {', '.join(map(str, found))} found")


def _columns(path: Path, *names: str) -> list[Ints]:
    """Columns of a part, which is opened once: there may be very many. Of one that is not there, they are empty."""
    if not path.exists():
        return [np.zeros(0, dtype=np.int64) for _ in names]
    found = read_part(path, names)
    return [pc.fill_null(found[name], NO_CHUNK).to_numpy() for name in names]


def _defect(message: str) -> RunError:
    return RunError(message, "this is a defect of actkit; please report it with the input")
