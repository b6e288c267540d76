"""The tables that describe the input of the model, with a row for each sequence, token or rejected record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.backends.token_texts import token_texts
from actkit.pipeline.data import Bools, Ints, Record, Rejected, TokenSequence
from actkit.pipeline.shards.shard import Shard
from actkit.schemas import arrow_schema


@dataclass(frozen=True)
class Sinks:
    """The attention sinks of a shard's sequences."""

    positions: Mapping[int, Ints]
    """sequence_id → positions; only sequences that have sinks."""

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], found: Ints) -> "Sinks":
        """Group `found` [k, 2], sequence_id and position, by sequence; leave out sequences that are not given."""
        found = found[np.isin(found[:, 0], [sequence.sequence_id for sequence in sequences])]
        found = found[np.argsort(found[:, 0], kind="stable")]
        ids, starts = np.unique(found[:, 0], return_index=True)
        return cls(dict(zip(ids.tolist(), np.split(found[:, 1], starts[1:]), strict=bool(len(ids)))))

    def among(self, sequence: TokenSequence) -> Bools:
        """[keep] Whether each read position of a sequence is a sink."""
        found = self.positions.get(sequence.sequence_id)
        return np.zeros(len(sequence.keep), dtype=np.bool_) if found is None else np.isin(sequence.keep, found)

    def plain(self, sequence: TokenSequence) -> Bools:
        """[keep] Whether statistics include each read position: neither special tokens nor sinks."""
        return ~(sequence.encoding.is_special[sequence.keep] | self.among(sequence))

    def count(self, sequences: Sequence[TokenSequence]) -> int:
        """Return the number of sinks, special tokens not counted."""
        return sum(
            int((self.among(sequence) & ~sequence.encoding.is_special[sequence.keep]).sum())
            for sequence in sequences
            if sequence.sequence_id in self.positions
        )


NO_SINKS = Sinks({})
AS_THEY_ARE = tuple(
    "sequence_id record_id side start n_truncated response_start score chunk char_offset boundary_merged".split()
)
"""Fields of a `TokenSequence` that are columns of `sequences`."""
NAMES = ("group", "label", "template")
"""Further such fields, whose texts come from the input."""


def tables_of(shard: Shard, tokenizer: Any, sinks: Sinks | None = None) -> dict[str, pa.Table]:
    """Make the tables of a shard that describe its input, and those of the recipe's own rows; see `tokens_table`."""
    tables = {"rejected": rejected_table(shard.rejected)}
    if shard.sequences:
        tables["sequences"] = sequences_table(shard.sequences, shard.records, sinks)
        tables["tokens"] = tokens_table(shard.sequences, partial(token_texts, tokenizer), sinks)
    for table, rows in shard.rows.items():
        tables[table] = pa.Table.from_pylist(list(rows.values()), schema=arrow_schema(table))
    return tables


def sequences_table(
    sequences: Sequence[TokenSequence], records: dict[int, Record], sinks: Sinks | None = None
) -> pa.Table:
    """Make the table of sequences, one row each; `sinks` is None where none were looked for."""
    known = sinks or NO_SINKS
    encodings = [sequence.encoding for sequence in sequences]
    own = [records[sequence.record_id] for sequence in sequences]
    columns: dict[str, list[Any]] = {
        **{name: [getattr(sequence, name) for sequence in sequences] for name in AS_THEY_ARE},
        **{name: [as_stored(getattr(sequence, name)) for sequence in sequences] for name in NAMES},
        "source": [record.source for record in own],
        "line": [record.line for record in own],
        "parent_id": [sequence.parent for sequence in sequences],
        "n_tokens": [len(encoding) for encoding in encodings],
        "n_kept": [int(np.count_nonzero(known.plain(sequence))) for sequence in sequences],
        "n_special_in_text": [encoding.special_in_text for encoding in encodings],
        "n_unknown": [encoding.n_unknown for encoding in encodings],
        "text": [encoding.text for encoding in encodings],
    }
    schema = arrow_schema("sequences")  # some columns are filled in over the finished run
    empty = [None] * len(own)
    return pa.Table.from_pydict({name: columns.get(name, empty) for name in schema.names}, schema=schema)


def tokens_table(
    sequences: Sequence[TokenSequence], texts_of: Callable[[list[int]], list[str]], sinks: Sinks | None = None
) -> pa.Table:
    """Make the table of tokens, each under the sequence that computes it; `texts_of` gives the text of each token id.

    `sinks` are those among the read positions; None where none were looked for.
    """

    def joined(part: str, dtype: Any) -> Any:
        return np.concatenate([getattr(sequence.encoding, part)[sequence.start :] for sequence in sequences]).astype(
            dtype
        )

    lengths = [len(sequence.encoding) - sequence.start for sequence in sequences]
    ids = joined("token_ids", np.int32)
    distinct, which = np.unique(ids, return_inverse=True)
    texts = pa.array(texts_of(distinct.tolist()), type=pa.string())
    offsets = np.repeat(np.array([sequence.char_offset for sequence in sequences], dtype=np.int64), lengths)
    roles = [role for sequence in sequences for role in sequence.encoding.role[sequence.start :]]
    columns = [
        np.repeat(np.array([sequence.sequence_id for sequence in sequences], dtype=np.int64), lengths),
        np.concatenate([np.arange(sequence.start, len(sequence.encoding)) for sequence in sequences]),
        ids,
        texts.take(pa.array(which)),
        joined("char_start", np.int64) + offsets,
        joined("char_end", np.int64) + offsets,
        pa.array(roles, type=pa.string()),
        joined("is_special", np.bool_),
        _are_sinks(sequences, sinks),
    ]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=arrow_schema("tokens"))


def _are_sinks(sequences: Sequence[TokenSequence], sinks: Sinks | None) -> pa.Array:
    """Whether each token is a sink; null for tokens that were not read."""
    ends = np.cumsum([len(sequence.encoding) - sequence.start for sequence in sequences])
    unknown, is_sink = np.ones(ends[-1], dtype=np.bool_), np.zeros(ends[-1], dtype=np.bool_)
    if sinks is not None:
        for sequence, end in zip(sequences, ends, strict=True):
            at = sequence.keep - len(sequence.encoding) + end
            unknown[at], is_sink[at] = False, sinks.among(sequence)
    return pa.array(is_sink, mask=unknown)


def rejected_table(rejected: Sequence[Rejected]) -> pa.Table:
    """Make the table of rejected records, one row each."""
    rows = [
        {**vars(record), "field": as_stored(record.field), "reason": as_stored(record.reason)} for record in rejected
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("rejected"))


def as_stored(name: str | None) -> str | None:
    """Return a name as a table can hold it: half a character (a lone surrogate, which JSON allows) is written out."""
    return None if name is None else name.encode("utf-8", "backslashreplace").decode()
