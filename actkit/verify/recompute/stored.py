"""Read a few records of a finished shard: their sequences, tokens and stored values."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.pipeline.data import Bools, Ints
from actkit.runs.by_sequence import shards_of
from actkit.runs.part import open_part, read_part

SPELLED = ("token", "char_start", "char_end", "is_special")
"""Columns of `tokens` that follow from the text and the tokenizer."""
KEPT = (*SPELLED, "is_sink")
TABLES = ("activations", "features", "pooled_activations", "pooled_features", "logprobs")


@dataclass(frozen=True)
class StoredSequence:
    """A sequence: its row of `sequences`, and its tokens, including those of its parents."""

    row: Mapping[str, Any]
    token_ids: Ints
    """[n_tokens]: of the whole path, from the first token of the first parent on."""
    left_out: Bools
    """[n_tokens] special tokens and attention sinks, which statistics leave out."""
    role: tuple[str | None, ...]
    """[n_tokens]"""
    spelled: pa.Table
    """[n_tokens] the columns `KEPT`."""
    values: Mapping[str, Mapping[str, pa.Table]] = field(default_factory=dict)
    """Table → hook point or SAE → its rows, by position."""

    @property
    def place(self) -> str:
        """The name of the sequence, for people."""
        return f"record {self.row['record_id']}, sequence {self.row['sequence_id']}"


def records_in(part: Path) -> Ints:
    """The ids of the records that have sequences in a part of `sequences`, ascending."""
    return np.unique(read_part(part, ["record_id"])["record_id"].to_numpy())


def read_records(
    run: Path, part: str, records: Collection[int], tables: Sequence[str] = TABLES
) -> list[list[StoredSequence]]:
    """Read the sequences of each of `records` in the shard whose files are called `part`, with values of `tables`."""
    wanted = pa.array(sorted(records), type=pa.int64())
    rows = _of(read_part(run / "sequences" / part), "record_id", wanted).to_pylist()
    ids = pa.array([row["sequence_id"] for row in rows], type=pa.int64())
    columns = ["sequence_id", "position", "token_id", "role", *KEPT]
    tokens = _of(read_part(run / "tokens" / part, columns), "sequence_id", ids)
    values: dict[int, dict[str, dict[str, pa.Table]]] = {row["sequence_id"]: {} for row in rows}
    for table in tables:
        for name, group in _groups(run / table / part):
            for sequence_id, found in _by_sequence(_of(group, "sequence_id", ids)):
                values[sequence_id].setdefault(table, {})[name] = found
    own = dict(_by_sequence(tokens))
    made: dict[int, StoredSequence] = {}
    for row in rows:
        sequence_id = row["sequence_id"]
        made[sequence_id] = _sequence(row, own.get(sequence_id), made.get(row["parent_id"]), values[sequence_id])
    return [
        [sequence for sequence in made.values() if sequence.row["record_id"] == record] for record in wanted.to_pylist()
    ]


def read_document(run: Path, part: str, record: Sequence[StoredSequence]) -> list[StoredSequence] | None:
    """Read all chunks of a document, without their values; `record` are its chunks in one shard.

    None where the other shards are not there yet.
    """
    number = record[0].row["record_id"]
    where = shards_of(run, run / "sequences" / part, number)
    if where is None:
        return None
    return [sequence for each in where for found in read_records(run, each.name, [number], ()) for sequence in found]


def _sequence(
    row: Mapping[str, Any],
    own: pa.Table | None,
    parent: StoredSequence | None,
    values: Mapping[str, Mapping[str, pa.Table]],
) -> StoredSequence:
    """Make the sequence with its whole path: its parent's tokens before `start`, then its own."""
    start = row["start"] if parent is not None else 0
    head = (parent.token_ids[:start], parent.left_out[:start], parent.role[:start]) if parent else ((), (), ())
    spelled = [parent.spelled.slice(0, start)] if parent else []
    if own is None:  # a side that ends where the other continues has no token of its own
        tail: Sequence[Any] = ((), (), ())
    else:
        left_out = pc.or_(own["is_special"], pc.fill_null(own["is_sink"], False)).to_numpy()
        tail = (own["token_id"].to_numpy(), left_out, own["role"].to_pylist())
        spelled.append(own.select(KEPT))
    ids, special = (np.concatenate([np.asarray(head[at]), np.asarray(tail[at])]) for at in (0, 1))
    roles = (*head[2], *tail[2])
    every = pa.concat_tables(spelled)
    return StoredSequence(row, ids.astype(np.int64), special.astype(np.bool_), roles, every, values)


def _groups(part: Path) -> Iterator[tuple[str, pa.Table]]:
    """Hook point or SAE → its rows, one row group in memory at a time."""
    if not part.exists():
        return
    with open_part(part) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            if len(table):
                named = next((name for name in ("sae", "hook_point") if name in table.column_names), None)
                yield part.parent.name if named is None else table[named][0].as_py(), table


def _of(table: pa.Table, column: str, wanted: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=wanted))


def _by_sequence(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Sequence id → its rows, which are adjacent."""
    ids = table["sequence_id"].to_numpy()
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        yield int(ids[start]), table.slice(int(start), int(end - start))
