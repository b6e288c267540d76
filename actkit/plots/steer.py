"""Pictures of interventions: effects by strength, by layer and one by one, costs, and generated texts."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from actkit.numerals import percent, signed
from actkit.plots.picture import Drawn, LackingError, Pick, Picture, Source, needs
from actkit.plots.style import GREY, MARKS, MAX_POINTS, ORANGE, figure, label, layer_axis, panels, plain
from actkit.plots.traces import CHANCE, DOTTED, band, error_bars, line, points

MOST = 40
"""Lines of a picture, and interventions in one forest."""
UNSTEERED = dict.fromkeys(("strength", "effect", "low", "high", "control_low", "control_high", "delta_nll"), 0.0)
"""The unsteered model: every line goes through it."""
EFFECTS = "SELECT {} FROM 'RUN/effects/*.parquet' WHERE NOT is_control AND split = '{}' AND metric = '{}' ORDER BY ALL"


def effects_of(run: Source) -> tuple[list[dict[str, Any]], str, str]:
    """Return the rows of interventions that are no controls, their split and metric. Raises LackingError.

    The split is the test texts where there are any.
    """
    needs(run, "effects")
    rows = [row for row in run.table("effects").to_pylist() if not row["is_control"]]
    metrics = {row["metric"] for row in rows}
    metric = next(name for name in ("answers", "words", "texts") if name in metrics)
    split = "test" if any(row["split"] == "test" for row in rows) else "validation"
    return [row for row in rows if row["split"] == split and row["metric"] == metric], split, metric


def bars_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make error bars of the intervals of effects."""
    return error_bars(*([row[end] for row in rows] for end in ("effect", "low", "high")))


def controls(x: Sequence[float], rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Make the band of the controls of each row."""
    low, high = ([row[end] for row in rows] for end in ("control_low", "control_high"))
    return band(x, low, high, "controls: 95 %", GREY)


def unit_of(metric: str) -> str:
    """The title of an axis of effects."""
    return "effect, nats" if metric == "words" else "effect, nats a token"


def layers(run: Source, _pick: Pick) -> Drawn:
    """Draw each layer's largest effect, within the budget if any is, with the AUROC there."""
    rows, split, metric = effects_of(run)
    known = run.facts["steer"].get("directions") or []
    made = panels(2, ("effect", "held-out AUROC"))
    for number, source in enumerate(dict.fromkeys(row["source"] for row in rows)):
        best = _best(rows, source)
        x = [row["layer"] for row in best]
        if number == 0 and all(row["control_low"] is not None for row in best):
            made.add_traces(controls(x, best))
        shown = line(x, [row["effect"] for row in best], label(source), number, legendgroup=source)
        made.add_trace(shown.update(error_y=bars_of(best)), row=1, col=1)
        own = [score for score in known if score["method"] == source and score["auroc_heldout"] is not None]
        at, values = ([score[name] for score in own] for name in ("layer", "auroc_heldout"))
        aurocs = line(at, values, label(source), number)
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
    """Return each layer's positive strength of largest effect, within the budget if any strength is."""
    found = []
    for layer in sorted({row["layer"] for row in rows}):
        own = [row for row in rows if row["layer"] == layer and row["source"] == source and row["strength"] > 0]
        own = [row for row in own if row["within_budget"] is not False] or own
        found += [max(own, key=lambda row: abs(row["effect"]))] if own else []
    return found


def dose(run: Source, pick: Pick) -> Drawn:
    """Draw effect by strength at one layer, with the band of its controls."""
    rows, split, metric = effects_of(run)
    chosen = next((row for row in rows if row["chosen"]), rows[0])
    layer = chosen["layer"] if pick.layer is None else pick.layer
    here = [row for row in rows if row["layer"] == layer]
    if len({row["strength"] for row in here}) < 2:
        raise LackingError(f"There is one strength at layer {layer}: no dose.", "more --strengths")
    made = figure(height=440)
    for number, source in enumerate(dict.fromkeys(row["source"] for row in here)):
        own = [row for row in here if row["source"] == source]
        own = sorted([*own, UNSTEERED], key=itemgetter("strength"))
        x = [row["strength"] for row in own]
        if number == 0 and here[0]["n_controls"]:
            made.add_traces(controls(x, own))
        shown = line(x, [row["effect"] for row in own], label(source), number)
        made.add_trace(shown.update(error_y=bars_of(own)))
    made.add_hline(y=0, line=DOTTED)
    n_controls = here[0]["n_controls"]
    said = (
        f"the band is what {n_controls} controls of the same norm do"
        if n_controls
        else "there are no controls, and no band"
    )
    made.update_xaxes(title=f"strength at layer {layer}, in measured differences")
    made.update_yaxes(title=unit_of(metric))
    return Drawn(
        made,
        f"What more of it does, layer {layer}",
        f"Change of log P(positive) − log P(negative) on {here[0]['n']:,} {split} texts with its 95 % interval, clustered by "
        f"{here[0]['n_stems']:,} stems; {said}.",
        EFFECTS.format("layer, source, strength, effect, low, high, control_low, control_high", split, metric),
    )


def cost(run: Source, _pick: Pick) -> Drawn:
    """Draw effect against the rise of NLL on neutral text."""
    rows, split, metric = effects_of(run)
    rows = [row for row in rows if row["delta_nll"] is not None]
    if not rows:
        raise LackingError("No neutral text was measured.", "make the run again")
    made = figure(height=440)
    keys = list(dict.fromkeys((row["source"], row["layer"]) for row in rows))
    for number, (source, layer) in enumerate(keys[:MOST]):
        here = [row for row in rows if (row["source"], row["layer"]) == (source, layer)]
        own = sorted([*here, UNSTEERED], key=itemgetter("strength"))
        costs, effects, strengths = ([row[name] for row in own] for name in ("delta_nll", "effect", "strength"))
        shown = line(costs, effects, f"{label(source)}, layer {layer}", number, customdata=strengths)
        hover = "strength %{customdata:g}: cost %{x:.3f}, effect %{y:.3f}<extra></extra>"
        made.add_trace(shown.update(hovertemplate=hover))
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


def forest(run: Source, _pick: Pick) -> Drawn:
    """Draw the MOST largest effects of interventions, with intervals and the band of each one's own controls."""
    rows, split, metric = effects_of(run)
    names = _names(run)
    shown = sorted(rows, key=lambda row: row["effect"])[-MOST:]
    made = figure(height=140 + 24 * len(shown))
    for at, row in enumerate(shown):
        if row["control_low"] is not None:
            ends = {"x0": row["control_low"], "x1": row["control_high"], "y0": at - 0.35, "y1": at + 0.35}
            made.add_shape(type="rect", fillcolor=CHANCE.format(0.22), line_width=0, **ends)
    hover = "%{customdata[0]}: %{x:.3f}, p %{customdata[1]}, q %{customdata[2]}<extra></extra>"
    said = [[names[row["intervention_id"]], row["p_value"], row["q_value"]] for row in shown]
    effects, at_rows = [row["effect"] for row in shown], list(range(len(shown)))
    marker = {"symbol": MARKS[0], "size": 8}
    made.add_trace(points(effects, at_rows, hover, said, marker, name="effect", error_x=bars_of(shown)))
    made.add_vline(x=0, line=DOTTED)
    # plotly's own range covers points and intervals, not the bands, whose ends a reader compares them with.
    columns = ("effect", "low", "high", "control_low", "control_high")
    reached = [0.0, *(float(row[name]) for row in shown for name in columns if row[name] is not None)]
    pad = 0.05 * (max(reached) - min(reached) or 1)
    made.update_xaxes(title=unit_of(metric), range=[min(reached) - pad, max(reached) + pad])
    ticks = [names[row["intervention_id"]] for row in shown]
    made.update_yaxes(tickvals=at_rows, ticktext=ticks, showgrid=False)
    return Drawn(
        made,
        "Each intervention",
        f"Effect of {len(shown):,} intervention{'s' if len(shown) > 1 else ''} on {rows[0]['n']:,} {split} texts with 95 % intervals; grey is the band of "
        "each one's own controls, matched or random.",
        EFFECTS.format(f"intervention_id, source, {', '.join(columns)}, p_value, q_value", split, metric),
    )


def samples(run: Source, _pick: Pick) -> Drawn:
    """Draw the effect on each text of the chosen intervention, or else of the one whose effect is largest in size."""
    rows, split, metric = effects_of(run)
    needs(run, "effect_samples")
    chosen = next((row for row in rows if row["chosen"]), max(rows, key=lambda row: abs(row["effect"])))
    table = run.table("effect_samples").to_pylist()
    own = [row for row in table if row["intervention_id"] == chosen["intervention_id"] and row["split"] == split]
    own = sorted((row for row in own if row["metric"] == metric), key=lambda row: row["effect"])[:MAX_POINTS]
    texts = {row["record_id"]: row["prompt"] or row["text"] or "" for row in run.table("steered_texts").to_pylist()}
    prompts = [label(texts[row["record_id"]]) for row in own]
    x, y = list(range(1, len(own) + 1)), [row["effect"] for row in own]
    made = figure(points(x, y, "%{customdata}: %{y:.3f}<extra></extra>", prompts, {"size": 7}, name="one text"))
    made.add_hrect(y0=chosen["low"] or 0, y1=chosen["high"] or 0, fillcolor="rgba(43,123,186,0.15)", line_width=0)
    made.add_hline(y=0, line=DOTTED)
    made.update_xaxes(title=f"{split} texts, by effect")
    made.update_yaxes(title=unit_of(metric))
    share = "" if chosen["share_right"] is None else f"; {percent(chosen['share_right'])} move as expected"
    return Drawn(
        made,
        f"Text by text: {plain(chosen['source'])}, layer {chosen['layer']}, strength {signed(chosen['strength'])}",
        f"{len(own):,} {split} texts{share}. The band is the 95 % interval of their mean.",
        f"SELECT record_id, effect, delta_positive, delta_negative FROM 'RUN/effect_samples/*.parquet'\n"
        f"WHERE intervention_id = {chosen['intervention_id']} AND split = '{split}' AND metric = '{metric}' ORDER BY effect",
    )


def _names(run: Source) -> dict[int, str]:
    """Intervention → its name: its feature or number of features, or else method, layer and strength."""
    found: dict[int, str] = {}
    columns = ["intervention_id", "layer", "source", "strength", "feature_ids"]
    for row in run.table("interventions", columns).to_pylist():
        ids = row["feature_ids"] or ()
        name = f"{len(ids)} features" if len(ids) > 1 else f"feature {ids[0]}" if ids else ""
        name = name or f"{row['source']}, layer {row['layer']}, × {signed(row['strength'])}"
        found.setdefault(row["intervention_id"], label(name))
    return found


PICTURES = (
    Picture("dose", "effect by strength, with the band of controls", dose),
    Picture("layers", "effect by layer, beside the AUROC there", layers),
    Picture("cost", "effect against what neutral text loses", cost),
    Picture("forest", "every intervention, with its interval and controls", forest),
    Picture("samples", "the effect on each text", samples),
)
