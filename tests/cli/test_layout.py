"""What is drawn on terminals of several widths: no number is cut, and sentences break between words."""

import io
import re
import string
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from actkit.cli.app import main
from actkit.cli.screen.console import counted, draw_error, draw_table, packed, say

SENTENCE = "no feature passes the thresholds of activation and correlation; those listed are the nearest"


def screen(width: int) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, highlight=False, color_system=None), file


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_sentence_breaks_between_words(width: int) -> None:
    drawn, file = screen(width)
    say("note", SENTENCE, screen=drawn)
    lines = file.getvalue().splitlines()
    assert " ".join(line.rstrip() for line in lines) == f"note: {SENTENCE}"
    assert max(map(len, lines)) <= width


def test_what_is_said_is_no_markup() -> None:
    drawn, file = screen(80)
    say("note", "[red]x[/] \\[b]", screen=drawn)
    assert file.getvalue() == "note: [red]x[/] \\[b]\n"


def test_an_error_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    draw_error("a[0]: no", "do")
    assert capsys.readouterr().err == "error: a[0]: no\n\nhint: do\n"


def test_a_command_in_a_hint_is_one_line_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken in two, its first half would run when it is pasted."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = "actkit dpo pairs.jsonl --layers recommended -o runs/pairs --resume"
    draw_error(SENTENCE, f"to continue: {line}")
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
    assert f"\nhint: to continue: {line}\n" in printed
    assert max(len(line) for line in printed.split("\n\n")[0].splitlines()) <= 40


@pytest.mark.parametrize("width", [10, 40, 200])
def test_a_table_is_drawn_whole_at_every_width(width: int) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("hook point", "mean norm"):
        table.add_column(name)
    table.add_row("blocks.0.hook_resid_post", "1234.567")
    drawn, file = screen(width)
    draw_table(table, drawn)
    assert re.fullmatch(r"hook point +mean norm\nblocks.0.hook_resid_post +1234.567\n", file.getvalue())
    assert drawn.width == width


@pytest.mark.parametrize("most", [1, 7, 20, 1000])
def test_bands_have_every_column_once_and_fit(most: int) -> None:
    widths = {name: at % 9 + 1 for at, name in enumerate(string.ascii_letters)}
    bands = list(packed(widths.items(), most, 2))
    assert [name for band in bands for name in band] == list(widths)
    for band in bands:
        assert len(band) == 1 or sum(widths[name] + 2 for name in band) - 2 <= most
    assert (len(bands) == 1) == (most == 1000)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_show_cuts_no_column(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["capture", "-p", "One two.", "--layers", "0,1", "-o", "[bold]x[/]", "-q"])
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(SystemExit):
        main(["show", "[bold]x[/]", "--sequences", "0"])
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    lines = [line.rstrip() for line in printed.splitlines()]
    assert max(map(len, lines)) <= width
    shown = " ".join(lines)
    assert "[bold]x[/]: capture with tiny" in shown
    for name in ("sequence_id", "n_truncated", "hook_point", "blocks.0.hook_resid_post", "mean_norm", "special_tokens"):
        assert name in shown
    assert re.search(r"no value in these rows: side, parent_id,", shown)
    assert not re.search(r"\d…", shown)


def test_one_is_one() -> None:
    assert [counted(n, "record") for n in (0, 1, 2, 1000)] == ["0 records", "1 record", "2 records", "1,000 records"]
    assert counted(2, "text has", "texts have") == "2 texts have"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["saes", "gemma-2-2b", "16k"], ["saes", "gemma-2-2b 16k"]])
def test_names_of_saes_are_never_cut(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("gemma-scope-2b-pt-res-canonical  gemma-2-2b  26, such as layer_0/") for line in lines)
    assert not any("…" in line or line != line.rstrip() for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--json"], ["--ids"]])
def test_a_query_without_an_answer_is_an_error(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["saes", "nothing", "such", *more])
    assert ended.value.code == 1
    assert capsys.readouterr() == (
        "",
        "error: no SAE has nothing and such in its release, model or id\n\nhint: actkit saes lists all\n",
    )
