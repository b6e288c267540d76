"""Where there is no terminal: streams that are full, closed, or of an encoding that lacks a character."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actkit import schemas
from actkit.cli.app import main
from actkit.cli.streams import ESCAPED, prepare

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
PROMPT = "Ünïcode ─ 日本 😀"


def process(arguments: Sequence[str], shell: str = "", cwd: Path | None = None, **environment: str) -> Any:
    """A process of its own, its streams redirected as `shell` says."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ACTKIT", "PYTHON", "LC_"))}
    line = ["bash", "-c", f'"$0" -m actkit "$@" {shell}', sys.executable, *arguments]
    return subprocess.run(line, env=plain | environment, cwd=cwd, capture_output=True, check=False, timeout=60)


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["capture", "-p", PROMPT, "--layers", "0", "--positions", "last", "-o", "x", "-q"])
    capfd.readouterr()


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("arguments", [["show", "x"], ["show", "x", "--json"], ["--help"], ["concept", "--list"]])
def test_output_that_cannot_be_written_is_an_error(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, monkeypatch, capfd)
    found = process(arguments, "> /dev/full", tmp_path)
    assert found.returncode == 1
    assert found.stderr.decode() == (
        "error: cannot write the result: No space left on device\n\n"
        "hint: what was finished is kept; see where standard output goes\n"
    )


@pytest.mark.slow
@needs_full
def test_a_full_log_does_not_end_a_command(tmp_path: Path) -> None:
    """Its exit status still says how it went."""
    found = process(["show", "nowhere"], "2> /dev/full", tmp_path)
    assert (found.returncode, found.stdout) == (1, b"")


@needs_full
@pytest.mark.slow
def test_a_full_log_does_not_end_a_run(tmp_path: Path) -> None:
    found = process(["capture", "-p", "One.", "--layers", "0", "-o", "x"], "2> /dev/full", tmp_path)
    assert (found.returncode, found.stdout) == (0, b"x\n")
    assert (tmp_path / "x/run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(shell: str, tmp_path: Path) -> None:
    found = process(["concept", "--list"], shell, tmp_path)
    assert (found.returncode, found.stderr) == (0, b"")
    assert (b"honesty" in found.stdout) == (">&-" not in shell.replace("2>&-", ""))


@pytest.mark.slow
def test_a_run_without_any_stream_is_whole(tmp_path: Path) -> None:
    """No table's file has the number that libraries print to."""
    assert process(["capture", "-p", "One.", "--layers", "0", "-o", "x"], "<&- >&- 2>&-", tmp_path).returncode == 0
    assert process(["verify", "x", "-q"], "", tmp_path).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_an_encoding_lacks_are_escaped(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, monkeypatch, capfd)
    shown = process(["show", "x"], "", tmp_path, PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, b"")
    expected = PROMPT.replace("─", "\\u2500").replace("日本", "\\u65e5\\u672c").replace("😀", "\\ud83d\\ude00")
    expected = expected.replace("Ü", "\\u00dc").replace("ï", "\\u00ef") if encoding == "ascii" else expected
    assert (PROMPT if encoding == "utf-8" else expected).encode(encoding) in shown.stdout
    as_json = process(["show", "x", "--json"], "", tmp_path, PYTHONIOENCODING=encoding)
    assert json.loads(as_json.stdout.decode("utf-8"))["options"]["prompt"] == [PROMPT]


def test_what_is_escaped_is_json() -> None:
    prepare(())
    text = json.dumps({"text": PROMPT + "\udcff"}, ensure_ascii=False)
    assert json.loads(text.encode("ascii", ESCAPED)) == {"text": PROMPT + "\udcff"}
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", ESCAPED)


def test_a_stream_in_memory_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, where standard output is no file."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert sys.stdout.getvalue().startswith("actkit ")  # type: ignore[attr-defined]


def test_a_reader_that_is_gone_ends_the_command_without_a_word() -> None:
    made = process(["schema"], "| true; echo ${PIPESTATUS[0]} >&2")
    assert made.stderr.strip().isdigit(), "the status alone, and no word of an error"


def test_another_pipe_that_is_closed_is_an_error_and_ends_no_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def written_to_a_closed_pipe(*_: object, **__: object) -> None:
        reader, pipe = os.pipe()
        os.close(reader)
        try:
            os.write(pipe, b"x")
        finally:
            os.close(pipe)

    monkeypatch.setattr(schemas, "did_you_mean", written_to_a_closed_pipe)
    with pytest.raises(SystemExit) as ended:
        main(["schema", "nothing"])
    assert ended.value.code == 1 and "the other end of a pipe or connection was closed" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["schema"], ["dpo", "--help"], ["--help"], ["docs"]])
def test_a_reader_that_is_gone_ends_what_is_drawn_as_it_ends_json(arguments: list[str]) -> None:
    """Tables and help ended with status 1, as if the command had failed."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        line = [sys.executable, "-m", "actkit", *arguments]
        found = subprocess.run(line, stdout=closed, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (found.returncode, found.stderr) == (-signal.SIGPIPE, b"")
