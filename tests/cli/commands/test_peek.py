"""The facts that `actkit peek` gives of a file and of each command that reads it, or cannot."""

import json
from pathlib import Path

from actkit.cli.commands import peek as module
from actkit.pipeline.input.formats import FORMATS
from actkit.recipes.peeking.peek import Peek, Reading
from tests.command_line import Run


def test_lengths_are_told_by_the_middle_one_whatever_their_order() -> None:
    assert module._tokens(Reading("dpo", "", lengths=[9, 2, 40, 3])) == {"min": 2, "median": 9, "max": 40}
    assert module._tokens(Reading("dpo", "", lengths=[7, 1, 5])) == {"min": 1, "median": 5, "max": 7}
    assert module._tokens(Reading("dpo", "")) is None


def test_who_kept_nothing_has_no_line_to_type() -> None:
    kept = Reading("dpo", "actkit dpo x", read=3, kept=2, why="a rejected one", text="Hi", lengths=[3])
    none = Reading("concept", "actkit concept x", read=3, why="no pairs")
    facts = module._facts(Peek("x", next(iter(FORMATS)), 3, True, "", [], {}, [kept, none]))
    assert facts["first_rejected"] is None and list(facts["commands"]) == ["dpo", "concept"]
    assert {**facts["commands"]["dpo"], "reads": True, "line": "actkit dpo x", "text": "Hi"} == facts["commands"]["dpo"]
    assert {**facts["commands"]["concept"], "reads": False, "line": None, "text": None, "tokens": None} == (
        facts["commands"]["concept"]
    )


def test_the_screen_says_what_json_says(actkit: Run, tmp_path: Path) -> None:
    """Every command that reads the file with its line, and of the others each reason once, with all that it is of."""
    (tmp_path / "x.jsonl").write_text('{"prompt": "Is it?", "chosen": "Yes.", "rejected": "No."}\n' * 3)
    found = json.loads(actkit("peek", tmp_path / "x.jsonl", "--json").out)
    screen = actkit("peek", tmp_path / "x.jsonl").out
    assert (found["records"], found["exact"], found["roles"]) == (3, True, {})
    reads = {name for name, reading in found["commands"].items() if reading["reads"]}
    assert "dpo" in reads and all(found["commands"][name]["line"] in screen for name in reads)
    refusing = {name: reading["first_rejected"] for name, reading in found["commands"].items() if name not in reads}
    assert all(any(name in line for line in screen.splitlines() if line.startswith("not ")) for name in refusing)
    assert sum(line.startswith("not ") for line in screen.splitlines()) == len(set(refusing.values()))
