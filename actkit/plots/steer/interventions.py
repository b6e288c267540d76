"""Interventions each by itself: every effect with its interval, and the texts behind one of them."""

from actkit.numerals import percent, signed
from actkit.plots.picture import Drawn, Pick, Source, needs
from actkit.plots.steer.effects import EFFECTS, bars_of, effects_of, unit_of
from actkit.plots.style import MARKS, MAX_POINTS, figure, label, plain
from actkit.plots.traces import CHANCE, DOTTED, points

MOST = 40
"""Interventions in one forest."""


def forest(run: Source, _pick: Pick) -> Drawn:
    """Every intervention's effect on the test texts with its interval, and the band of its own controls."""
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
    # plotly's own range knows of points and intervals, not of the bands, whose ends are what is to be compared.
    columns = ("effect", "low", "high", "control_low", "control_high")
    reached = [0.0, *(float(row[name]) for row in shown for name in columns if row[name] is not None)]
    pad = 0.05 * (max(reached) - min(reached) or 1)
    made.update_xaxes(title=unit_of(metric), range=[min(reached) - pad, max(reached) + pad])
    ticks = [names[row["intervention_id"]] for row in shown]
    made.update_yaxes(tickvals=list(range(len(shown))), ticktext=ticks, showgrid=False)
    return Drawn(
        made,
        "Each intervention",
        f"Effect of {len(shown):,} intervention{'s' if len(shown) > 1 else ''} on {rows[0]['n']:,} {split} texts with 95 % intervals; grey is the band of "
        "each one's own controls, matched or random.",
        EFFECTS.format(
            "intervention_id, source, effect, low, high, control_low, control_high, p_value, q_value", split, metric
        ),
    )


def samples(run: Source, _pick: Pick) -> Drawn:
    """The effect on each text of what was chosen, or of the first intervention."""
    rows, split, metric = effects_of(run)
    needs(run, "effect_samples")
    chosen = next((row for row in rows if row["chosen"]), max(rows, key=lambda row: abs(row["effect"])))
    table = run.table("effect_samples").to_pylist()
    own = [row for row in table if row["intervention_id"] == chosen["intervention_id"] and row["split"] == split]
    own = sorted((row for row in own if row["metric"] == metric), key=lambda row: row["effect"])[:MAX_POINTS]
    texts = {row["record_id"]: row["prompt"] or row["text"] or "" for row in run.table("steered_texts").to_pylist()}
    prompts = [label(texts[row["record_id"]]) for row in own]
    x, y = list(range(1, len(own) + 1)), [row["effect"] for row in own]
    shown = points(x, y, "%{customdata}: %{y:.3f}<extra></extra>", prompts, {"size": 7}, name="one text")
    made = figure(shown, height=420)
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
    """Intervention → what it is called: a feature's number, or method, layer and strength."""
    found: dict[int, str] = {}
    for row in run.table(
        "interventions", ["intervention_id", "layer", "source", "strength", "feature_ids"]
    ).to_pylist():
        ids = row["feature_ids"]
        several = f"{len(ids or ())} features" if len(ids or ()) > 1 else f"feature {(ids or [0])[0]}"
        name = several if ids else f"{row['source']}, layer {row['layer']}, × {signed(row['strength'])}"
        found.setdefault(row["intervention_id"], label(name))
    return found
