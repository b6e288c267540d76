"""Pooled samples against the same computed again: which positions a text was pooled over, and what comes of them."""

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.config import Pool
from actkit.pipeline.data import Ints
from actkit.pipeline.recipe import Pooling
from actkit.verify.recompute.differences import Features, Floats
from actkit.verify.recompute.features import apart, flips
from actkit.verify.recompute.stored import StoredSequence


def positions_pooled(pooling: Pooling, sequence: StoredSequence) -> Ints | None:
    """The positions that the sequence was pooled over; None where its tables do not tell.

    They are those whose activations are stored, or else the answer's: the tokens of one role from
    `response_start` on, or all of a text that is no answer. `n_kept` must agree.
    """
    stored = next(iter(sequence.values.get("activations", {}).values()), None)
    if stored is not None:
        kept: Ints = stored["position"].to_numpy()
    else:
        start = sequence.row["response_start"]
        kept = np.arange(len(sequence.token_ids))
        if start is not None and start < len(sequence.role):
            other = np.flatnonzero(np.array([role != sequence.role[start] for role in sequence.role[start:]]))
            kept = np.arange(start, start + int(other[0]) if len(other) else len(sequence.role))
    plain = kept[~sequence.left_out[kept]]
    if len(plain) != sequence.row["n_kept"]:
        return None
    read = kept if pooling.special else plain
    return read[-1:] if pooling.pool == "last" else read


def pooled_vector(x: torch.Tensor) -> Floats:
    """[1, width] the mean of the vectors [n, width]; float32, as it is stored."""
    mean: Floats = x.cpu().to(torch.float64).mean(0).numpy().astype(np.float32).astype(np.float64)[None]
    return mean


def compare_pooled(
    seen: Features, sae: Sae, x: torch.Tensor, positions: Ints, row: pa.Table, pool: Pool, where: str
) -> None:
    """Hold one text's pooled features (`row`, one row) against those encoded again from its activations `x` [n, d_in].

    A feature is within rounding where turning it on or off takes no larger a change than the tolerance, at each
    position where it is active; the position where it is strongest, where another is as strong but for rounding.
    """
    with torch.inference_mode():
        each = sae.encode(x).cpu().numpy()
    pooled = {"max": each.max(0), "mean": each.mean(0), "last": each[-1], "sum": each.sum(0)}[pool].astype(np.float32)
    ids, activations, strongest = (
        np.array(row[f"feature_{name}"][0].as_py()) for name in ("ids", "activations", "positions")
    )
    ids = ids.astype(np.int64)
    again = np.flatnonzero((each > 0).any(0))
    seen.count(set(ids.tolist()), set(again.tolist()), apart(ids, activations, pooled, again), where)
    at = {int(position): index for index, position in enumerate(positions)}
    for feature in sorted(set(ids.tolist()) ^ set(again.tolist())):
        found = np.flatnonzero(each[:, feature] > 0)
        if feature in ids:
            place = at.get(int(strongest[ids == feature][0]))
            fine = place is not None and flips(sae, x[place], feature, seen.tolerance.vectors)
        else:
            fine = all(flips(sae, x[index], feature, seen.tolerance.vectors) for index in found)
        if not fine:
            state = "stored, but not active when encoded again" if feature in ids else "active, but not stored"
            seen.differs(f"{where}: feature {feature} is {state}")
    slack = seen.tolerance.features * float(np.linalg.norm(pooled))
    for feature, position in zip(ids.tolist(), strongest.tolist(), strict=True):
        value = each[at[position], feature] if position in at else -np.inf
        if feature in again and value < each[:, feature].max() - slack:
            seen.differs(f"{where}: feature {feature} is not strongest at position {position}")
