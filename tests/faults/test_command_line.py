"""What the command line says of resuming, in this process."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import WriteError
from actkit.pipeline import extract
from tests.command_line import Run

SMALL = ("--layers", "0", "--shard-sequences", "2", "--batch-tokens", "16")
PROMPTS = tuple(part for number in range(9) for part in ("-p", f"prompt {number}"))


pytestmark = pytest.mark.usefixtures("signals_as_in_a_terminal")


@pytest.fixture
def actkit(actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return actkit


def test_resume_and_overwrite_contradict_each_other(actkit: Run) -> None:
    status, out, err = actkit("capture", *PROMPTS, "-o", "x", "--resume", "--overwrite")
    assert (status, out) == (2, "") and "error: --resume and --overwrite were both given" in err
    assert not list(Path().iterdir())


def test_resume_needs_a_name_and_shows_the_candidates(actkit: Run) -> None:
    Path("runs/capture-20260101-000000.partial").mkdir(parents=True)
    status, _, err = actkit("capture", *PROMPTS, "--resume")
    assert status == 2 and "error: --resume without --out" in err and "runs/capture-20260101-000000\n" in err


def test_an_unfinished_run_in_the_way_is_told_apart_and_can_be_continued(actkit: Run) -> None:
    Path("x.partial").mkdir()
    status, _, err = actkit("capture", *PROMPTS, "-o", "x", *SMALL)
    assert status == 1 and "x.partial is an unfinished run" in err and "--resume" in err
    assert actkit("capture", *PROMPTS, "-o", "x", *SMALL, "--resume", "-q") == (0, "x\n", "")
    status, out, err = actkit("capture", *PROMPTS, "-o", "x", *SMALL, "--resume")
    assert (status, out) == (0, "x\n") and err.startswith("x is complete already\n")


def test_resume_is_no_option_of_the_run(actkit: Run) -> None:
    """A config.yaml that is replayed begins a new run."""
    actkit("capture", *PROMPTS, "-o", "x", *SMALL, "--resume", "-q")
    facts = json.loads(Path("x/run.json").read_text())
    assert not {"resume", "overwrite"} & set(facts["options"])
    assert "resume" not in Path("x/config.yaml").read_text()
    assert (facts["options"]["shard_sequences"], facts["fingerprint"]["shard_sequences"]) == (2, 2)


@pytest.mark.parametrize(
    ("number", "status", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended")]
)
def test_a_signal_before_the_first_shard_leaves_nothing_and_no_line_that_would_continue_it(
    number: signal.Signals, status: int, says: str, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(extract, "_run_shards", kill)
    handlers = [signal.getsignal(caught) for caught in (signal.SIGINT, signal.SIGTERM)]
    found, out, err = actkit("capture", "-p", "It's one", "-o", "x", "--overwrite", *SMALL)
    assert (found, out) == (status, "")
    assert err == f"error: {says} before a shard was finished\n\nhint: nothing is kept; the same command begins anew\n"
    assert not list(Path().iterdir())
    assert [signal.getsignal(caught) for caught in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_that_a_library_turns_into_an_error_is_still_an_interruption(
    actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow(*_: Any, **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ValueError("something went wrong") from error

    monkeypatch.setattr(extract, "_run_shards", swallow)
    status, _, err = actkit("capture", *PROMPTS, "-o", "x", *SMALL)
    assert status == 143 and err.startswith("error: ended")


def test_what_comes_from_standard_input_must_come_again(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = extract._write

    def stop(*given: Any) -> None:
        real(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "_write", stop)
    with open("in.txt", "w") as file:  # noqa: PTH123 - what a shell does
        file.write("One.\n")
    with open("in.txt") as file:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", file)
        _, _, err = actkit("capture", "-", *SMALL)
    assert "to continue: actkit capture - --layers 0" in err and "--out runs/capture-" in err
    assert err.endswith("--resume  (with the same standard input)\n")


def test_no_room_says_how_to_continue_too(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise WriteError("cannot write x: No space left on device", "is the disk full or read-only?")

    monkeypatch.setattr(extract, "_run_shards", full)
    status, _, err = actkit("capture", "-p", "One.", "-o", "x")
    assert status == 1 and err.endswith(
        "hint: is the disk full or read-only? when that is mended, continue: actkit capture -p One. -o x --resume\n"
    )


@pytest.mark.slow
def test_notes_are_printed_once_and_not_under_quiet(actkit: Run) -> None:
    arguments = ("capture", *PROMPTS, "-o", "x", *SMALL)
    for more, times in (((), 1), (("-q",), 0)):
        # A run that is all but complete: its directory put back under its unfinished name, one file damaged.
        assert actkit(*arguments, "-q", "--overwrite")[0] == 0
        Path("x").rename("x.partial")
        Path("x.partial/tokens/part-00002.parquet").unlink()
        status, _, err = actkit(*arguments, *more, "--resume")
        assert status == 0
        assert err.count("shard 2: tokens/part-00002.parquet is missing; that shard is computed again") == times
