"""What interventions do by layer, beside how well the direction reads there."""

from collections.abc import Sequence
from typing import Any

from actkit.plots.picture import Drawn, Pick, Source
from actkit.plots.steer.effects import EFFECTS, bars_of, controls, effects_of, unit_of
from actkit.plots.style import label, layer_axis, panels
from actkit.plots.traces import line


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
