"""What `--merge-into` of `actkit sae-extract` says before anything is computed."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import sae_extract as module
from actkit.errors import UsageError
from tests.command_line import Result, Run

REACHED = UsageError("on to the run", "")


def write(name: str, *texts: tuple[str, str], **more: Any) -> bytes:
    """A document of results, with a variation for each prompt and response."""
    variations = [{"ask": prompt, "say": response} for prompt, response in texts]
    results = [{"question_id": n, "variations": [each]} for n, each in enumerate(variations)]
    Path(name).write_text(json.dumps({"results": results, **more}), encoding="utf-8")
    return Path(name).read_bytes()


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*_: Any) -> None:
        raise REACHED

    monkeypatch.setattr(module, "run_command", run)
    monkeypatch.chdir(tmp_path)


def merged(actkit: Run, into: str, *more: str) -> Result:
    fields = ("--prompt-field", "ask", "--response-field", "say")
    return actkit("sae-extract", "in.json", *fields, "--merge-into", into, "-o", "x", *more)


def test_another_document_is_told_by_the_texts_that_are_read(actkit: Run) -> None:
    first, second = ("Q", "A"), ("R", "B")
    write("in.json", first, second)
    for other in ((first, ("R", "C")), (first,), (second, first), (first, second, second)):
        was = write("m.json", *other)
        done = merged(actkit, "m.json")
        assert done.status == 1 and "m.json has other prompts or responses than in.json" in done.err, other
        assert Path("m.json").read_bytes() == was
    was = write("m.json", first, second, features="of an earlier layer")
    assert REACHED.message in merged(actkit, "m.json").err and Path("m.json").read_bytes() == was


def test_a_document_that_cannot_be_written_is_said_now_and_a_plan_writes_nothing(actkit: Run) -> None:
    write("in.json", ("Q", "A"))
    Path("folder").mkdir()
    Path("file").touch()
    for into, says in (
        ("folder", "--merge-into folder: Is a directory"),
        ("file/m.json", "--merge-into file/m.json: "),
        ("-", "--merge-into -: a document is read, and written, as a file"),
        ("s3://b/m.json", "--merge-into"),
    ):
        done = merged(actkit, into)
        assert done.status == 2 and says in done.err and REACHED.message not in done.err, done.err
    assert REACHED.message in merged(actkit, "new/m.json", "--plan").err and not Path("new").exists()
    assert REACHED.message in merged(actkit, "new/m.json").err and list(Path("new").iterdir()) == []
