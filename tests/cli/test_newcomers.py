"""What somebody new to actkit gets wrong or looks for: each says what to do instead."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import typer

from actkit.cli import run_command as running
from actkit.cli.app import application, main
from actkit.cli.commands import capture as capture_command
from actkit.cli.commands import show as show_command
from actkit.cli.options.presets import near_names
from actkit.cli.screen import progress as progress_module
from actkit.cli.screen.progress import ProgressLine, progress_shown, share_shown
from actkit.errors import ModelError
from actkit.recipes import capture
from actkit.runs.progress import Progress

SMALL = ["--layers", "0", "--positions", "last", "-q"]


class Result(NamedTuple):
    status: object
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def actkit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        return Result(ended.value.code, *capsys.readouterr())

    return call


class Terminal(io.StringIO):
    """What rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


# Names


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tinyy", ["--model tiny"]),
        ("Tiny", ["--model tiny"]),
        ("gpt2-smal", ["--preset gpt2-small"]),
        ("qwen3-1.7b", ["--preset qwen3-1.7b"]),
        ("gemma2-2b", ["--preset gemma-2-2b"]),
        ("gemma-2-2b-it", []),
        ("pythia-160m", []),
        ("tiny", []),
        ("bert-base-uncased", []),
    ],
)
def test_names_near_a_model_that_there_is(given: str, meant: list[str]) -> None:
    assert sorted(near_names(given)) == meant


@pytest.mark.parametrize(("model", "said"), [("tinyy", True), ("nowhere/at-all", False)])
def test_a_model_that_cannot_be_loaded_is_told_what_is_nearly_called_so(
    model: str, said: bool, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModelError(f"{model}: no such model", "check the name")

    monkeypatch.setattr(capture, "run_capture", missing)
    found = actkit("capture", "-p", "One.", "-m", model)
    assert found.status == 1 and f"error: {model}: no such model" in found.err
    assert found.err.endswith("hint: did you mean --model tiny? else check the name\n" if said else "check the name\n")


def test_what_is_wrong_with_a_model_that_was_found_suggests_no_other(
    actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModelError("tinyy (Llama) has no hook point x", "the nearest are y")

    monkeypatch.setattr(capture, "run_capture", missing)
    assert "did you mean" not in actkit("capture", "-p", "One.", "-m", "tinyy").err


# Signals


@pytest.mark.usefixtures("signals_as_in_a_terminal")
@pytest.mark.parametrize(
    ("number", "status", "says"),
    [
        (signal.SIGHUP, 129, "the terminal was closed before a shard was finished"),
        (signal.SIGINT, 130, "interrupted before a shard was finished"),
        (signal.SIGTERM, 143, "ended before a shard was finished"),
    ],
)
def test_a_run_that_is_ended_before_anything_is_kept_says_so(
    number: int, status: int, says: str, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "run_capture", lambda *_: signal.raise_signal(number))
    before = signal.getsignal(number)
    found = actkit("capture", "-p", "One.", "-o", "x")
    assert (found.status, found.out) == (status, "")
    assert says in found.err and "nothing is kept" in found.err and "--resume" not in found.err
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("signals_as_in_a_terminal")
def test_under_nohup_a_closed_terminal_ends_nothing(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    real = running.run_command

    def run(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGHUP)
        return real(*arguments, **more)

    monkeypatch.setattr(capture_command, "run_command", run)
    try:
        assert actkit("capture", "-p", "One.", "-o", "x", *SMALL) == Result(0, "x\n", "")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("signals_as_in_a_terminal")
def test_outside_of_a_run_a_closed_terminal_has_its_status(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name that the module has already: one that is imported while it is replaced would stay replaced.
    monkeypatch.setattr(show_command, "check_run", lambda *_: signal.raise_signal(signal.SIGHUP))
    found = actkit("show", "x")
    assert found.status == 129 and "error: the terminal was closed\n" in found.err


# Options that would say nothing


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["p.txt"], "--field text: p.txt is a text file, whose lines have no fields"),
        (["p.md.gz"], "--field text: p.md.gz is a text file"),
        (["-p", "One."], "--field text: a --prompt is a text and has no fields"),
    ],
)
def test_a_field_of_plain_text_is_refused(arguments: list[str], says: str, actkit: Run) -> None:
    Path("p.txt").write_text("One.\n")
    found = actkit("capture", *arguments, "--field", "text", "-o", "x", *SMALL)
    assert found.status == 2 and says in found.err and "leave out --field" in found.err


def test_a_field_of_a_file_of_no_known_kind_is_read_as_json(actkit: Run) -> None:
    Path("p.log").write_text(json.dumps({"say": "One."}) + "\n")
    assert actkit("capture", "p.log", "--field", "say", "-o", "x", *SMALL).status == 0
    assert json.loads(Path("x/run.json").read_text())["input"]["fields_read"] == {"say": 1}


# A run, and what lies in it


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", [["show"], ["verify"], ["export", "--to", "npz"]], ids=" ".join)
def test_a_part_of_a_run_is_told_from_the_run(command: list[str], actkit: Run) -> None:
    assert actkit("capture", "-p", "One.", "-o", "runs/x y", *SMALL).status == 0
    again = " ".join(command)
    for part in ("sequences", "run.json", "tokens/part-00000.parquet"):
        found = actkit(*command, f"runs/x y/{part}")
        assert found.status == 1 and found.out == ""
        assert f"error: runs/x y/{part}: a part of the run runs/x y, not the run" in found.err
        assert f"hint: actkit {again} 'runs/x y'\n" in found.err
    found = actkit(*command, "runs")
    assert "error: runs: no run, but holds one" in found.err and f"hint: actkit {again} 'runs/x y'\n" in found.err
    os.chdir("runs/x y/tokens")
    assert "error: .: a part of the run .., not the run" in actkit(*command, ".").err
    assert "error: nowhere: no finished run" in actkit(*command, "nowhere").err


# What is printed, and in which order


def test_the_runs_path_comes_last(actkit: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal both streams are one, and the end is where a reader looks."""
    out, written = sys.stdout, []
    lines = [json.dumps({"positive": f"Yes {n}.", "negative": f"No {n}."}) for n in range(12)]
    Path("c.jsonl").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        for stream in (out, sys.stderr):
            real = stream.write
            patch.setattr(stream, "write", lambda text, real=real: (written.append(text), real(text))[1])
        with pytest.raises(SystemExit):
            main(["concept", "c.jsonl", "--layers", "0-1", "-o", "x"])
    assert written[-1] == "x\n" and "held out (95 %)" in "".join(written)


@pytest.mark.slow
def test_concept_counts_pairs(actkit: Run) -> None:
    """A record of its input may be a statement, two of which make a pair."""
    lines = [json.dumps({"statement": f"Two and {n}.", "label": n % 2}) for n in range(25)]
    Path("s.jsonl").write_text("\n".join(lines))
    found = actkit("concept", "s.jsonl", "--layers", "0", "-o", "x")
    assert "concept with tiny" in found.err and ": 12 of 13 pairs, " in found.err
    assert "x: concept with tiny, 12 of 13 pairs, " in actkit("show", "x").out


def test_a_run_that_was_complete_is_not_talked_about_where_quiet_is_asked_for(actkit: Run) -> None:
    assert actkit("capture", "-p", "One.", "-o", "x", *SMALL).status == 0
    assert actkit("capture", "-p", "One.", "-o", "x", "--resume", *SMALL) == Result(0, "x\n", "")
    assert "hint: a run is a directory with run.json; in the same folder: x" in actkit("show", "y").err
    assert "x is complete already" in actkit("capture", "-p", "One.", "-o", "x", "--resume", *SMALL[:-1]).err


# Merging


@pytest.mark.parametrize(("same", "status"), [(True, 0), (False, 1)])
def test_merging_compares_the_fields_that_were_read(same: bool, status: int, actkit: Run) -> None:
    document: dict[str, Any] = {"results": [{"variations": [{"ask": "How?", "say": " So.", "prompt": 1}]}]}
    Path("in.json").write_text(json.dumps(document))
    document["results"][0]["variations"][0] |= {"prompt": 2} if same else {"ask": "Why?"}
    Path("merged.json").write_text(json.dumps(document))
    fields = ["--prompt-field", "ask", "--response-field", "say"]
    found = actkit("sae-extract", "in.json", *fields, "--merge-into", "merged.json", "-o", "x", "-q")
    assert found.status == status, found.err
    assert ("merged.json has other prompts or responses than in.json" in found.err) != same


@pytest.mark.parametrize("arguments", [["-", "--merge-into", "m.json"], ["in.json", "--merge-into", "-"]], ids=" ".join)
def test_a_document_is_neither_piped_in_nor_out(arguments: list[str], actkit: Run) -> None:
    found = actkit("sae-extract", *arguments)
    assert found.status == 2 and "a document is read, and written, as a file" in found.err
    assert not list(Path().iterdir())


# Input of which nothing can be used


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["capture", "empty.txt"], "empty.txt: the input has no records", "empty?"),
        (
            ["capture", "blank.txt"],
            "blank.txt: nothing was kept of 2 records: 2 × empty line; the first: blank.txt:1: empty line",
            "peek blank.txt",
        ),
        (["capture", "-p", " "], "nothing was kept of 1 record: 1 × empty; the first: --prompt:1: empty", "peek FILE"),
        (["concept", "empty.jsonl"], "empty.jsonl: the input has no records", "positive, negative"),
        (["concept", "bad.jsonl"], "in its first 1 record (bad.jsonl:1: not JSON: Exp", "positive, negative"),
        (
            ["sae-extract", "bad.jsonl", "--plan"],
            "bad.jsonl: nothing was kept of 1 record: 1 × not JSON",
            "peek bad.jsonl",
        ),
        (["reward-detect", "empty.jsonl"], "empty.jsonl: the input has no records", "empty?"),
        (["feature-dataset", "bad.jsonl"], "bad.jsonl: nothing was kept of 1 record: 1 × not JSON", "peek bad.jsonl"),
    ],
    ids=lambda arguments: " ".join(arguments) if isinstance(arguments, list) else "",
)
def test_the_input_that_had_nothing_is_named(arguments: list[str], says: str, hint: str, actkit: Run) -> None:
    for name, text in {"empty.txt": "", "blank.txt": "\n \n", "empty.jsonl": "", "bad.jsonl": "{no\n"}.items():
        Path(name).write_text(text)
    found = actkit(*arguments, "-o", "x")
    assert (found.status, found.out) == (1, "")
    said, _, hinted = found.err.partition("\n\nhint: ")
    assert said.startswith("error: ") and says in said and hint in hinted


# Help


@pytest.mark.quick(5)
@pytest.mark.parametrize("columns", [40, 60, 80, 100])
@pytest.mark.parametrize("command", ["dpo", "reward-detect", "sae-extract"])
def test_help_has_every_option_whole_however_narrow_the_terminal_is(
    command: str, columns: int, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--max-samples,--ma…` cannot be typed."""
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = actkit(command, "--help-all").out
    longest = max(len(line) for line in shown.splitlines() if not line.endswith("\\"))
    assert longest <= columns
    names = shown.split()
    group: Any = typer.main.get_command(application(()))
    flags = [
        flag for param in group.commands[command].params if not getattr(param, "hidden", False) for flag in param.opts
    ]
    assert len(flags) > 20
    for flag in (flag for flag in flags if flag.startswith("--")):
        assert {flag, f"{flag},"} & set(names), flag


@pytest.mark.parametrize("columns", [40, 80])
def test_the_first_help_says_where_to_start_and_has_every_command(
    columns: int, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = actkit("--help").out
    assert max(map(len, shown.splitlines())) <= columns
    assert shown.index("Start here") < shown.index("  demo") < shown.index("From data to tables") < shown.index("  dpo")
    group: Any = typer.main.get_command(application(()))
    for name in group.commands:
        assert re.search(rf"^  {name}( +[A-Z].*)?$", shown, flags=re.MULTILINE), name
    assert "<" not in shown  # a flag takes no value


# How far it is


def test_the_line_says_how_far_it_is_and_what_takes_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood at the first batch's counts while the statistics were computed, for minutes."""
    clock = [100.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    progress = Progress()
    line = ProgressLine(lambda: progress.step, "pair")
    with progress.timed("read"):
        assert str(line) == "reading: 0 pairs"
    progress.total, progress.shard, clock[0] = 300, (100, 4000), 110.0
    with progress.timed("forward"):
        progress.share = 0.5
        assert str(line) == "computing: 50/300 pairs, 5/s, 200 tokens/s, 0:50 left"
        progress.total = 20  # it was about, and is wrong: nobody is told that 250 % are done
        assert str(line) == "computing: 50 pairs, 5/s, 200 tokens/s"
    with progress.timed("finish"):
        assert str(line) == "computing the statistics: 50 pairs computed, 0:00"
        with progress.timed("encode", within=True):
            clock[0] += 61
            assert str(line) == "computing the statistics: 50 pairs computed, 1:01"
        with progress.timed("verify"):
            assert str(line).startswith("computing the first records again: 50 pairs")
    assert not {"part", "total", "computed", "shard", "share"} & asdict(progress).keys()


def test_the_line_on_a_terminal_is_never_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, progress = Terminal(), Progress()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with progress_shown(False) as show:
        progress.part, progress.total = "forward", 8
        show(progress)
        progress.computed = 4  # the last of it, which nobody told
    assert "4/8 records" in terminal.getvalue() and "━" in terminal.getvalue()


def test_in_a_log_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "EVERY", 0.01)
    for quiet in (True, False):
        with progress_shown(quiet) as show, share_shown(quiet, "writing npz") as share:
            progress = Progress(read=9)
            progress.part, progress.computed = "forward", 7
            show(progress)
            share(0.25)
            time.sleep(0.2)
        said = capsys.readouterr()
        assert said.out == "" and bool(said.err) is not quiet
    told = {line.split(",")[0] for line in said.err.splitlines()}
    assert told <= {"loading the model", "computing: 7 records", "writing npz: 0%", "writing npz: 25%"}
    assert {"computing: 7 records", "writing npz: 25%"} <= told


# Usage


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["capture", "--positions"], "actkit capture --help lists"),
        (["capture", "--promt", "x"], " capture --help lists"),
        (["feature-dataset", "a.md", "b.md"], "quote a pattern or a text with blanks"),
        (["--verison"], "--help lists the options"),
        (["capure"], "--help lists the options"),
    ],
    ids=lambda arguments: " ".join(arguments) if isinstance(arguments, list) else "",
)
def test_a_usage_error_points_to_the_help_of_its_command(arguments: list[str], hint: str, actkit: Run) -> None:
    found = actkit(*arguments)
    assert found.status == 2 and hint in found.err


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("actkit dpo --preset gem", ["gemma-2-27b-it", "gemma-2-2b", "gemma-2-9b-it", "gemma-3-1b-it"]),
        ("actkit dpo --export s", ["safetensors", "saedashboard", "steering-vectors"]),
        ("actkit concept ho", ["honesty"]),
        ("actkit concept pairs.js", []),
        ("actkit dpo --positions d", ["divergence"]),
    ],
)
def test_tab_completes_names(line: str, words: list[str]) -> None:
    environment = {**os.environ, "_ACTKIT_COMPLETE": "complete_bash", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split()) - 1)
    program = [sys.executable, "-c", "import sys; sys.argv[0] = 'actkit'; from actkit.cli import main; main()"]
    found = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == words


# What was meant


def write_lines(name: str, *rows: Any) -> str:
    Path(name).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return name


ROWS = [{"body": f"Text {at}.", "stars": at % 2 + 4} for at in range(6)]
PAIRS = [{"prompt": f"Is {at} even?", "chosen": "Yes.", "rejected": "No."} for at in range(4)]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("line", "rows", "says", "hint"),
    [
        ("capture 'some text'", (), "some text: no such file", "actkit capture --prompt 'some text'"),
        (
            "reward-detect in.jsonl --text-field body --label-field stars --positive 5 --negative 1",
            ROWS,
            "3 positive and 0 negative texts",
            "the labels in stars are 4 (3), 5 (3): --positive and --negative name",
        ),
        ("capture -p x --device cuda", (), "is built without CUDA", "pip install --force-reinstall torch"),
        ("saes gema", (), "no SAE has gema", "did you mean google/gemma-"),
    ],
    ids=["text", "labels", "cuda", "saes"],
)
def test_an_error_says_what_to_type(
    line: str, rows: Any, says: str, hint: str, actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.version.cuda", None)
    write_lines("in.jsonl", *rows)
    found = actkit(*shlex.split(line), *(() if line.startswith("saes") else ("-o", "x")))
    assert found.status in (1, 2) and says in found.err and hint in found.err, found.err
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]


def test_a_fifth_that_is_rejected_is_a_warning_and_says_what_keeps_it(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--layers", "0", "--positions", "divergence")
    write_lines("in.jsonl", *PAIRS, {"prompt": "Is 5 even?", "chosen": "Yes."})
    said = actkit("dpo", "in.jsonl", "-o", "x", *small).err
    assert "warning: 20 % of the records were rejected: actkit peek in.jsonl shows the fields" in said
    write_lines("in.jsonl", *PAIRS, *PAIRS, {"prompt": "Is 5 even?", "chosen": "Yes."})
    assert "were rejected" not in actkit("dpo", "in.jsonl", "-o", "y", *small).err


@pytest.mark.slow
def test_a_last_token_that_is_the_template_s_own_is_said(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines("chat.jsonl", {"messages": [{"role": "user", "content": "Hello."}]})
    options = ("-o", "x", "--overwrite")
    both = "--save-all-tokens reads all tokens, --no-chat leaves the template out"
    said = actkit("sae-extract", "chat.jsonl", *options).err
    assert "note: the last token of 1 prompt is the chat template's own ('<|assistant|>')" in said and both in said
    assert "template's own" not in actkit("sae-extract", "chat.jsonl", "--save-all-tokens", *options).err
    assert "--positions all" in actkit("capture", "chat.jsonl", "--positions", "last", "--layers", "0", *options).err
    assert (
        "template's own" not in actkit("capture", "-p", "Hello.", "--positions", "last", "--layers", "0", *options).err
    )


@pytest.mark.slow
def test_a_prompt_and_an_answer_with_nothing_between_are_said(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": "Is 5 even?", "response": "No.", "is_safe": True},
        {"prompt": "Is 5 odd?", "response": " Yes.", "is_safe": False},
    ]
    write_lines("in.jsonl", *rows)
    options = ("in.jsonl", "-o", "x", "--overwrite", "--layers", "0")
    said = "prompt and answer of 1 record are joined with no space between"
    assert said in actkit("capture", *options).err
    assert said not in actkit("capture", *options, "--chat").err
    write_lines("in.jsonl", {"prompt": "Is 5 even?", "chosen": "No.", "rejected": "Yes."})
    assert said in actkit("dpo", *options, "--no-chat").err
    assert said not in actkit("dpo", *options).err
    sides = [{"prompt": f"Is {n} even?", "positive": f"Yes, {n}.", "negative": f"No, {n}."} for n in range(12)]
    write_lines("in.jsonl", *sides)
    assert "prompts and answers of 12 records are joined" in actkit("concept", *options, "--no-chat").err


def test_pairs_whose_scores_say_the_other_way_round_are_counted_and_named(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were run without a word."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"Is {n} even?", "chosen": "No.", "rejected": "Yes.", "score_chosen": n, "score_rejected": 2}
        for n in (1, 3, 4, 5)
    ]
    options = ("in.jsonl", "-o", "x", "--overwrite", "--layers", "0")
    write_lines("in.jsonl", *rows)
    said = "1 pair has score_chosen below score_rejected: the scores say that the rejected answer is better"
    assert said in actkit("dpo", *options).err
    assert json.loads(Path("x/run.json").read_text("utf-8"))["input"]["contrary_scores"] == {
        "score_chosen below score_rejected": 1
    }
    turned = actkit("dpo", *options, "--chosen-field", "rejected", "--rejected-field", "chosen").err
    assert "3 of 4 pairs have score_rejected below score_chosen: most pairs may be the wrong way round" in turned
    write_lines("in.jsonl", *rows[1:])
    assert "score_chosen below" not in actkit("dpo", *options).err


@pytest.mark.slow
def test_what_a_text_file_is_taken_for_is_said(actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines("note.md", "# One", "Two.")
    assert (
        "read as: each line of a text file is a prompt" in actkit("capture", "note.md", "--layers", "0", "-o", "x").err
    )
    Path("letters").mkdir()
    Path("letters/a.txt").write_text("Dear aunt,\n")
    assert "read as: each line of a text file" in actkit("capture", "letters", "--layers", "0", "-o", "z").err
    said = actkit("feature-dataset", "note.md", "-o", "y").err
    assert "read as: each text file is a document; --by-line: each line" in said


def test_which_values_are_positive_is_told_before_the_run(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `is_toxic` false is suggested as the positive one: whoever wants the other must see it."""
    monkeypatch.chdir(tmp_path)
    write_lines("in.jsonl", *({"sentence": f"Text {n}.", "is_toxic": n % 2 == 0} for n in range(8)))
    said = actkit("peek", "in.jsonl").out
    assert "labels: negative (4), positive (4): False → positive; True → negative (field is_toxic)" in said


@pytest.mark.slow
def test_scored_answers_are_made_into_pairs_by_the_line_in_the_hint(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line starts a Python that has pandas, and knows how the file is written."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"What is {n // 2}?", ("Nothing.", "It is a number.")[n % 2], n % 3 / 2) for n in range(12)]
    for name, separator in (("in.tsv", "\t"), ("in.csv", ";")):
        table = "\n".join(separator.join(map(str, row)) for row in [("question", "completion", "reward"), *rows])
        Path(name).write_text(f"{table}\n")
        line = re.search(r"for actkit dpo pairs.jsonl: (.*); actkit docs", actkit("dpo", name, "-o", "x").err)
        assert line is not None
        subprocess.run(["bash", "-c", line[1]], check=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
        assert len(Path("pairs.jsonl").read_text().splitlines()) == 6
    found = actkit("dpo", "pairs.jsonl", "-o", "x", "--layers", "0", "--positions", "divergence")
    assert found.status == 0 and "rejected: answers" not in found.err


def test_a_hub_that_cannot_be_reached_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, actkit: Run, tmp_path: Path
) -> None:
    """Its client tried for half a minute."""
    import huggingface_hub

    from actkit.remote import hub_reach

    asked: list[str] = []

    def nobody(*_: Any, **__: Any) -> None:
        asked.append("asked")
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=nobody))
    hub_reach._answers.cache_clear()
    near = actkit("capture", "-p", "x", "-m", "gpt2-smal", "-o", str(tmp_path / "x"))
    assert near.status == 1 and "hint: did you mean --preset gpt2-small? else check the name" in near.err
    hub_reach._answers.cache_clear()
    asked.clear()
    found = actkit("capture", "-p", "x", "-m", "google/gemma-2-2b", "-o", str(tmp_path / "x"))
    assert found.status == 1 and "the hub cannot be reached and the model is not in the local cache" in found.err
    assert "--model tiny" in found.err and "--model DIR" in found.err and "HF_HUB_OFFLINE" not in found.err
    assert asked == ["asked"] and huggingface_hub.constants.HF_HUB_OFFLINE is False
    hub_reach._answers.cache_clear()
