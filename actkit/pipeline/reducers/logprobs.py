"""Reducer of `steer`: the log-probabilities of a batch under every intervention become the rows of `logprobs`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.errors import NonFiniteError
from actkit.pipeline.data import Kept
from actkit.pipeline.forward.steered import LOGPROB, RAN, by_sequence
from actkit.pipeline.reducers.activations import Reducer
from actkit.schemas import arrow_schema


def logprobs(intervention_ids: Sequence[int]) -> Reducer:
    """The reducer: a row a sequence and intervention that it was run under; special tokens are read like any other.

    It raises NonFiniteError, naming sequence and intervention, where the model computed what is no number.
    """
    schema = arrow_schema("logprobs")

    def reduce(kept: Kept) -> dict[str, pa.Table]:
        found = by_sequence(kept)
        ids, k = found.pop("sequence_ids").astype(np.int64), len(intervention_ids)
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
        arrays = [_column(columns.get(field.name), field.type, int(ran.sum())) for field in schema]
        return {"logprobs": pa.Table.from_arrays(arrays, schema=schema)}

    return reduce


def _column(values: "np.typing.NDArray[np.generic] | None", kind: pa.DataType, n: int) -> pa.Array:
    """A column of the type; nulls where there is nothing, or no number."""
    if values is None:
        return pa.nulls(n, kind)
    missing = np.isnan(values.astype(np.float64))
    return pa.array(np.where(missing, 0, values), mask=missing).cast(kind)
