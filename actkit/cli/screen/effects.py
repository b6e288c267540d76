"""The output of `actkit steer`: effects by layer and strength beside what chance does, and the verdict in words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from actkit.cli.screen.console import console, draw_table, figure, headed, say
from actkit.numerals import signed
from actkit.runs.reader import rows_of_table

SIGNED = "+.2f"
MOST = 40
"""Rows shown; all are in the table `effects`."""


def show_effects(path: Path, facts: Mapping[str, Any], screen: Console | None = None) -> None:
    """Each intervention's effect on the test texts, its controls, its cost; then what was chosen, and what it shows."""
    about, screen = facts["steer"], screen or console()
    rows = [row for row in rows_of_table(path, "effects") if not row["is_control"]]
    splits = {row["split"] for row in rows}
    split = "validation" if "validation" in splits else "test"
    several = len({row["metric"] for row in rows}) > 1
    words = ("", "do", "source", *["measure"] * several)
    figures = ("layer", "strength", "effect (95 %)", "chance", "right", "cost", "p", "q")
    shown = headed(*words, *figures, left=words, narrow=True)
    own = [row for row in rows if row["split"] == split]
    for row in own[:MOST]:
        shown.add_row(
            "→" if row["chosen"] else "",
            row["do"],
            row["source"],
            *[row["metric"]] * several,
            str(row["layer"]),
            f"{row['strength']:g}",
            f"{figure(row['effect'], SIGNED)} ({figure(row['low'], SIGNED)} to {figure(row['high'], SIGNED)})",
            f"{figure(row['control_low'], SIGNED)} to {figure(row['control_high'], SIGNED)}",
            "-" if row["share_right"] is None else f"{row['share_right']:.0%}",
            figure(row["delta_nll"], SIGNED),
            figure(row["p_value"], ".3f"),
            figure(row["q_value"], ".3f"),
            style="bold" if row["chosen"] else None,
        )
    unit = "nats" if {row["metric"] for row in own} == {"words"} else "nats a token"
    screen.print(f"on the {split} texts, in {unit}:" if own else "no effects", markup=False)
    draw_table(shown, screen)
    for verdict in about["verdicts"]:
        chosen = " (chosen on the validation texts)" if about["chosen"] else ""
        strength = signed(verdict["strength"])
        place = f"{verdict['do']} {verdict['source']}, layer {verdict['layer']}, strength {strength}{chosen}"
        screen.print(f"{place}:", markup=False)
        screen.print(f"  {verdict['verdict']}", markup=False, style="bold" if verdict["shown"] else None)
    for example in about.get("generated", ()):
        screen.print(
            f"\n{example['prompt']}\n  unsteered: {example['unsteered']}\n  steered:   {example['steered']}",
            markup=False,
        )
    for text in about["warnings"]:
        say("note", text, screen=screen)
