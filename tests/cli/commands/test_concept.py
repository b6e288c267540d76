"""A concept in one's own words: what `actkit concept` asks for before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import concept as module
from actkit.errors import UsageError
from actkit.recipes.concepts import Template
from tests.command_line import Run

WORDS = {"--positive": "Truly: {stem}", "--negative": "Falsely: {stem}", "--stems": "stems.txt"}
LIST = Path(module.__file__).parents[2] / "recipes" / "concepts.json"


def options(given: dict[str, str]) -> list[str]:
    return [word for pair in given.items() for word in pair]


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What would be run."""
    specs: list[Any] = []

    def run(_: Any, spec: Any, *__: Any) -> None:
        specs.append(spec)
        raise UsageError("on to the run", "")

    monkeypatch.setattr(module, "run_command", run)
    monkeypatch.chdir(tmp_path)
    return specs


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no concept given"),
        (["honesty", *options(WORDS)], "honesty and --positive were both given"),
        (options({key: WORDS[key] for key in ("--positive",)}), "--negative, --stems is missing"),
        (options({key: WORDS[key] for key in ("--negative", "--stems")}), "--positive is missing"),
        (options({**WORDS, "--positive": "Truly."}), "--positive has no {stem}"),
        (options({**WORDS, "--negative": "{Stem}"}), "--negative has no {stem}"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], says: str, actkit: Run, asked: list[Any]) -> None:
    wrong = actkit("concept", *arguments, "-o", "x")
    assert wrong.status == 2 and says in wrong.err and asked == []


def test_words_of_ones_own_are_one_template(actkit: Run, asked: list[Any]) -> None:
    actkit("concept", *options(WORDS), "--template", "mine", "-o", "x", "--seed", "7", "--no-directions")
    actkit("concept", "honesty", "-o", "x")
    own, named = asked
    assert (own.what, own.stems, own.seed, own.directions) == (None, "stems.txt", 7, False)
    assert own.template == Template("mine", WORDS["--positive"], WORDS["--negative"])
    assert (named.what, named.template, named.stems, named.directions) == ("honesty", None, None, True)


def test_the_list_has_every_concept_as_its_file_has_it(actkit: Run) -> None:
    written = json.loads(LIST.read_text(encoding="utf-8"))["concepts"]
    found = [json.loads(line) for line in actkit("concept", "--list", "--json").out.splitlines()]
    assert [each["concept"] for each in found] == list(written)
    shown = actkit("concept", "--list").out
    for each in found:
        own = written[each["concept"]]
        assert each["stems"] == len(own["stems"]) and len(each["templates"]) == len(own["templates"])
        assert f" {len(own['stems']) * len(own['templates'])} pairs." in shown
