"""Compare stored features, of tokens and pooled, with features encoded again, and tell differences from rounding.

A feature that only one of the two has is within rounding in three cases: its activation is within the tolerance of the
smallest of `top_k`, or of the threshold, or a change of the model's activations within the tolerance turns the feature
on or off. To test the last, `flips` moves the activations along the feature's own direction and encodes them again.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.config import Pool
from actkit.pipeline.data import Ints
from actkit.pipeline.recipe import Pooling
from actkit.verify.recompute.differences import Features, Floats, relative
from actkit.verify.recompute.stored import StoredSequence

STEPS = (0.1, 0.3, 1.0)
"""Shares of the tolerance by which `flips` shifts activations."""
MOVES = 32
"""Random directions in which activations are shifted to check `n_active`."""


@dataclass(frozen=True)
class Cut:
    """The rule by which a run selects the features of a token that it keeps."""

    top_k: int | None = None
    threshold: float = 0.0

    def of(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return the ids of the features kept of `values` [d_sae], largest activation first, equal ones by id."""
        ids = np.flatnonzero(values > max(np.float32(self.threshold), np.float32(0.0)))
        ids = ids[np.argsort(-values[ids], kind="stable")]
        return ids[: self.top_k]


def compare_token(
    seen: Features,
    sae: Sae,
    x: torch.Tensor,
    values: npt.NDArray[np.float32],
    stored: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], int],
    cut: Cut,
    where: str,
) -> None:
    """Compare one token's stored features (ids, activations, n_active) with `values` [d_sae], encoded from its `x`."""
    ids, activations, n_active = stored
    encoded = values
    again = cut.of(values)
    error = apart(ids, activations, values, again)
    seen.count(set(ids.tolist()), set(again.tolist()), error, where)
    for feature in sorted(set(ids.tolist()) ^ set(again.tolist())):
        if flips(sae, x, feature, seen.tolerance.vectors):  # then the stored activation is as good
            values = values.copy()
            values[feature] = activations[ids == feature].sum()
    again = cut.of(values)
    slack = seen.tolerance.features * float(np.linalg.norm(values[again]))
    for feature in sorted(set(ids.tolist()) ^ set(again.tolist())):
        kept = activations if feature in again else values[again]
        ends = [cut.threshold] if cut.threshold > 0 else []
        ends += [float(kept.min())] if len(kept) and len(kept) == cut.top_k else []
        if not (values[feature] > 0 and any(abs(float(values[feature]) - end) <= slack for end in ends)):
            seen.differs(f"{where}: feature {feature} is {_state(feature in ids, float(values[feature]))}")
    found = int((encoded > 0).sum())
    if found != n_active and not _may_be(n_active, sae, x, seen.tolerance.vectors):
        seen.differs(f"{where}: n_active is {n_active}, but {found} are active")


def _may_be(n_active: int, sae: Sae, x: torch.Tensor, tolerance: float) -> bool:
    """Whether rounding `x` [d_in] by `tolerance` of its norm may give `n_active` active features."""
    x = x.to(torch.float32)[None]
    moves = torch.randn((MOVES, x.shape[1]), generator=torch.Generator().manual_seed(0)).to(x.device)
    moves *= tolerance * x.norm() / moves.norm(dim=1, keepdim=True)
    with torch.inference_mode():
        counts = (sae.encode(x + moves) > 0).sum(1)
    return int(counts.min()) <= n_active <= int(counts.max())


def flips(sae: Sae, x: torch.Tensor, feature: int, tolerance: float) -> bool:
    """Whether a change of `x` [d_in] by `tolerance` of its norm turns a feature on or off."""
    x = x.to(torch.float32)[None]
    with torch.inference_mode():
        direction = _direction(sae, x, feature)
        length = float(direction.norm())
        if length == 0:
            return False
        step = direction * (float(x.norm()) * tolerance / length)
        moves = torch.tensor([0.0, *STEPS, *(-step for step in STEPS)], device=x.device)
        active = sae.encode(x + moves[:, None] * step)[:, feature] > 0
    return bool(active.any()) and not bool(active.all())


def _direction(sae: Sae, x: torch.Tensor, feature: int) -> torch.Tensor:
    """[1, d_in] the direction in which a feature changes most: its encoder's, or else its decoder's.

    For an SAE that shows neither, it is the direction of `x` [1, d_in] itself.
    """
    encoder = sae.weights.get("W_enc")
    if encoder is not None and encoder.shape == (sae.d_in, sae.d_sae):
        return encoder[:, feature].to(x)[None]
    if sae.reconstruct is None:
        return x
    alone = torch.zeros((1, sae.d_sae), device=x.device)
    nothing = sae.reconstruct(x, alone)
    alone[0, feature] = 1.0
    return sae.reconstruct(x, alone) - nothing


def apart(
    ids: npt.NDArray[np.int32],
    activations: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    again: npt.NDArray[np.int64],
) -> float:
    """The norm of the difference over the features that both have, as a share of the norm of the recomputed ones."""
    both = np.isin(ids, again)
    difference = activations[both].astype(np.float64) - values[ids[both]]
    return float(relative(np.linalg.norm(difference), np.linalg.norm(values[again].astype(np.float64))))


def _state(stored: bool, value: float) -> str:
    again = f"{value:.6g}" if value > 0 else "not active"
    return f"{'stored' if stored else 'not stored'}, but {again} when encoded again"


def positions_pooled(pooling: Pooling, sequence: StoredSequence) -> Ints | None:
    """The positions over which the run pooled a sequence; None where its tables do not tell.

    They are the positions whose activations are stored. Without those they are the answer's: the tokens of one role
    from `response_start` on, or all tokens of a text without an answer. `n_kept` must agree.
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
    """[1, width] the mean of the vectors `x` [n, width], rounded to float32 as the run stores it."""
    mean: Floats = x.cpu().to(torch.float64).mean(0).numpy().astype(np.float32).astype(np.float64)[None]
    return mean


def compare_pooled(
    seen: Features, sae: Sae, x: torch.Tensor, positions: Ints, row: pa.Table, pool: Pool, where: str
) -> None:
    """Compare one text's pooled features (`row`, one row) with those encoded again from its activations `x` [n, d_in].

    A missing feature is within rounding where a change within the tolerance turns it off at each of its positions; an
    extra feature, where such a change turns it on at the stored position. At its stored position, a feature must be as
    strong as anywhere in the text, but for rounding.
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
