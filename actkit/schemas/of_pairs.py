"""Tables of preference pairs."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

TABLES["pairs"] = (
    Column("record_id", pa.int64(), "0-based index of the input record, bad records counted"),
    Column("status", pa.string(), "ok, identical, chosen_is_prefix, rejected_is_prefix or prompts_differ"),
    Column("chosen_divergence", pa.int64(), "first position whose token differs; null if chosen has no such token"),
    Column("rejected_divergence", pa.int64(), "the same position in rejected; null if rejected has no such token"),
    Column("chosen_length", pa.int64(), "tokens of the whole chosen rendering"),
    Column("rejected_length", pa.int64(), "tokens of the whole rejected rendering"),
    Column("chosen_response_start", pa.int64(), "first position of the chosen response"),
    Column("rejected_response_start", pa.int64(), "first position of the rejected response"),
    Column("prompt_sha256", pa.string(), "of the rendered text before the chosen response"),
    Column("chosen_sha256", pa.string(), "of the chosen response's text"),
    Column("rejected_sha256", pa.string(), "of the rejected response's text"),
)
TABLES["pair_diffs"] = (
    Column("record_id", pa.int64(), "0-based index of the input record"),
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("divergence_diff_norm", pa.float64(), "norm of chosen - rejected at the divergence position"),
    Column("divergence_cosine", pa.float64(), "cosine of the two there; null where a side has no such token"),
    Column(
        "response_diff_norm",
        pa.float64(),
        "norm of the difference of the means over the kept positions of the answer itself",
    ),
    Column(
        "response_cosine",
        pa.float64(),
        "cosine of those means; null where a side has no kept position of its answer",
    ),
    Column("chosen_response_positions", pa.int64(), "positions in the chosen mean"),
    Column("rejected_response_positions", pa.int64(), "positions in the rejected mean"),
)
TABLES["pair_stats"] = (
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("measure", pa.string(), "a numeric column of pair_diffs or of contrasts"),
    Column("n_pairs", pa.int64(), "pairs that have the measure, whatever their status"),
    Column("mean", pa.float64(), "over pairs"),
    Column("std", pa.float64(), "over pairs (sample; null for one pair)"),
    Column("median", pa.float64(), "over pairs"),
    Column("min", pa.float64(), "over pairs"),
    Column("max", pa.float64(), "over pairs"),
)
