"""The tables that describe what was run, one row a sequence, a token or a rejected record."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.schemas import arrow_schema


def sequences_table(sequences: Sequence[TokenSequence], records: dict[int, Record]) -> pa.Table:
    """One row a sequence."""
    rows = []
    for sequence in sequences:
        encoding, record = sequence.encoding, records[sequence.record_id]
        rows.append(
            {
                "sequence_id": sequence.sequence_id,
                "record_id": sequence.record_id,
                "source": record.source,
                "line": record.line,
                "side": sequence.side,
                "parent_id": sequence.parent,
                "start": sequence.start,
                "n_tokens": len(encoding),
                "n_truncated": sequence.n_truncated,
                "response_start": sequence.response_start,
                "group": _stored(sequence.group),
                "label": _stored(sequence.label),
                "template": _stored(sequence.template),
                "score": sequence.score,
                "n_kept": int((~encoding.is_special[sequence.keep]).sum()),
                "chunk": sequence.chunk,
                "char_offset": sequence.char_offset,
                "boundary_merged": sequence.boundary_merged,
                "n_special_in_text": encoding.special_in_text,
                "n_unknown": encoding.n_unknown,
                "text": encoding.text,
            }
        )
    return pa.Table.from_pylist(rows, schema=arrow_schema("sequences"))


def tokens_table(sequences: Sequence[TokenSequence], decode: Callable[[list[list[int]]], list[str]]) -> pa.Table:
    """One row a token, each under the sequence that computes it; `decode` turns lists of ids into texts."""

    def joined(part: str, dtype: Any) -> Any:
        return np.concatenate([getattr(sequence.encoding, part)[sequence.start :] for sequence in sequences]).astype(
            dtype
        )

    lengths = [len(sequence.encoding) - sequence.start for sequence in sequences]
    ids = joined("token_ids", np.int32)
    distinct, which = np.unique(ids, return_inverse=True)
    texts = pa.array(decode([[int(number)] for number in distinct]), type=pa.string())
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
    ]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=arrow_schema("tokens"))


def rejected_table(rejected: Sequence[Rejected]) -> pa.Table:
    """One row a rejected record."""
    rows = [{**vars(one), "field": _stored(one.field), "reason": _stored(one.reason)} for one in rejected]
    return pa.Table.from_pylist(rows, schema=arrow_schema("rejected"))


def _stored(name: str | None) -> str | None:
    """A name as a table can hold it: half a character (a lone surrogate), which JSON can spell, is written out."""
    return None if name is None else name.encode("utf-8", "backslashreplace").decode()
