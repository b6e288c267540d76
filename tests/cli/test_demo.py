"""What a newcomer types first: `actkit demo`, `actkit examples`."""

import re
import shlex
from pathlib import Path

import pytest

from actkit.bundled import EXAMPLES, USES
from tests.command_line import Run


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_demo_says_what_was_found_and_how_sure_it_is(actkit: Run) -> None:
    for _ in range(2):  # the second replaces the first
        found = actkit("demo", "--max-samples", "96")
        assert found.status == 0, found.err
        assert found.out.splitlines() == ["runs/first-look/concept.html", "runs/first-look/feedback.html"]
        said = " ".join(found.err.split())
        assert "tiny is a toy" in said and "associations" in said
        assert re.search(r"Honesty can be read at layer \d: AUROC 0\.\d\d \(0\.\d\d to [01]\.\d\d, 95 %\)", said)
        assert re.search(r"\d+ of [\d,]+ features respond to positive feedback", said)
    assert all(Path(page).read_text(encoding="utf-8").startswith("<!doctype html>") for page in found.out.split())


def test_examples_are_listed_and_written_and_nothing_is_lost(actkit: Run) -> None:
    listed = actkit("examples")
    assert listed.status == 0 and all(name in listed.out and line in listed.out for name, line in USES.items())
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix not in (".py", "")} == set(USES)
    assert actkit("examples", "pairs").out == "pairs.jsonl\n"
    Path("prompts.txt").write_text("mine", encoding="utf-8")
    again = actkit("examples", "all")
    assert again.status == 1 and Path("prompts.txt").read_text() == "mine" and not Path("comments.tsv").exists()
    assert actkit("examples", "all", "--overwrite").status == 0 and len(list(Path().iterdir())) == len(USES)
    wrong = actkit("examples", "nothing")
    assert wrong.status == 2 and "pairs.jsonl" in wrong.err


@pytest.mark.slow
@pytest.mark.parametrize("name", USES)
def test_the_line_beside_an_example_runs(name: str, actkit: Run) -> None:
    assert actkit("examples", name).status == 0
    made = actkit(*shlex.split(USES[name])[1:], "-o", "run", "-q")
    assert (made.status, made.out) == (0, "run\n"), made.err
