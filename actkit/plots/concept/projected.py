"""Both sides of every contrast pair, projected on one direction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from actkit.plots.picture import LackingError, Pick, Source, columns_of, needs
from actkit.runs.reader import is_special, parts, rows_of, special_keys

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Projected:
    """Pairs [n], and what both sides project to."""

    layer: int
    hook_point: str
    method: str
    records: Ints
    positive: Floats
    negative: Floats
    tokens: tuple[Ints, Ints]
    """Tokens of the positive and of the negative text."""
    held_out: bool
    """Whether only test pairs are here; else the run does not say which they are."""

    @property
    def which(self) -> str:
        """The pairs, for a sentence."""
        n = f"{len(self.records):,}"
        return f"{n} test pairs" if self.held_out else f"All {n} pairs (this run does not say which are held out)"


def chosen(run: Source, pick: Pick) -> dict[str, Any]:
    """The row of `direction_scores` of the method that the run shows, at the chosen layer or the one that is picked."""
    needs(run, "direction_scores")
    about = run.facts["concept"]
    rows = [row for row in run.table("direction_scores").to_pylist() if row["method"] == about["method"]]
    best = about["chosen"].get(about["method"])
    wanted = pick.layer if pick.layer is not None else best["layer"] if best else rows[0]["layer"]
    found = next((row for row in rows if row["layer"] == wanted), None)
    if found is None:
        raise LackingError(f"This run has no direction at layer {wanted}.", "direction_scores lists them")
    if best is not None and pick.layer is None:
        return next((row for row in rows if row["hook_point"] == best["hook_point"]), found)
    return dict(found)


def projected(run: Source, pick: Pick) -> Projected:
    """The test pairs on the chosen direction."""
    row = chosen(run, pick)
    needs(run, "directions")
    needs(run, "activations")
    table = run.table("directions", ["hook_point", "method", "direction"])
    here = pc.and_(pc.equal(table["hook_point"], row["hook_point"]), pc.equal(table["method"], row["method"]))
    direction = np.array(table.filter(here)["direction"][0].as_py())
    values = _projections(run, row["hook_point"], direction, run.facts["options"].get("positions") == "all")
    names = columns_of(run, "sequences")
    split = ["split"] if "split" in names else []
    sequences = run.table("sequences", ["sequence_id", "record_id", "side", "label", "n_tokens", *split]).to_pylist()
    pairs: dict[int, dict[str, dict[str, Any]]] = {}
    for sequence in sequences:
        if sequence["sequence_id"] in values:
            side = sequence["side"] if sequence["side"] in ("positive", "negative") else sequence["label"]
            pairs.setdefault(sequence["record_id"], {})[str(side)] = sequence
    both = {record: sides for record, sides in pairs.items() if {"positive", "negative"} <= sides.keys()}
    held = {r: s for r, s in both.items() if s["positive"].get("split") == "test"}
    shown = held or both
    if not shown:
        raise LackingError("This run has no pair with both sides.", "see the table rejected")
    a, b = ([sides[side] for sides in shown.values()] for side in ("positive", "negative"))
    return Projected(
        row["layer"],
        row["hook_point"],
        row["method"],
        np.array(list(shown), dtype=np.int64),
        np.array([values[sequence["sequence_id"]] for sequence in a]),
        np.array([values[sequence["sequence_id"]] for sequence in b]),
        (np.array([sequence["n_tokens"] for sequence in a]), np.array([sequence["n_tokens"] for sequence in b])),
        bool(held),
    )


def _projections(run: Source, point: str, direction: Floats, last_only: bool) -> dict[int, float]:
    """sequence_id → projection of what its direction is of: the mean of the stored positions, or the last one.

    Special tokens and sinks are left out of a mean where anything else is there, as they are where directions are
    fitted.
    """
    found: dict[int, float] = {}
    for part in parts(run.path, "activations"):
        special = None if last_only else special_keys(run.path, part)
        for rows in rows_of(part, point):
            # Row by row, so that equal vectors tie: a matrix product rounds its last rows otherwise.
            values = np.einsum("nd,d->n", rows.activations.astype(np.float64), direction)
            ids, at, counts = np.unique(rows.sequence_ids, return_inverse=True, return_counts=True)
            if special is None:
                sums = values[np.cumsum(counts) - 1]
            else:
                plain = ~is_special(rows, special)
                plain |= (np.bincount(at, plain, len(ids)) == 0)[at]
                sums = np.bincount(at, values * plain) / np.bincount(at, plain)
            found |= dict(zip(ids.tolist(), sums.tolist(), strict=True))
    return found


def interval(row: dict[str, Any]) -> str:
    """The held-out AUROC of a row with its interval, for a sentence."""
    low, high = row.get("auroc_heldout_low"), row.get("auroc_heldout_high")
    return f"{row['auroc_heldout']:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")
