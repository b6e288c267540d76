"""The output of `actkit reward-detect`: the ranking, contexts, and the baselines to compare the ranking with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from actkit.cli.screen.console import console, counted, draw_table, explain, figure, headed, interval, say

TOLD = 5
"""Features whose contexts are printed."""
COLUMNS = ("#", "feature", "AUROC (95 %)", "held out", "adj.", "q", "pos.", "neg.", "responds to")
LEGEND = (
    "AUROC: chance that a positive text has more of the feature than a negative one, on the discovery texts; held out: "
    "on the others; adj.: among texts of about equal length; q: false-discovery rate; pos., neg.: mean activation in "
    "positive and negative texts; responds to: by all evidence; actkit schema feature_scores has the other figures"
)


def show_ranking(path: Path, screen: Console | None = None) -> None:
    """Print the ranking, its contexts, and the baselines to compare it with."""
    from actkit.export.reward_features import too_small  # loads pyarrow, which no help needs

    document = json.loads((path / "reward_features.json").read_text(encoding="utf-8"))
    screen = screen or console()
    several = len(document["saes"]) > 1
    small = too_small(document["statistics"])
    if small:
        screen.print("no ranking is shown (feature_scores has every figure), since", markup=False)
        screen.print(small, markup=False)
    else:
        draw_table(_ranking(document["features"], several), screen)
        explain(LEGEND, screen)
    for row in () if small else document["features"][:TOLD]:
        screen.print(f"  [bold]{row['feature_index']}[/]" + (f" [dim]{row['sae']}[/]" if several else ""))
        for context in row["contexts"] or ():
            around = f"    …{context['before'][-40:]}[{context['token']}]{context['after'][:40]}…".replace("\n", " ")
            screen.print(around, markup=False)
    for line in _beside(document["statistics"]):
        explain(line, screen, style="")
    for text in document["warnings"]:
        say("note", text, screen=screen)


def _ranking(rows: list[Mapping[str, Any]], several: bool) -> Table:
    shown = headed(*COLUMNS, *(("SAE",) if several else ()), left=("SAE",), narrow=True)
    for row in rows:
        low, high = (f"{row[f'auroc_{end}']:.2f}".lstrip("0") for end in ("low", "high"))
        cells = [
            f"{row['rank']}",
            f"{row['feature_index']}",
            f"{row['auroc']:.3f} ({low}-{high})",
            figure(row["auroc_heldout"], ".3f"),
            figure(row["auroc_length_adjusted"], ".3f"),
            "<1e-300" if row["q_value"] == 0 else figure(row["q_value"], ".0e"),
            figure(row["positive_activation"]),
            figure(row["negative_activation"]),
            row["responds_to"] or "",
        ]
        shown.add_row(*cells, *((row["sae"],) if several else ()))
    return shown


def _beside(statistics: Mapping[str, Any]) -> list[str]:
    data, found = statistics["data"], statistics["found"]
    sides, length = found["respond_to"], statistics["length_only"]
    texts = {"held_out": "the held-out texts", "all": "all texts"}
    rows = [(length[key], name) for key, name in texts.items() if key in length]
    by_length = [f"{interval(row['value'], row['low'], row['high'])} on {name}" for row, name in rows]
    lines = [
        f"{data['positive']:,} positive, {data['negative']:,} negative, {data['neutral']:,} neutral texts"
        + (f" in {data['groups']:,} groups" if data["groups"] else ""),
        f"of {found['tested']:,} features {sides['positive']:,} respond to positive and {sides['negative']:,} to "
        f"negative feedback by all evidence: q ≤ {found['q']:g}; beyond the best of chance; on the same side in "
        "held-out texts and among texts of about equal length, and there further from 0.5 than length itself",
        f"by q alone: {_counts(found['significant'])}; by all evidence and above the older script's thresholds of "
        f"activation and correlation: {_counts(found['respond_and_pass_thresholds'])}",
        f"length alone separates the classes with AUROC {', '.join(by_length)}; 0.5 is chance",
    ]
    for sae in statistics["saes"]:
        chance = sae["largest_auroc_by_chance"]
        lines.append(
            f"{sae['sae']}: by chance the best feature reaches an AUROC of {chance['median']:.3f} (median), "
            f"{chance['q95']:.3f} (95 %)"
        )
        probes = {counted(int(size), "feature"): probe for size, probe in sae.get("feature_probes", {}).items()}
        if "dense_probe" in sae:
            probes["the activations"] = sae["dense_probe"]
        for of, probe in probes.items():
            shown = interval(probe["auroc"], probe["low"], probe["high"])
            lines.append(f"  probe of {of}, held out: {shown}")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return f"{counts['positive']:,} and {counts['negative']:,}"
