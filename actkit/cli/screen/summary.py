"""The summary of a finished run, on standard error."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actkit.cli.screen.console import console, counted, draw_table, headed, say, size
from actkit.cli.screen.pasted import to_paste
from actkit.errors import in_short, listed
from actkit.numerals import percent
from actkit.runs.progress import CONTRARY, REPEATING, TEMPLATE_TOKENS, TOUCHING

MANY_REJECTED = 0.2
"""Share of rejected records from which on a warning is printed."""
LISTED_THERE = "the table rejected has each record with its reason"
FIELDS = "actkit peek FILE shows the fields, and the options that name them"
KEEPING = (
    ("longer than", "a model with a longer context keeps those that are too long"),
    ("missing", FIELDS),
    ("no field", FIELDS),
    ("equal", "pairs of two equal answers say nothing of a difference"),
    ("empty line", 'each line is a record; a prompt of several lines is one with capture --prompt "$(cat FILE)"'),
    ("empty", "empty lines and texts are no loss"),
    ("label", "--positive and --negative name the labels that count"),
    ("not JSON", "lines that are not JSON have to be mended"),
)
"""Part of a reason → the option that keeps such records, or why they need not be kept."""
MOST_FIELDS = 20
"""Most names of fields shown of each kind; run.json has all."""


def show_run(facts: Mapping[str, Any], path: Path) -> None:
    """Print the summary of a finished run: counts, rejected records and why, tables; on a terminal, layers too."""
    from actkit.runs.facts import detected_of, health_of

    screen = console()
    counts, model = facts["counts"], facts["model"]
    seconds = facts["ended"] - facts["began"]
    if facts.get("made_from"):
        speed = f"no model was run: made from {facts['made_from']['run']}"
    else:
        speed = f"{facts['tokens_per_second']:,.0f} tokens/s"
    screen.print(
        Text.assemble(
            (facts["command"], "bold"),
            f" with {model['name']} ({model['dtype']}, {model['device']}): {written_of(facts)}, "
            f"{counted(counts['tokens'], 'token')} in {seconds:.1f} s ({speed})",
        )
    )
    for name, said in detected_of(facts):
        screen.print(f"  {name}: {said}", markup=False)
    _show_input(facts, screen)
    _show_records(facts, screen)
    for name, said in health_of(facts):
        screen.print(f"  {name}: {said}", markup=False)
    if facts.get("verify"):
        screen.print(f"  {verified(facts['verify'])}", markup=False)
    for text in facts.get("warnings", ()):
        say("warning", text, screen=screen)
    draw_table(sizes_of(facts["tables"]), screen)
    if sys.stderr.isatty() and "layer_stats" in facts["tables"]:
        draw_table(_layers(path), screen)


def show_finding(run: Path, facts: Mapping[str, Any], screen: Console | None = None) -> None:
    """Print a run's ranking of features, directions, or effects; nothing for commands that store values alone."""
    if (run / "reward_features.json").is_file():
        from actkit.cli.screen.ranking import show_ranking

        show_ranking(run, screen)
    elif facts.get("concept"):
        from actkit.cli.screen.directions import show_directions

        show_directions(run, facts, screen)
    elif facts.get("steer"):
        from actkit.cli.screen.directions import show_effects

        show_effects(run, facts, screen)


def written_of(facts: Mapping[str, Any]) -> str:
    """Write `38 of 40 records`; `concept` counts pairs, which several records make, or stems and templates."""
    return f"{facts['counts']['written']:,} of {counted(facts['counts']['read'], facts['unit'])}"


def _show_input(facts: Mapping[str, Any], screen: Console) -> None:
    """Print the records' shapes, and the fields read and left out, with a number where not all records had them."""
    written = facts["counts"]["written"]
    for kind, counts in facts.get("input", {}).items():
        if kind in (TEMPLATE_TOKENS, TOUCHING, REPEATING, CONTRARY):
            continue
        named = sorted(counts.items(), key=lambda item: -item[1])
        shown = [in_short(name) + ("" if count == written else f" ({count:,})") for name, count in named]
        screen.print(f"  {kind.replace('_', ' ')}: {listed(shown, MOST_FIELDS) or 'none'}", markup=False)


def _show_records(facts: Mapping[str, Any], screen: Console) -> None:
    """Print counts of records: cut into chunks, truncated, with typed special tokens, rejected by the main reasons."""
    counts = facts["counts"]
    if facts.get("documents", {}).get("chunked_documents"):
        documents = facts["documents"]
        longer = counted(documents["chunked_documents"], "document was", "documents were")
        screen.print(
            f"  {longer} longer than {documents['context_size']:,} tokens and cut into chunks: "
            f"{counted(documents['chunks'], 'sequence')} in all"
        )
    if counts["truncated"]:
        screen.print(f"  {counts['truncated']:,} truncated: see n_truncated in the table sequences")
    if counts["special_in_text"]:
        typed = counted(counts["special_in_text"], "text has", "texts have")
        say("warning", f"{typed} special tokens typed inside, which act as control tokens", screen=screen)
    if counts.get("unknown_in_text"):
        lost = counted(counts["unknown_in_text"], "text has", "texts have")
        say("warning", f"{lost} characters outside the vocabulary: the model reads [UNK] for them", screen=screen)
    if counts.get("sinks"):
        sinks = counted(counts["sinks"], "token is an attention sink", "tokens are attention sinks")
        screen.print(f"  {sinks} (is_sink in the table tokens): left out of statistics, as special tokens are")
    for label, text in _about_input(facts):
        say(label, text, screen=screen)
    show_reasons(facts, screen)
    if len(facts["rejected_reasons"]) > 5:
        screen.print("  more reasons are in the table rejected")
    if facts.get("first_rejected"):
        screen.print(f"  the first rejected: {facts['first_rejected']}", markup=False)
    if counts["rejected"] >= MANY_REJECTED * counts["read"] > 0:
        share = f"{percent(counts['rejected'] / counts['read'])} of the {facts['unit']}s were rejected"
        say("warning", to_paste(f"{share}: {'; '.join(kept_by(facts['rejected_reasons']))}"), screen=screen)


def show_reasons(facts: Mapping[str, Any], screen: Console) -> None:
    """Print the five commonest reasons why records were rejected."""
    for reason, count in sorted(facts["rejected_reasons"].items(), key=lambda item: -item[1])[:5]:
        screen.print(f"  {count:,} rejected: {reason}", markup=False)


def _about_input(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and sentence for each trait of the prompts and answers that the user may not have intended."""
    given = facts.get("input", {})
    if tokens := given.get(TEMPLATE_TOKENS):
        shown = ", ".join(repr(token) for token in list(tokens)[:3])
        every = "--positions all" if facts["command"] == "capture" else "--save-all-tokens"
        yield (
            "note",
            f"the last token of {counted(sum(tokens.values()), 'prompt')} is the chat template's own ({shown}), the "
            f"same whatever the prompt is: {every} reads all tokens, --no-chat leaves the template out of plain "
            "prompts",
        )
    if n := sum(given.get(TOUCHING, {}).values()):
        whose = "prompt and answer of 1 record are" if n == 1 else f"prompts and answers of {n:,} records are"
        yield (
            "note",
            f"{whose} joined with no space between: --chat puts them into the model's chat template where it has one; "
            "or answers begin with a space or a line break in the data",
        )
    if n := sum(given.get(REPEATING, {}).values()):
        text = f"{counted(n, 'answer begins', 'answers begin')} with the whole prompt: the model reads it twice"
        yield "warning", f"{text}; take it off the answers unless they say it again on purpose"
    written = facts["counts"]["written"]
    for said, n in given.get(CONTRARY, {}).items():
        if 2 * n > written:
            text = f"{n:,} of {counted(written, 'pair')} have {in_short(said)}: most pairs may be the wrong way round"
            yield "warning", f"{text}; --chosen-field and --rejected-field exchange the answers, if it is they"
        else:
            text = f"{counted(n, 'pair has', 'pairs have')} {in_short(said)}"
            text += ": the scores say that the rejected answer is better"
            yield "warning", f"{text}; leave them out, or say which of the two is meant"


def kept_by(reasons: Mapping[str, int]) -> list[str]:
    """Return remedies for the three commonest reasons of rejection; one sentence each, none twice."""
    most = sorted(reasons.items(), key=lambda item: -item[1])[:3]
    found = [next((hint for text, hint in KEEPING if text in reason), LISTED_THERE) for reason, _ in most]
    return list(dict.fromkeys(found))


def verified(found: Mapping[str, Any]) -> str:
    """Say the result of `--verify` in a line; a run that differs by more than rounding never finishes."""
    rows = [*found["hook_points"].values(), *found["saes"].values()]
    worst = max(rows, key=lambda row: row["worst_error"] / row["tolerance"], default=None)
    far = f": off by at most {worst['worst_error']:.1e}, {worst['tolerance']:.1e} allowed" if worst else ""
    return f"{counted(found['records'], 'record')} computed again on the plain model{far}"


def sizes_of(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    """Rows and bytes of each table of a run, or of a plan, which may know only a bound for the bytes, or nothing."""
    shown = headed("table", "rows", "size", left=("table",))
    for name, table in tables.items():
        known = "unknown" if table["bytes"] is None else size(table["bytes"])
        at_most = "at most " if table.get("at_most") and table["bytes"] else ""
        shown.add_row(name, f"{table['rows']:,}", f"{at_most}{known}")
    return shown


def _layers(path: Path) -> Table:
    from actkit.runs.reader import rows_of_table

    names = ("hook point", "positions", "mean", "std", "mean norm", "min", "max")
    shown = headed(*names, left=("hook point",), narrow=True)
    shown.title, shown.title_justify = "without special tokens and sinks", "left"
    for row in rows_of_table(path, "layer_stats"):
        if not row["special_tokens"] and row["n_positions"]:
            figures = (f"{row[name]:.3f}" for name in ("mean", "std", "mean_norm", "min", "max"))
            shown.add_row(row["hook_point"], f"{row['n_positions']:,}", *figures)
    return shown


def show_profile(facts: Mapping[str, Any]) -> None:
    """Print seconds and tokens a second for each part of a run."""
    table = headed("part", "seconds", "tokens/s", left=("part",))
    for part, spent in facts.get("profile", {}).items():
        speed = spent["tokens_per_second"]
        table.add_row(part, f"{spent['seconds']:,.2f}", "" if speed is None else f"{speed:,.0f}")
    draw_table(table)
