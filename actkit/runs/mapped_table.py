"""Columns of a table in a temporary file that is mapped into memory: any of its rows at once, nothing decoded.

Parquet is read by row groups; whoever wants a few rows of fifty parts decodes all fifty. A viewer asks so all the time.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.errors import writing
from actkit.runs.part import read_part
from actkit.runs.reader import parts


@dataclass(frozen=True)
class MappedTable:
    """A table in order of sequence, a batch a part; only what is looked at is in memory."""

    batches: Sequence[pa.RecordBatch] = field(repr=False)
    firsts: Sequence[int]
    """The first sequence_id of each batch."""

    def of_sequence(self, sequence: int) -> pa.RecordBatch | None:
        """The rows of one sequence, in order; None where there are none."""
        number = bisect_right(self.firsts, sequence) - 1
        if number < 0:
            return None
        batch = self.batches[number]
        begin, end = np.searchsorted(batch["sequence_id"].to_numpy(), [sequence, sequence + 1]).tolist()
        return batch.slice(begin, end - begin) if end > begin else None


def mapped_table(
    run: Path, table: str, columns: Sequence[str], kept: Callable[[pa.Table], pa.Table] = lambda rows: rows
) -> MappedTable:
    """Some columns of a table, as `kept` makes them of each part; `sequence_id` is one of them, and ascends.

    The file has no name any more once it is mapped, so that it ends with the process. Raises WriteError where the
    system's folder for temporary files is full.
    """
    with tempfile.TemporaryDirectory(prefix="actkit-") as folder:
        path = Path(folder, f"{table}.arrow")
        with writing(f"a temporary file in {tempfile.gettempdir()}"):
            read = (read_part(part, columns) for part in parts(run, table))
            _lay_out(path, map(kept, read))
        if not path.exists():
            return MappedTable((), ())
        with pa.memory_map(str(path)) as file:
            laid_out = pa.ipc.open_file(file)
            batches = [laid_out.get_batch(number) for number in range(laid_out.num_record_batches)]
    return MappedTable(batches, [batch["sequence_id"][0].as_py() for batch in batches])


def _lay_out(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next((rows for rows in tables if len(rows)), None)
    if first is None:
        return
    with pa.ipc.new_file(str(path), first.schema) as writer:
        for rows in chain([first], tables):
            for batch in rows.combine_chunks().to_batches():
                if len(batch):
                    writer.write_batch(batch)
