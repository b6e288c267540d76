"""Tables of whole activations."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

TABLES["activations"] = (
    Column("sequence_id", pa.int64(), "the sequence that computed the position"),
    Column("position", pa.int64(), "0-based, without padding"),
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name; rows of one hook point form row groups of their own"),
    Column("activation", None, "the vector; [n_heads, position + 1] flattened for attention patterns"),
)
TABLES["pooled_activations"] = (
    Column("sequence_id", pa.int64(), "the text"),
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column(
        "activation",
        pa.list_(pa.float32()),
        "mean vector of the text's tokens, special ones left out; with `--pool last` the last one",
    ),
)
TABLES["layer_stats"] = (
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("special_tokens", pa.bool_(), "whether special tokens are counted; they can dominate every figure"),
    Column("n_positions", pa.int64(), "positions counted"),
    Column("mean", pa.float64(), "mean over all elements"),
    Column("std", pa.float64(), "standard deviation over all elements (population)"),
    Column("mean_norm", pa.float64(), "mean Euclidean norm of a position's vector"),
    Column("min", pa.float64(), "smallest element"),
    Column("max", pa.float64(), "largest element"),
)
