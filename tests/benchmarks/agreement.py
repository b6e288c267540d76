"""How far a peer's numbers are from the reference's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tests.benchmarks.reference import TOP_K


def difference(workload: str, found: Mapping[str, Any], expected: Mapping[Any, Any]) -> tuple[float, float | None]:
    """Largest error over largest number, and the share of the same ids where there are features.

    `found` holds a peer's arrays (see `peers/served.py`), `expected` what `reference` gives for the same work. Raises
    ValueError where there are not as many of them.
    """
    if workload in ("documents", "answers"):
        names = [name.removesuffix("/values") for name in found if name.endswith("/values")]
        _same_number(len(names), len(expected))
        pairs = [(found[f"{name}/values"], found[f"{name}/ids"], *expected[int(name)]) for name in names]
        columns = zip(*pairs, strict=True)
        return _features(
            *(np.concatenate([np.asarray(column).reshape(-1, TOP_K) for column in each]) for each in columns)
        )
    whole = {name: _wanted(workload, name, expected) for name in found}
    _same_number(len(found), len(expected) // 3 * 2 if workload == "pairs" else len(expected))
    error = max(float(np.abs(found[name] - wanted).max()) for name, wanted in whole.items())
    return error / max(float(np.abs(wanted).max()) for wanted in whole.values()), None


def of_windows(found: Mapping[str, Any], model: Any, sae: Any) -> tuple[float, float]:
    """The same for windows into which a peer has packed documents: the reference runs these very windows."""
    values, ids = [], []
    for window in torch.from_numpy(found["tokens"].astype(np.int64)).split(4):
        top = sae.encode(model(window, use_cache=False).last_hidden_state).topk(TOP_K)
        values.append(top.values.numpy())
        ids.append(top.indices.numpy())
    every = (found["values"], found["ids"], np.concatenate(values), np.concatenate(ids))
    return _features(*(array.reshape(-1, TOP_K) for array in every))


def shown(error: float, same: float | None) -> str:
    """Both as the table has them."""
    return f"{error:.0e}" + ("" if same is None else f", {same:.2%} of features")


def _features(values: Any, ids: Any, wanted: Any, wanted_ids: Any) -> tuple[float, float]:
    """Of the features that the reference has above zero: error of the sorted values, share of the same ids."""
    active = wanted > 0
    # Ids of rows made distinct, so that one search does for all rows.
    rows = np.arange(len(ids), dtype=np.int64)[:, None] << 32
    same = np.isin((rows | wanted_ids)[active], rows | ids)
    return float(np.abs(values - wanted)[active].max() / wanted.max()), float(same.mean())


def _wanted(workload: str, name: str, expected: Mapping[Any, Any]) -> Any:
    if workload == "contrasts":
        return np.asarray(expected[int(name)])
    index, side = name.split("/")
    return np.concatenate([expected[(int(index), 0)], expected[(int(index), 1 if side == "chosen" else 2)]], axis=1)


def _same_number(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{found} of {expected} are there")
