"""Expected sizes of tables, for the plan of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actkit.backends.saes.sae import Sae
from actkit.hooks import HookPoint

KEYS = 20
"""Bytes of a row besides its vector: two ids of 8 bytes and the layer."""
PER_FEATURE = 6.0
"""Bytes of an id and an activation under zstd, which hardly shrinks the activations; 5.6 were measured."""


@dataclass(frozen=True)
class TableSize:
    """The size of a table for each position that is kept, or for each sequence."""

    per: Literal["position", "sequence"]
    rows: int
    bytes: float | None = None
    """On disk; None where it depends on what fires."""
    at_most: bool = False
    """Whether fewer bytes are likely."""


def vectors_stored(points: Sequence[HookPoint], width: int | None, store_dtype: str) -> TableSize:
    """The table activations; vectors of unequal length (width None) are not known before."""
    size = 2 if store_dtype == "float16" else 4
    return TableSize("position", len(points), None if width is None else len(points) * (width * size + KEYS))


def features_stored(saes: Sequence[Sae], top_k: int | None) -> TableSize:
    """The table features: at most `top_k` a position; without a limit, the size depends on the active features."""
    per_row = None if top_k is None else top_k * PER_FEATURE + KEYS
    return TableSize("position", len(saes), per_row and len(saes) * per_row, at_most=True)


def pooled_stored(saes: Sequence[Sae]) -> dict[str, TableSize]:
    """Expected sizes of `pooled_features` (unknown: depends on which features fire) and `pooled_activations`."""
    widths = {sae.hook_point: sae.d_in for sae in saes}
    return {
        "pooled_features": TableSize("sequence", len(saes)),
        "pooled_activations": TableSize("sequence", len(widths), sum(width * 4.0 + KEYS for width in widths.values())),
    }
