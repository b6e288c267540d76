"""Both sides of contrast pairs along a direction: apart, against length, and pair by pair."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pyarrow.compute as pc

from actkit.analysis.length import spearman
from actkit.numerals import percent, signed
from actkit.plots.picture import Drawn, LackingError, Pick, Source, columns_of, needs
from actkit.plots.style import BLUE, COLOURS, MARKS, MAX_POINTS, ORANGE, figure, label, wholes
from actkit.plots.traces import diagonal, points
from actkit.runs.reader import Ints, is_special, parts, rows_of, special_keys

Floats = npt.NDArray[np.float64]
WARN = 0.5
"""Spearman correlation with length above which a direction may encode length."""


def projections(run: Source, pick: Pick) -> Drawn:
    """Draw histograms of both sides' projections."""
    of = projected(run, pick)
    both = np.concatenate([of.positive, of.negative])
    edges = np.linspace(both.min(), both.max() or 1, 1 + int(np.clip(2 * len(both) ** 0.5, 8, 40)))
    bins = {"start": float(edges[0]), "end": float(edges[-1]) + 1e-9, "size": float(edges[1] - edges[0]) or 1.0}
    made = figure()
    for values, name, colour in ((of.positive, "positive", BLUE), (of.negative, "negative", ORANGE)):
        marker = {"color": colour, "pattern": {"shape": "" if name == "positive" else "/"}}
        made.add_trace(go.Histogram(x=values, name=name, marker=marker, opacity=0.65, xbins=bins))
    made.update_layout(barmode="overlay")
    made.update_xaxes(title=f"projection on {label(of.method)} at layer {of.layer}")
    made.update_yaxes(title="texts")
    known = of.held_out and of.row["auroc_heldout"] is not None
    return Drawn(
        made,
        f"Both sides along the direction, at layer {of.layer}",
        f"{of.which}; a positive text projects higher than a negative one with chance {interval(of.row) if known else f'{_auroc(of):.3f}'}.",
        f"SELECT direction FROM 'RUN/directions/*.parquet' WHERE layer = {of.layer} AND method = '{of.method}'\n"
        "-- projected: the activations of the same layer, times it",
    )


def length(run: Source, pick: Pick) -> Drawn:
    """Draw projection against the number of tokens."""
    of = projected(run, pick)
    made = figure()
    for number, (values, name) in enumerate(((of.positive, "positive"), (of.negative, "negative"))):
        marker = {"color": COLOURS[number], "symbol": MARKS[number], "size": 7, "opacity": 0.9}
        hover = "pair %{customdata}: %{x} tokens, %{y:.3g}<extra>" + name + "</extra>"
        tokens, ids = of.tokens[number][:MAX_POINTS], of.records[:MAX_POINTS].tolist()
        made.add_trace(points(tokens, values[:MAX_POINTS], hover, ids, marker, name=name))
    made.update_xaxes(title="tokens of the text", **wholes(int(n) for side in of.tokens for n in side))
    made.update_yaxes(title=f"projection on {label(of.method)} at layer {of.layer}")
    r = float(np.nan_to_num(spearman(np.concatenate([of.positive, of.negative]), np.concatenate(of.tokens))))
    adjusted = of.row.get("auroc_length_adjusted")
    said = f" Within texts of about equal length the AUROC is {adjusted:.3f}." if adjusted is not None else ""
    warning = " It may be a direction of length." if abs(r) > WARN else ""
    extra = ", spearman_length, auroc_length_adjusted" if "spearman_length" in of.row else ""
    return Drawn(
        made,
        f"Does the direction follow length? Layer {of.layer}",
        f"{of.which}; Spearman correlation of projection and number of tokens {signed(r, '+.2f')}.{warning}{said} One point a text, no interval.",
        f"SELECT layer, method, auroc_heldout{extra} FROM 'RUN/direction_scores/*.parquet' WHERE layer = {of.layer}",
        opens="record",
    )


def pairs(run: Source, pick: Pick) -> Drawn:
    """Draw each pair as a point: its negative text against its positive one."""
    of = projected(run, pick)
    ends = [float(min(of.positive.min(), of.negative.min())), float(max(of.positive.max(), of.negative.max()))]
    hover = "pair %{customdata}: positive %{y:.3g}, negative %{x:.3g}<extra></extra>"
    x, y, ids = (values[:MAX_POINTS] for values in (of.negative, of.positive, of.records))
    shown = points(x, y, hover, ids.tolist(), {"size": 7, "opacity": 0.9}, name="a pair")
    made = figure(diagonal(ends), shown, height=480)
    made.update_xaxes(title=f"projection of the negative text, layer {of.layer}")
    made.update_yaxes(title=f"projection of the positive text, layer {of.layer}")
    above = float((of.positive > of.negative).mean())
    return Drawn(
        made,
        f"Each pair along the direction, at layer {of.layer}",
        f"{of.which}; {percent(above)} lie above the dotted line, where the positive text projects higher; by chance half would. A click shows both texts.",
        f"SELECT layer, method, pair_accuracy, opposite, n_heldout FROM 'RUN/direction_scores/*.parquet' WHERE layer = {of.layer}",
        opens="record",
    )


@dataclass(frozen=True)
class Projected:
    """Pairs [n], and the projections of both sides."""

    layer: int
    method: str
    row: Mapping[str, Any]
    """The direction's row of `direction_scores`."""
    records: Ints
    positive: Floats
    negative: Floats
    tokens: tuple[Ints, Ints]
    """Tokens of the positive and of the negative text."""
    held_out: bool
    """Whether these are test pairs alone; False where the run does not say which pairs are."""

    @property
    def which(self) -> str:
        """Name the pairs in a sentence."""
        n = f"{len(self.records):,}"
        return f"{n} test pairs" if self.held_out else f"All {n} pairs (this run does not say which are held out)"


def chosen(run: Source, pick: Pick) -> dict[str, Any]:
    """Return the row of `direction_scores` of the run's method, at the layer picked or else chosen by the run."""
    needs(run, "direction_scores")
    about = run.facts["concept"]
    rows = [row for row in run.table("direction_scores").to_pylist() if row["method"] == about["method"]]
    best = about["chosen"].get(about["method"])
    if pick.layer is not None:
        rows = [row for row in rows if row["layer"] == pick.layer]
    elif best:
        rows = [row for row in rows if row["hook_point"] == best["hook_point"]]
    if not rows:
        where = "" if pick.layer is None else f" at layer {pick.layer}"
        raise LackingError(f"This run has no direction{where}.", "direction_scores lists them")
    return dict(rows[0])


def direction_of(run: Source, row: Mapping[str, Any]) -> Floats:
    """Return the direction [d_model] of a row of `direction_scores`."""
    table = run.table("directions", ["hook_point", "method", "direction"])
    here = pc.and_(pc.equal(table["hook_point"], row["hook_point"]), pc.equal(table["method"], row["method"]))
    return np.array(table.filter(here)["direction"][0].as_py())


def projected(run: Source, pick: Pick) -> Projected:
    """Project the test pairs, or all where the run marks none, on the chosen direction."""
    row = chosen(run, pick)
    needs(run, "directions", "activations")
    last_only = run.facts["options"].get("positions") == "all"
    values = _projections(run, row["hook_point"], direction_of(run, row), last_only)
    split = ["split"] if "split" in columns_of(run, "sequences") else []
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
        row["method"],
        row,
        np.array(list(shown), dtype=np.int64),
        np.array([values[sequence["sequence_id"]] for sequence in a]),
        np.array([values[sequence["sequence_id"]] for sequence in b]),
        (np.array([sequence["n_tokens"] for sequence in a]), np.array([sequence["n_tokens"] for sequence in b])),
        bool(held),
    )


def _projections(run: Source, point: str, direction: Floats, last_only: bool) -> dict[int, float]:
    """sequence_id → projection of its mean over stored positions, or of the last position, as directions are fitted.

    A mean leaves out special tokens and sinks, unless the text has no other positions.
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


def _auroc(of: Projected) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(of.positive, of.negative).statistic) / len(of.records) ** 2


def interval(row: Mapping[str, Any]) -> str:
    """Write the held-out AUROC of a row with its interval, for a sentence."""
    low, high = row.get("auroc_heldout_low"), row.get("auroc_heldout_high")
    return f"{row['auroc_heldout']:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")
