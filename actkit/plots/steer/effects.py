"""Effects of interventions by layer and by strength, and their cost on neutral text."""

from collections.abc import Sequence
from typing import Any

from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs
from actkit.plots.style import GREY, ORANGE, figure, label, layer_axis, panels
from actkit.plots.traces import DOTTED, band, error_bars, line

MOST = 40
"""Lines of a picture."""
UNSTEERED = dict.fromkeys(("strength", "effect", "low", "high", "control_low", "control_high", "delta_nll"), 0.0)
"""The model as it is: what every line goes through."""
EFFECTS = "SELECT {} FROM 'RUN/effects/*.parquet' WHERE NOT is_control AND split = '{}' AND metric = '{}' ORDER BY ALL"


def effects_of(run: Source) -> tuple[list[dict[str, Any]], str, str]:
    """Rows of interventions that are no controls, in one split and metric: the test texts where there are any.

    Raises LackingError.
    """
    needs(run, "effects")
    rows = [row for row in run.table("effects").to_pylist() if not row["is_control"]]
    metrics = {row["metric"] for row in rows}
    metric = next(name for name in ("answers", "words", "texts") if name in metrics)
    split = "test" if any(row["split"] == "test" for row in rows) else "validation"
    return [row for row in rows if row["split"] == split and row["metric"] == metric], split, metric


def bars_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The intervals of effects."""
    return error_bars(*([row[end] for row in rows] for end in ("effect", "low", "high")))


def controls(x: Sequence[float], rows: Sequence[dict[str, Any]]) -> list[Any]:
    """The band of the controls of each row."""
    low, high = ([row[end] for row in rows] for end in ("control_low", "control_high"))
    return band(x, low, high, "controls: 95 %", GREY)


def unit_of(metric: str) -> str:
    """The title of an axis of effects."""
    return "effect, nats" if metric == "words" else "effect, nats a token"


def layers(run: Source, _pick: Pick) -> Drawn:
    """The largest effect at each layer that keeps within the budget, beside the AUROC there."""
    rows, split, metric = effects_of(run)
    known = run.facts["steer"].get("directions") or []
    made = panels(2, ("effect", "held-out AUROC"))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    for number, source in enumerate(sources):
        best = _best(rows, source)
        x = [row["layer"] for row in best]
        if number == 0 and all(row["control_low"] is not None for row in best):
            made.add_traces(controls(x, best))
        shown = line(x, [row["effect"] for row in best], label(source), number, legendgroup=source)
        made.add_trace(shown.update(error_y=bars_of(best)), row=1, col=1)
        own = [score for score in known if score["method"] == source and score["auroc_heldout"] is not None]
        aurocs = line(
            [score["layer"] for score in own], [score["auroc_heldout"] for score in own], label(source), number
        )
        made.add_trace(aurocs.update(legendgroup=source, showlegend=False), row=1, col=2)
    layer_axis(made, [row["layer"] for row in rows])
    made.update_yaxes(title=unit_of(metric), row=1, col=1)
    read = [score["auroc_heldout"] for score in known if score["auroc_heldout"] is not None]
    made.update_yaxes(title="AUROC", range=[min([0.45, *(value - 0.05 for value in read)]), 1.02], row=1, col=2)
    return Drawn(
        made,
        "Where it acts, and where it is read",
        f"Left: the largest effect on {rows[0]['n']:,} {split} texts at a strength within the budget, with its 95 % interval and "
        "the band of its controls. Right: how well the direction tells held-out pairs apart, which says nothing of effect.",
        EFFECTS.format("layer, source, strength, effect, low, high, within_budget", split, metric),
    )


def _best(rows: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """Of each layer the strength with the largest effect in the expected direction, within the budget if any is."""
    found = []
    for layer in sorted({row["layer"] for row in rows}):
        own = [row for row in rows if row["layer"] == layer and row["source"] == source and row["strength"] > 0]
        own = [row for row in own if row["within_budget"] is not False] or own
        found += [max(own, key=lambda row: abs(row["effect"]))] if own else []
    return found


def dose(run: Source, pick: Pick) -> Drawn:
    """Effect by strength at one layer, with the band of its controls."""
    rows, split, metric = effects_of(run)
    chosen = next((row for row in rows if row["chosen"]), rows[0])
    layer = chosen["layer"] if pick.layer is None else pick.layer
    here = [row for row in rows if row["layer"] == layer]
    if len({row["strength"] for row in here}) < 2:
        raise LackingError(f"There is one strength at layer {layer}: no dose.", "more --strengths")
    made = figure(height=440)
    sources = list(dict.fromkeys(row["source"] for row in here))
    for number, source in enumerate(sources):
        own = [row for row in here if row["source"] == source]
        own = sorted([*own, UNSTEERED], key=lambda row: row["strength"])
        x = [row["strength"] for row in own]
        if number == 0 and here[0]["n_controls"]:
            made.add_traces(controls(x, own))
        shown = line(x, [row["effect"] for row in own], label(source), number)
        made.add_trace(shown.update(error_y=bars_of(own)))
    made.add_hline(y=0, line=DOTTED)
    made.update_xaxes(title=f"strength at layer {layer}, in measured differences")
    made.update_yaxes(title=unit_of(metric))
    return Drawn(
        made,
        f"What more of it does, layer {layer}",
        f"Change of log P(positive) − log P(negative) on {here[0]['n']:,} {split} texts with its 95 % interval, clustered by "
        f"{here[0]['n_stems']:,} stems; {_controls(here[0]['n_controls'])}.",
        EFFECTS.format("layer, source, strength, effect, low, high, control_low, control_high", split, metric),
    )


def cost(run: Source, _pick: Pick) -> Drawn:
    """Effect against what neutral text loses."""
    rows, split, metric = effects_of(run)
    rows = [row for row in rows if row["delta_nll"] is not None]
    if not rows:
        raise LackingError("No neutral text was measured.", "make the run again")
    made = figure(height=440)
    keys = list(dict.fromkeys((row["source"], row["layer"]) for row in rows))
    for number, (source, layer) in enumerate(keys[:MOST]):
        here = [row for row in rows if (row["source"], row["layer"]) == (source, layer)]
        own = sorted([*here, UNSTEERED], key=lambda row: row["strength"])
        shown = line(
            [row["delta_nll"] for row in own], [row["effect"] for row in own], f"{label(source)}, layer {layer}", number
        )
        shown.update(customdata=[row["strength"] for row in own])
        shown.update(hovertemplate="strength %{customdata:g}: cost %{x:.3f}, effect %{y:.3f}<extra></extra>")
        made.add_trace(shown)
    budget = float(run.facts["steer"]["budget"])
    made.add_vline(x=budget, line={"color": ORANGE, "dash": "dash"}, annotation_text="budget")
    made.add_hline(y=0, line=DOTTED)
    made.update_xaxes(title="cost: nats a token that neutral text loses")
    made.update_yaxes(title=unit_of(metric))
    return Drawn(
        made,
        "What it does and what it costs",
        f"Effect on {rows[0]['n']:,} {split} texts against the rise of the negative log-likelihood of neutral text, a line a layer, a "
        f"point a strength; intervals are in the table. To the right of {budget:g} it costs more than the budget.",
        EFFECTS.format("layer, source, strength, effect, low, high, delta_nll, kl", split, metric),
    )


def _controls(count: int) -> str:
    return f"the band is what {count} controls of the same norm do" if count else "there are no controls, and no band"
