"""Figures of activations in memory: the same as in the tables `layer_stats` and `pair_stats` of a run."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from actkit.analysis.layer_stats import Moments
from actkit.errors import UsageError

Read: TypeAlias = Literal["last", "mean"]
Captured: TypeAlias = Mapping[str, Any]
"""The result of `capture_activations`, or the contents of a `.pt` file of it."""


def compute_activation_stats(
    activations: Captured, *, special_tokens: bool | None = None
) -> dict[int | str, dict[str, Any]]:
    """Compute mean, spread and norm of each layer's activations, as the table `layer_stats` has them.

    Returns {layer: {n_positions, mean, std, norm, min, max}}: `mean` and `std` (population) over all elements, `norm`
    the mean Euclidean norm of a position's vector, in the activations' own unit. Padding never counts. Special tokens
    count with `special_tokens`, and by default where a prompt has nothing else (the last token of a chat is the
    template's own). In contrasts, both sides count. Moments are merged pairwise in float64 (Chan, Golub &
    LeVeque 1983). Where nothing is left, n_positions is 0 and the rest None.

    Raises UsageError for a dictionary without activations, or one that does not say which tokens are special.

        found = actkit.capture_activations("tiny", ["Good morning.", "Good night."])
        actkit.compute_activation_stats(found)[2]["norm"]
    """
    every: dict[int | str, Moments] = {}
    for batch in batches_of(activations):
        rows = rows_read(batch, bool(special_tokens))
        if special_tokens is None and not rows.any():
            rows = rows_read(batch, special_tokens=True)
        for key, tensor in batch["activations"].items():
            moments = every.get(key, Moments())
            for vectors, read in zip(tensor, rows, strict=True):  # a sequence at a time: float64 copies stay small
                moments = moments.merged(Moments.of(vectors[read].to(torch.float32).cpu().numpy()))
            every[key] = moments
    found: dict[int | str, dict[str, Any]] = {}
    for key, moments in every.items():
        figures = {name.removeprefix("mean_"): value for name, value in moments.figures().items()}
        found[key] = {"n_positions": moments.n_positions, **figures}
    return found


def compute_contrastive_diff(
    positive: Captured, negative: Captured, *, read: Read = "last", special_tokens: bool = False
) -> dict[int | str, dict[str, Any]]:
    """Measure how far apart the two sides of pairs are, layer by layer, as the tables `contrasts` and `pair_stats` say.

    The first prompt of `positive` makes a pair with the first of `negative`, and so on. `read` chooses each prompt's
    last kept position, or with "mean" the mean of its kept positions, without special tokens unless
    `special_tokens`. Returns {layer: {n_pairs, diff_norm, cosine, cosine_sim, mean_diff, mean_diff_norm}}: `diff_norm`
    is the mean over pairs of the norm of positive - negative, `cosine` and `cosine_sim` that of the cosine of the two
    (None where every pair has a side of zeros), `mean_diff` [width] float32 the mean of the differences, and
    `mean_diff_norm` its length.

    Raises UsageError for sides with different numbers of prompts or different layers, or a prompt with nothing to read.

        positive, negative = (actkit.capture_activations("tiny", text) for text in ("I love it.", "I hate it."))
        actkit.compute_contrastive_diff(positive, negative)[2]["cosine"]
    """
    found: dict[int | str, dict[str, Any]] = {}
    for key, (first, second) in paired(positive, negative, read, special_tokens).items():
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines = (first * second).sum(1)[norms > 0] / norms[norms > 0]
        mean = (first - second).mean(0)
        found[key] = {
            "n_pairs": len(first),
            "diff_norm": float(np.linalg.norm(first - second, axis=1).mean()),
            "cosine": float(cosines.mean()) if len(cosines) else None,
            "cosine_sim": float(cosines.mean()) if len(cosines) else None,
            "mean_diff": torch.from_numpy(mean.astype(np.float32)),
            "mean_diff_norm": float(np.linalg.norm(mean)),
        }
    return found


def paired(
    positive: Captured, negative: Captured, read: Read, special_tokens: bool = False
) -> dict[int | str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Layer → the vectors of each side, [n_pairs, width]. Raises UsageError for sides that make no pairs."""
    first, second = (one_vector_each(whole(side), read, special_tokens) for side in (positive, negative))
    if list(first) != list(second):
        raise UsageError("the two sides have different layers", "capture both with the same layers and hook points")
    n, m = (len(next(iter(side.values()))) for side in (first, second))
    if n != m:
        raise UsageError(f"{n} positive prompts and {m} negative ones make no pairs", "give as many of each")
    return {key: (first[key], second[key]) for key in first}


def one_vector_each(
    activations: Captured, read: Read, special_tokens: bool
) -> dict[int | str, npt.NDArray[np.float64]]:
    """Layer → [batch, width]: each prompt's last kept position, or the mean of its kept positions.

    As a run's tables hold vectors, means are rounded to float32. Raises UsageError where there is nothing to read.
    """
    if read not in ("last", "mean"):
        raise UsageError(f"read={read!r} is not known", "use last or mean")
    rows = rows_read(activations, special_tokens=special_tokens or read == "last")
    empty = torch.nonzero(~rows.any(1))
    if len(empty):
        raise UsageError(f"prompt {int(empty[0])} has no position that can be read", "capture other positions")
    if read == "last":
        last = torch.where(rows, torch.arange(rows.shape[1]), -1).amax(1)
        rows = torch.arange(rows.shape[1]) == last[:, None]
    found = {}
    for key, tensor in activations["activations"].items():
        means = [
            vectors[own].to(torch.float64).mean(0).to(torch.float32) for vectors, own in zip(tensor, rows, strict=True)
        ]
        found[key] = torch.stack(means).to(torch.float64).cpu().numpy()
    return found


def batches_of(activations: Any) -> list[Captured]:
    """Return captured activations as batches: one, or for contrasts those of both sides.

    A dictionary without positions holds whole texts without padding, as the older script made it.
    """
    if isinstance(activations, Mapping) and "positive" not in activations:
        return [whole(activations)]
    try:
        return [whole(batch) for side in ("positive", "negative") for batch in listed(activations[side])]
    except (TypeError, KeyError, AttributeError):
        raise _no_activations() from None


def whole(batch: Captured) -> Captured:
    """Return a batch with the positions of its rows: all positions, where it does not name them."""
    if "activations" not in batch or "positions" in batch or not batch["activations"]:
        return batch
    shape = next(iter(batch["activations"].values())).shape[:2]
    mask = batch.get("attention_mask")
    positions = torch.arange(shape[1]).expand(shape)
    if mask is not None and tuple(mask.shape) == tuple(shape):
        positions = torch.where(torch.as_tensor(mask).bool(), positions, -1)
    special = batch.get("special_tokens_mask", torch.zeros(shape, dtype=torch.int64))
    return {**batch, "positions": positions, "special_tokens_mask": special}


def listed(side: Any) -> list[Captured]:
    """Return the batches of one side as a list; a side may be a single batch."""
    return [side] if isinstance(side, Mapping) else list(side)


def rows_read(activations: Captured, special_tokens: bool) -> torch.Tensor:
    """Return [batch, rows] whether each row counts: padding never does. Raises UsageError where that is unknown."""
    if "activations" not in activations or "positions" not in activations:
        raise _no_activations()
    positions: torch.Tensor = activations["positions"]
    rows: torch.Tensor = positions >= 0
    if special_tokens:
        return rows
    if "special_tokens_mask" not in activations:
        raise UsageError("nothing says which tokens are special", "count them too: special_tokens=True")
    special = torch.gather(activations["special_tokens_mask"], 1, positions.clamp_min(0)) > 0
    return rows & ~special


def _no_activations() -> UsageError:
    return UsageError(
        "these are no captured activations", 'give what capture_activations returns, or {"activations": …}'
    )
