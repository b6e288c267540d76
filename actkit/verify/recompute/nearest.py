"""Tables of the largest of many numbers against the same computed again: which are largest, and how large.

Numbers that are equal but for rounding may stand in another order, or at the end of a list one for the other. Whatever
stands in another place than when it is computed again must have, by itself, the number that is stored with it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae

CLOSE = 2e-4
"""Largest difference, as a share of the largest number of a list: another device multiplies in another order."""
Score = Callable[[int, int], float]
"""(row of the list, id) → the number that belongs to them."""


def differing(
    stored: Sequence[Sequence[tuple[int, float]]], again: Sequence[Sequence[tuple[int, float]]], score: Score
) -> Iterator[tuple[int, str]]:
    """The lists of (id, number) that are wrong: (place of the list, its fault)."""
    for row, (old, new) in enumerate(zip(stored, again, strict=True)):
        if old == new:
            continue
        wrong = _wrong(row, old, new, score)
        if wrong is not None:
            yield row, wrong


def _wrong(row: int, old: Sequence[tuple[int, float]], new: Sequence[tuple[int, float]], score: Score) -> str | None:
    if len(old) != len(new):
        return f"{len(old)} entries, not {len(new)}"
    if len({token_id for token_id, _ in old}) != len(old):
        return "an id stands twice"
    allowed = CLOSE * max((abs(value) for _, value in new), default=0.0)
    for place, ((token_id, value), (other, right)) in enumerate(zip(old, new, strict=True)):
        if not abs(value - right) <= allowed:
            return f"entry {place} is {value:.6g}, not {right:.6g}"
        if token_id != other and not abs(score(row, token_id) - value) <= allowed:
            return f"entry {place} is of {token_id}, not of {other}"
    return None


def logit_score(sae: Sae, head: torch.Tensor, features: Sequence[int]) -> Score:
    """Of the rows of `feature_logits`, of these features: the token's logit along the feature."""

    def score(row: int, token: int) -> float:
        if not 0 <= token < len(head) or sae.decoder is None:
            return float("nan")
        vector = head[token : token + 1].float()
        return float(sae.cosines(vector)[0, features[row]]) * float(vector.norm())  # may be on two devices

    return score


def of_logits(table: pa.Table, end: str) -> list[list[tuple[int, float]]]:
    """The lists of a column of `feature_logits`, `top` or `bottom`."""
    return [[(entry["token_id"], entry["logit"]) for entry in row or ()] for row in table[end].to_pylist()]


def of_directions(table: pa.Table) -> dict[tuple[Any, ...], list[tuple[int, float]]]:
    """The lists of `direction_features`, a direction and an SAE each, in the order of their ranks."""
    found: dict[tuple[Any, ...], list[tuple[int, float]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["rank"]):
        key = tuple(row[name] for name in ("sae", "layer", "hook_point", "method"))
        found.setdefault(key, []).append((row["feature_id"], row["cosine"]))
    return found
