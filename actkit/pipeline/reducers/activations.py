"""Stage 5, reduce: make rows of the kept activations of a batch. A reducer is a function `Kept → groups of rows`.

The rows of a group, such as one hook point, are stored together, so that reading one hook point reads only its bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from actkit.backends.tensors import to_host
from actkit.errors import NonFiniteError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Kept, Ragged
from actkit.pipeline.forward.steered import LOGPROB, RAN, by_sequence
from actkit.runs.writer import Groups
from actkit.schemas import arrow_schema, vector_type

Reducer: TypeAlias = Callable[[Kept], Groups]
FLOAT16_MAX = 65504.0
KEYS = 20
"""Bytes of a row besides its vector: two ids of 8 bytes and the layer."""


@dataclass(frozen=True)
class TableSize:
    """The expected size of a table, for each kept position or for each sequence."""

    per: Literal["position", "sequence"]
    rows: int
    bytes: float | None = None
    """Bytes on disk; None where they depend on which features fire."""
    at_most: bool = False
    """Whether fewer bytes are likely."""


def vectors_stored(points: Sequence[HookPoint], width: int | None, store_dtype: str) -> TableSize:
    """Return the size of `activations`; its bytes are unknown where `width` is None."""
    size = 2 if store_dtype == "float16" else 4
    return TableSize("position", len(points), None if width is None else len(points) * (width * size + KEYS))


def activations(hook_points: Sequence[HookPoint], width: int | None, store_dtype: str) -> Reducer:
    """Return the reducer that stores every vector as it is; `width` is None where lengths of vectors differ.

    bfloat16 becomes float32 without loss. The reducer raises NonFiniteError, naming sequence, hook point and position,
    for a NaN, an infinity, or a value that float16 cannot hold.
    """
    vector = vector_type(width, store_dtype)
    schema = arrow_schema("activations", vector)

    def reduce(kept: Kept) -> Groups:
        return {str(point): _rows(kept, point, schema, vector, store_dtype) for point in hook_points}

    return reduce


def _rows(kept: Kept, point: HookPoint, schema: pa.Schema, vector: pa.DataType, store_dtype: str) -> pa.Table:
    part = kept.activations[str(point)]
    tensor = part.values if isinstance(part, Ragged) else part
    _check(tensor, part, kept, point, store_dtype)
    values = to_host(tensor.to(getattr(torch, store_dtype))).numpy()
    n = len(kept.positions)
    flat = pa.array(values.reshape(-1), type=vector.value_type)
    if pa.types.is_fixed_size_list(vector):
        lists = pa.FixedSizeListArray.from_arrays(flat, vector.list_size)
    else:
        widths = part.widths if isinstance(part, Ragged) else np.full(n, values.shape[1])
        lists = pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(widths)).astype(np.int32)), flat)
    columns = [
        pa.array(kept.sequence_ids),
        pa.array(kept.positions),
        pa.repeat(pa.scalar(point.layer, pa.int32()), n),
        pa.repeat(str(point), n),
        lists,
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _check(values: torch.Tensor, part: torch.Tensor | Ragged, kept: Kept, point: HookPoint, store_dtype: str) -> None:
    limit = FLOAT16_MAX if store_dtype == "float16" else torch.inf
    # One pass in the usual case: NaN and infinity both make the largest magnitude fail the comparison.
    if values.numel() == 0 or bool(values.abs().max() < limit if limit == torch.inf else values.abs().max() <= limit):
        return
    bad = ~(values.abs() < torch.inf) | (values.abs() > limit)
    first = int(bad.reshape(len(values), -1).any(dim=1).nonzero()[0])
    row = int(np.searchsorted(np.cumsum(part.widths), first, side="right")) if isinstance(part, Ragged) else first
    value = float(values[first][bad[first]].reshape(-1)[0])
    sequence_id = int(kept.sequence_ids[row])
    place = f"at {point}, position {kept.positions[row]}"
    if np.isfinite(value):
        fault = f"{value:g} {place} does not fit into float16"
        raise NonFiniteError(fault, "use --store-dtype float32", sequence_id, spreads=False)
    at = int(kept.positions[row])
    raise NonFiniteError(f"the model computed {value} {place}", way_out(values.dtype), sequence_id, at)


def way_out(dtype: torch.dtype) -> str:
    """Return a hint for a model that computed NaN or infinity in `dtype`."""
    if dtype == torch.float32:
        return "its weights may hold no numbers: fetch the model's files again; or try --attn eager"
    return "try --dtype float32 or --attn eager"


def logprobs(intervention_ids: Sequence[int]) -> Reducer:
    """Return the reducer that makes a row of each sequence and intervention under which it was run.

    Special tokens are read like others. Raises NonFiniteError, naming sequence and intervention, for NaN or infinity.
    """
    schema = arrow_schema("logprobs")

    def reduce(kept: Kept) -> dict[str, pa.Table]:
        (ids, found), k = by_sequence(kept), len(intervention_ids)
        ran = found.pop(RAN) > 0
        bad = np.argwhere(~np.isfinite(found[LOGPROB]) & ran)
        if len(bad):
            row, number = bad[0]
            raise NonFiniteError(
                f"the model computed {found[LOGPROB][row, number]} under intervention {intervention_ids[number]}",
                "smaller --strengths, or --dtype float32",
                int(ids[row]),
            )
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.broadcast_to(values, (len(ids), k))[ran] for name, values in found.items()
        }
        columns["sequence_id"] = np.repeat(ids, k)[ran.reshape(-1)]
        columns["intervention_id"] = np.tile(np.asarray(intervention_ids), len(ids))[ran.reshape(-1)]
        arrays = [
            pa.array(columns[field.name], from_pandas=True).cast(field.type)  # NaN becomes null
            if field.name in columns
            else pa.nulls(int(ran.sum()), field.type)
            for field in schema
        ]
        return {"logprobs": pa.Table.from_arrays(arrays, schema=schema)}

    return reduce
