"""`--plan`: print the counts, tables and memory that a run would have."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.markup import escape

from actkit.cli.screen.console import counted, draw_table, say, size
from actkit.cli.screen.summary import show_reasons, sizes_of, written_of
from actkit.cli.screen.token_strip import BOUNDARY, drawn
from actkit.report.token_strips import Strip, Token

RUNS_SHOWN = 6


def show_plan(facts: Mapping[str, Any], screen: Console) -> None:
    """Print counts, tables, memory, and the first example with its token ids and read positions."""
    counts, model = facts["counts"], facts["model"]
    how = ", ".join(model[key] for key in ("dtype", "quantize", "device") if key in model)
    screen.print(
        f"plan of [bold]{facts['command']}[/] with {model['name']} ({how}): "
        f"{written_of(facts)}, {counted(counts['sequences'], 'sequence')}, "
        f"{counts['tokens']:,} tokens, {counts['kept']:,} positions stored, {counted(counts['shards'], 'shard')}"
    )
    if counts["truncated"]:
        screen.print(f"  {counts['truncated']:,} truncated")
    show_reasons(facts, screen)
    if facts.get("faster"):
        screen.print(f"  {facts['faster']}", markup=False)
    points = facts["hook_points"]
    screen.print(f"  reads {', '.join(points) if len(points) < 4 else f'{points[0]} … {points[-1]} ({len(points)})'}")
    draw_table(sizes_of(facts["tables"]), screen)
    known = f"  about {size(facts['bytes'])} in all, {size(facts['free_bytes'])} free"
    open_ends = [name for name, table in facts["tables"].items() if table["bytes"] is None]
    screen.print(known + (f"; {', '.join(open_ends)} not counted" if open_ends else ""))
    if facts["temporary_bytes"] is None:
        screen.print("  temporary files at the end: unknown, they depend on what fires")
    elif facts["temporary_bytes"]:
        screen.print(f"  temporary files at the end: about {size(facts['temporary_bytes'])}")
    memory = facts["memory"]
    parts = ", ".join(f"{name} {size(used)}" for name, used in memory.items() if used)
    screen.print(f"  memory about {size(sum(memory.values()))}: {parts}")
    for text in facts["warnings"]:
        say("warning", text, screen=screen)
    if facts["example"] is not None:
        _example(facts["example"], screen)


def _example(example: Mapping[str, Any], screen: Console) -> None:
    ids, positions = example["token_ids"], example["positions"]
    read = set(positions)
    tokens = tuple(
        Token(at, token_id, text, False, at in read)
        for at, (token_id, text) in enumerate(zip(ids, example["tokens"], strict=True))
    )
    strip = Strip(0, 0, example["side"], None, 0, example["response_start"], tokens)
    _, *lines = drawn(strip, min(screen.width, 110))
    screen.print(
        f"\n[bold]first example[/] {escape(example['place'])}: {len(ids):,} tokens, "
        f"reads position {ranges(positions)}  [dim](─ read, {BOUNDARY} response)[/]"
    )
    for line in lines:
        screen.print(line, no_wrap=True, crop=False)
    screen.print(f"  token ids: {' '.join(str(token_id) for token_id in ids)}", markup=False)


def ranges(positions: Sequence[int]) -> str:
    """Write ascending numbers in short: 0-4, 7, 9-12."""
    starts = [0, *(at + 1 for at, (a, b) in enumerate(pairwise(positions)) if b != a + 1), len(positions)]
    spans = [(positions[a], positions[b - 1]) for a, b in pairwise(starts)]
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    return ", ".join(shown if len(shown) <= RUNS_SHOWN else [*shown[:RUNS_SHOWN], "…"])
