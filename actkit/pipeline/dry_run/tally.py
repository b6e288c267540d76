"""Count the shards of a run as they go by: rows, bytes, the first example."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.backends import Description
from actkit.backends.token_texts import token_texts
from actkit.pipeline.data import TokenSequence
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.record_tables import tables_of
from actkit.pipeline.shards.shard import Shard
from actkit.runs.progress import Progress
from actkit.runs.writer import DICTIONARY


@dataclass(frozen=True)
class PlannedTable:
    """The expected size of a table."""

    rows: int
    bytes: int | None
    """About; None where it depends on what fires."""
    at_most: bool = False
    """Whether fewer bytes are likely."""


@dataclass(frozen=True)
class Example:
    """The first whole sequence of the first usable record, as the model would see it."""

    place: str
    side: str | None
    text: str
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    positions: tuple[int, ...]
    """Read positions."""
    response_start: int | None


@dataclass
class ShardTally:
    """Counts of the shards so far."""

    shards: int = 0
    sequences: int = 0
    kept: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes_a_row: dict[str, float] = field(default_factory=dict)
    example: Example | None = None

    def add(self, shard: Shard, description: Description) -> None:
        """Count one shard more; the first that has a sequence gives the bytes a row, and the example."""
        self.shards += 1
        self.sequences += len(shard.sequences)
        self.kept += sum(len(sequence.keep) for sequence in shard.sequences)
        for table, rows in shard.rows.items():
            self.rows[table] = self.rows.get(table, 0) + len(rows)
        if shard.sequences and self.example is None:
            self.bytes_a_row = _bytes_a_row(shard, description)
            self.example = _example(shard, description)

    def tables(self, recipe: Recipe, progress: Progress) -> dict[str, PlannedTable]:
        """The expected size of each table, but for those computed over the others at the end."""
        rows = {"sequences": self.sequences, "tokens": progress.tokens, **self.rows, "rejected": progress.rejected}
        sizes = {table: PlannedTable(n, round(n * self.bytes_a_row.get(table, 0.0))) for table, n in rows.items()}
        for table, stored in recipe.stored.items():
            n = self.kept if stored.per == "position" else self.sequences
            size = None if stored.bytes is None else round(n * stored.bytes)
            sizes[table] = PlannedTable(n * stored.rows, size, stored.at_most)
        return sizes


def _bytes_a_row(shard: Shard, description: Description) -> dict[str, float]:
    """Bytes a row of the tables that describe what was run, by writing those of one shard to memory."""
    made = tables_of(shard, description.tokenizer)
    return {table: _written(rows) / len(rows) for table, rows in made.items() if len(rows)}


def _written(table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=[name for name in table.schema.names if name in DICTIONARY]
    )
    return int(sink.getvalue().size)


def _example(shard: Shard, description: Description) -> Example | None:
    """The first whole sequence with read positions, together with those of the sequences that it continues."""
    by_id = {sequence.sequence_id: sequence for sequence in shard.sequences}
    continued = {sequence.parent for sequence in shard.sequences}
    for sequence in shard.sequences:
        path: list[TokenSequence] = [sequence]
        while path[-1].parent is not None:
            path.append(by_id[path[-1].parent])
        keep = sorted(position for each in path for position in each.keep.tolist())
        if sequence.sequence_id not in continued and keep:
            ids = sequence.encoding.token_ids.tolist()
            tokens = token_texts(description.tokenizer, ids)
            place = shard.records[sequence.record_id].place
            about = (
                place,
                sequence.side,
                sequence.encoding.text,
                tuple(ids),
                tuple(tokens),
                tuple(keep),
                sequence.response_start,
            )
            return Example(*about)
    return None
