"""Tables that every run has: its sequences, their tokens, and the records that were rejected."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

TABLES["sequences"] = (
    Column("sequence_id", pa.int64(), "0-based number of the sequence in this run"),
    Column("record_id", pa.int64(), "0-based index of the input record, bad records counted"),
    Column("source", pa.string(), "file that the record came from"),
    Column("line", pa.int64(), "1-based line at which the record begins; null where the format has none"),
    Column("side", pa.string(), "shared, chosen or rejected in pairs; null elsewhere"),
    Column("parent_id", pa.int64(), "sequence_id of the sequence that this one continues; null for a whole one"),
    Column("start", pa.int64(), "first position of its own: earlier ones are the parent's"),
    Column("n_tokens", pa.int64(), "tokens in all, the parent's included: positions run from 0 to n_tokens - 1"),
    Column("n_truncated", pa.int64(), "tokens cut off the end to fit the maximum length"),
    Column("response_start", pa.int64(), "first position of the response; null where there is none"),
    Column("group", pa.string(), "what belongs together, such as a question's id; null where there is none"),
    Column("label", pa.string(), "the record's label, such as a template's name; null where there is none"),
    Column("template", pa.string(), "the wording around the record's own text; null where there is one only"),
    Column(
        "split",
        pa.string(),
        "discovery or held_out (reward-detect), train, validation or test (concept); null for texts of no part",
    ),
    Column("score", pa.float64(), "the record's weight in means, shares and correlation; null where it has none"),
    Column("n_kept", pa.int64(), "positions that are read, special tokens and sinks not counted"),
    Column("chunk", pa.int64(), "0-based number of this piece of a document; null where documents are not cut"),
    Column("char_offset", pa.int64(), "where in the document `text` begins, in characters; 0 for whole ones"),
    Column("boundary_merged", pa.bool_(), "the token at response_start also holds text before the response"),
    Column("n_special_in_text", pa.int64(), "special tokens typed inside the text, where they act as control tokens"),
    Column("n_unknown", pa.int64(), "tokens that stand for characters outside of the vocabulary; they are text"),
    Column(
        "text",
        pa.string(),
        "exactly what was tokenized, a chat template's markers included; U+FFFD for a character in part",
    ),
)
TABLES["tokens"] = (
    Column("sequence_id", pa.int64(), "the sequence that computed the position"),
    Column("position", pa.int64(), "0-based, without padding"),
    Column("token_id", pa.int32(), "id in the model's vocabulary"),
    Column("token", pa.string(), "the token as text, with its spaces; part of a character shows as U+FFFD"),
    Column("char_start", pa.int64(), "first character in the document; less char_offset, in the sequence's text"),
    Column("char_end", pa.int64(), "one past the last character; tokens may share a character"),
    Column("role", pa.string(), "role in a chat; prompt or response of plain texts; template for markers; or null"),
    Column("is_special", pa.bool_(), "BOS, role markers and the like"),
    Column("is_sink", pa.bool_(), "an attention sink: norm above 10 x the usual; null where it was not read"),
)
REJECTED = (
    Column("record_id", pa.int64(), "0-based index of the input record"),
    Column("source", pa.string(), "file that the record came from"),
    Column("line", pa.int64(), "1-based line; null where the format has none"),
    Column("field", pa.string(), "the part of the record that is at fault, where one can be named"),
    Column("reason", pa.string(), "why it was not used"),
)
