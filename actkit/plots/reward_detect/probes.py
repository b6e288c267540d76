"""How well features of feedback predict labels together: probes, compared with activations and with length alone."""

from typing import Any

from actkit.plots.picked import sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source
from actkit.plots.reward_detect.ranking import n_texts
from actkit.plots.style import BLUE, CATEGORIES, GREY, ORANGE, figure, plain
from actkit.plots.traces import DOTTED, error_bars, points


def probes(run: Source, pick: Pick) -> Drawn:
    """Held-out probes of features, of the activations, and length alone."""
    sae = sae_shown(run, pick)
    about = run.facts.get("scores") or run.facts.get("concept", {}).get("features")
    if not about:
        raise LackingError("This run tested no features.", "reward-detect, or concept with an SAE")
    of = next(known for known in about["saes"] if known["sae"] == sae)
    length = about["length_only"].get("held_out") or about["length_only"]["all"]
    bars: list[tuple[str, dict[str, Any]]] = [("length alone", {"auroc": length["value"], **length})]
    for size, probe in of.get("feature_probes", {}).items():
        bars.append((f"{size} feature{'s' if size != '1' else ''}", probe))
    if "dense_probe" in of:
        bars.append(("activations", of["dense_probe"]))
    names, found = [name for name, _ in bars], [bar for _, bar in bars]
    ends = [[bar[end] for bar in found] for end in ("auroc", "low", "high")]
    colours = [GREY, *[BLUE] * (len(bars) - 2), ORANGE][: len(bars)]
    marker = {"size": 11, "color": colours, "symbol": "diamond"}
    shown = points(ends[0], names, "%{y}: %{x:.3f}<extra></extra>", None, marker)
    made = figure(shown.update(error_x=error_bars(*ends, color=GREY, width=5)), height=150 + 34 * len(bars))
    made.add_vline(x=0.5, line=DOTTED)
    made.update_xaxes(title="held-out AUROC", range=[min(0.35, *ends[1]) - 0.02, 1.02])
    made.update_yaxes(**CATEGORIES)
    dense = f" {of['dense_probe']['auroc']:.3f} is what the activations themselves give." if "dense_probe" in of else ""
    return Drawn(
        made,
        "What the features are worth together",
        f"Logistic probes fitted on discovery texts, AUROC on {n_texts(about['data'], 'held_out')} held-out texts with 95 % intervals, of the best features "
        f"of {plain(sae)} by discovery.{dense} Dotted: chance.",
        "-- these figures are in run.json\nSELECT scores.saes, scores.length_only FROM read_json('RUN/run.json', maximum_depth = 4)",
    )
