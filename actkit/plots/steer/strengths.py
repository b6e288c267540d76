"""What interventions do by strength: the effect, and what it costs neutral text."""

from actkit.plots.picture import Drawn, LackingError, Pick, Source
from actkit.plots.steer.effects import EFFECTS, bars_of, controls, effects_of, unit_of
from actkit.plots.style import ORANGE, figure, label
from actkit.plots.traces import DOTTED, line

MOST = 40
"""Lines of a picture."""
UNSTEERED = dict.fromkeys(("strength", "effect", "low", "high", "control_low", "control_high", "delta_nll"), 0.0)
"""The model as it is: what every line goes through."""


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
