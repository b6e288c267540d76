"""What `actkit reward-detect` prints: the ranking, its contexts, and what it must be read beside."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from actkit.cli.screen.console import console, draw_table, say

TOLD = 5
"""Features whose contexts are printed."""
COLUMNS = ("#", "feature", "corr.", "strength", "positive", "negative", "AUROC (95 %)", "q", "held out", "")


def show_ranking(path: Path) -> None:
    """The ranking, its contexts, and what it must be read beside."""
    document = json.loads((path / "reward_features.json").read_text(encoding="utf-8"))
    screen = console()
    several = len(document["saes"]) > 1
    draw_table(_ranking(document["features"], several), screen)
    for row in document["features"][:TOLD]:
        screen.print(f"  [bold]{row['feature_index']}[/]" + (f" [dim]{row['sae']}[/]" if several else ""))
        for context in row["contexts"] or ():
            around = f"    …{context['before'][-40:]}[{context['token']}]{context['after'][:40]}…".replace("\n", " ")
            screen.print(around, markup=False)
    for line in _beside(document["statistics"]):
        screen.print(line, markup=False)
    for text in document["warnings"]:
        say("note", text, screen=screen)


def _ranking(rows: list[Mapping[str, Any]], several: bool) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in (*COLUMNS, *(("SAE",) if several else ())):
        shown.add_column(name, justify="left" if name == "SAE" else "right", no_wrap=True)
    for row in rows:
        low, high = (f"{row[f'auroc_{end}']:.2f}".lstrip("0") for end in ("low", "high"))
        cells = [
            f"{row['rank']}",
            f"{row['feature_index']}",
            _figure(row["correlation_score"], 2),
            _figure(row["activation_strength"], 2),
            _figure(row["positive_activation"], 2),
            _figure(row["negative_activation"], 2),
            f"{row['auroc']:.3f} ({low}-{high})",
            f"{row['q_value']:.0e}" if row["q_value"] else "<1e-300",
            _figure(row["auroc_heldout"], 3),
            "✓" if row["survives"] else "",
        ]
        shown.add_row(*cells, *((row["sae"],) if several else ()))
    return shown


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _beside(statistics: Mapping[str, Any]) -> list[str]:
    data, found = statistics["data"], statistics["found"]
    lines = [
        f"{data['positive']:,} positive, {data['negative']:,} negative, {data['neutral']:,} neutral texts"
        + (f" in {data['groups']:,} groups" if data["groups"] else ""),
        f"at q ≤ {found['q']:g}, of {found['tested']:,} features {found['respond_to_positive']:,} respond to positive "
        f"and {found['respond_to_negative']:,} to negative feedback; {found['above_thresholds']:,} survive",
    ]
    length = statistics["length_only"].get("held_out") or statistics["length_only"]["all"]
    lines.append(f"length alone: AUROC {_interval(length['value'], length)}")
    for sae in statistics["saes"]:
        chance = sae["largest_auroc_by_chance"]
        lines.append(
            f"{sae['sae']}: by chance the best feature reaches an AUROC of {chance['median']:.3f} (median), "
            f"{chance['q95']:.3f} (95 %)"
        )
        for size, probe in sae.get("feature_probes", {}).items():
            lines.append(
                f"  probe of {size} feature{'s' if size != '1' else ''}, held out: {_interval(probe['auroc'], probe)}"
            )
        if "dense_probe" in sae:
            probe = sae["dense_probe"]
            lines.append(f"  probe of the activations, held out: {_interval(probe['auroc'], probe)}")
    return lines


def _interval(value: float, of: Mapping[str, float]) -> str:
    return f"{value:.3f} ({of['low']:.2f}-{of['high']:.2f})"
