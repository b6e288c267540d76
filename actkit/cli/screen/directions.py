"""The output of `actkit concept` and `actkit steer`: a line a layer, with the evidence and the chosen layer marked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from actkit.cli.screen.console import console, draw_table, explain, figure, headed, interval, say
from actkit.numerals import signed
from actkit.runs.reader import rows_of_table

BAR = 9
"""Characters of a full bar, an AUROC of 1; half a bar is chance."""
COLUMNS = ("", "layer", "held out (95 %)", "", "chance", "transfer", "length ρ", "adj.", "d", "norm")
FIGURES = ("auroc_transfer", "spearman_length", "auroc_length_adjusted", "cohens_d", "relative_norm")
"""Columns of `direction_scores` for the last of COLUMNS."""
LEGEND = (
    "held out: AUROC of the test pairs; chance: the middle 95 % of it with sides exchanged at random; transfer: in "
    "other templates than the fitted one; length ρ: Spearman's correlation with the number of tokens; adj.: held out, "
    "within texts of about equal length; d: Cohen's; norm: of the mean difference, as a share of the activations' norm"
)
EIGHTHS = " ▏▎▍▌▋▊▉█"
SIGNED = "+.2f"
MOST = 40
"""Most rows shown; all are in the table `effects`."""


def show_directions(path: Path, facts: Mapping[str, Any], screen: Console | None = None) -> None:
    """Print each layer's held-out AUROC, its band of chance, and the caveats."""
    about = facts["concept"]
    screen = screen or console()
    chosen = about["chosen"].get(about["method"])
    shown = headed(*COLUMNS, left=("",), narrow=True)
    rows = rows_of_table(path, "direction_scores")
    for row in rows:
        if row["method"] != about["method"]:
            continue
        marked = chosen is not None and row["hook_point"] == chosen["hook_point"]
        chance = (row["shuffled_low"], row["shuffled_high"])
        shown.add_row(
            "→" if marked else "",
            str(row["layer"]),
            interval(row["auroc_heldout"], row["auroc_heldout_low"], row["auroc_heldout_high"]),
            _bar(row["auroc_heldout"]),
            "-" if None in chance else f"{chance[0]:.2f}-{chance[1]:.2f}",
            *(figure(row.get(name)) for name in FIGURES),
            style="bold" if marked else None,
        )
    if rows:
        screen.print(f"{about['method']}, at each layer:", markup=False)
        draw_table(shown, screen)
    for row in about["chosen"].values():
        screen.print(
            f"{'→' if row is chosen else ' '} {row['method']}: layer {row['layer']}, chosen on the validation pairs "
            f"({_choice(row, rows)}); on the test pairs {row['auroc_heldout']:.3f}"
        )
    if about["length_only"]:
        found = about["length_only"]["held_out"]
        screen.print(
            f"length alone separates the sides of the test pairs with AUROC "
            f"{interval(found['value'], found['low'], found['high'])}; 0.5 is chance"
        )
    if rows:
        explain(LEGEND, screen)
    for text in about["warnings"]:
        say("note", text, screen=screen)


def _choice(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Say by which rule the layer was chosen: the earliest within one standard error (the best layer's) of the best."""
    transfer = row["auroc_transfer_validation"]
    both = "" if transfer is None else f", in other templates {transfer:.3f}"
    said = f"AUROC {row['auroc_validation']:.3f}{both}"
    own = [other for other in rows if other["method"] == row["method"] and other["choice_score"] is not None]
    best = max(own, key=lambda other: (other["choice_score"], -other["layer"]))
    if best["hook_point"] == row["hook_point"]:
        tied = [other for other in own if other["choice_score"] == best["choice_score"]]
        return said if len(own) == 1 else f"{said}; {'the best' if len(tied) == 1 else 'the earliest of the best'}"
    return f"{said}; the earliest within {best['choice_error']:.3f} of the best, layer {best['layer']}"


def _bar(value: float | None) -> str:
    if value is None:
        return ""
    eighths = round(value * BAR * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).strip().ljust(BAR, "·")


def show_effects(path: Path, facts: Mapping[str, Any], screen: Console | None = None) -> None:
    """Print each intervention's effect, controls and cost, on validation texts if there are any; then the verdicts."""
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
