"""What `actkit reward-detect` makes of its options before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import reward_detect as module
from actkit.errors import UsageError
from tests.command_line import Run


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What would be run, or made of another run."""
    given: list[Any] = []

    def run(_: Any, *what: Any) -> None:
        given.append(what)
        raise UsageError("on to the run", "")

    monkeypatch.setattr(module, "run_command", run)
    monkeypatch.setattr(module, "make_from", run)
    monkeypatch.chdir(tmp_path)
    return given


def test_data_is_needed_once(actkit: Run, asked: list[Any]) -> None:
    for arguments, says in (
        ((), "no DATA given"),
        (("x.jsonl", "--use-example-data"), "DATA and --use-example-data were both given"),
        (("--input", "x.jsonl", "--use-example-data"), "DATA and --use-example-data were both given"),
    ):
        wrong = actkit("reward-detect", *arguments, "-o", "x")
        assert wrong.status == 2 and says in wrong.err and asked == []


def test_names_of_the_older_script_mean_what_they_are_called_here(actkit: Run, asked: list[Any]) -> None:
    """Here as there they are about the list; in the other commands they are about each token's features."""
    older = actkit("reward-detect", "x.jsonl", "--top-k", "7", "--activation-threshold", "0.25", "-o", "x")
    newer = actkit("reward-detect", "x.jsonl", "--listed", "7", "--strength-threshold", "0.25", "-o", "x")
    assert asked[0][0] == asked[1][0]
    assert (asked[0][0].top_k, asked[0][0].scores.activation_threshold) == (7, 0.25)
    for was, now in (("--top-k", "--listed"), ("--activation-threshold", "--strength-threshold")):
        assert f"{was} is called {now} here" in " ".join(older.err.split()) and was not in newer.err
    quiet = actkit("reward-detect", "x.jsonl", "--top-k", "7", "-o", "x", "-q")
    assert "is called" not in quiet.err and asked[2][0].top_k == 7


def test_a_run_made_from_another_is_told_what_was_given_and_no_more(actkit: Run, asked: list[Any]) -> None:
    actkit("reward-detect", "--from", "there", "--top-k", "7", "--q", "0.1", "-o", "x", "-q")
    actkit("reward-detect", "--from", "there", "-o", "x")
    assert [(str(source), dict(changes)) for source, changes, _ in asked] == [
        ("there", {"top_k": 7, "q": 0.1}),  # which `rank_again` knows by both names
        ("there", {}),
    ]
