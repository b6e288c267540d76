"""`run.json` is read by `verify` only where every entry that it needs is there and of its kind; the fault is named."""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from actkit.verify.tables.facts import MOST_WIDE, wrong_in


@pytest.fixture
def facts(six_runs: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((six_runs["sae-extract"] / "run.json").read_text())
    return found


def test_every_commands_own_is_fine(six_runs: Mapping[str, Path]) -> None:
    for path in six_runs.values():
        assert wrong_in(json.loads((path / "run.json").read_text())) is None


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all entries, those of free form left out."""
    free = ("options", "detected", "fingerprint", "versions", "seconds", "profile", "health", "sessions", "metadata")
    if at and at[-1] in free:
        return [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [place for key, item in inner for place in places(item, (*at, key))]


def test_whatever_stands_in_place_of_an_entry_it_is_an_answer(facts: dict[str, Any]) -> None:
    """None of them raises, and what a needed entry must not be is said with its place."""
    named = 0
    for place in places(facts):
        for other in (None, -1, True, "x", [], {}, [1], 1.5, 2**70):
            changed = deepcopy(facts)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = other
            wrong = wrong_in(changed)
            named += wrong is not None
            if wrong is not None and isinstance(place[0], str):
                assert place[0] in wrong or "name of a table" in wrong or place[0] == "tables", (place, other, wrong)
    assert named > 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"counts": None}, "counts is null, not an object"),
        ({"command": 3}, "command is 3"),
        ({"schema_version": True}, "schema_version is a truth value, not a count"),
        ({"schema_version": 2**63}, "schema_version is 9223372036854775808, not a count"),
        ({"hook_points": "all"}, "hook_points is a text, not a list"),
        ({"hook_points": ["a", 3]}, "hook_points[] is 3"),
        ({"notes": {}}, "notes is an object, not a list"),
        ({"saes": [{"name": "x", "hook_point": "y", "d_sae": MOST_WIDE + 1, "metadata": {}}]}, "not a width"),
        ({"saes": [{"name": "x"}]}, "it has no saes[].hook_point"),
        ({"tables": {"../x": {}}}, "'../x' is no name of a table"),
        ({"tables": {"x": {"rows": 1, "parts": 1}}}, "it has no tables.x.bytes"),
        ({"tables": {"x": {"rows": -1, "parts": 1, "bytes": 1}}}, "tables.x.rows is -1, not a count"),
        ({"rejected_reasons": {"empty": 0.5}}, "rejected_reasons.empty is 0.5, not a count"),
        ({"rules": {"top_k": None, "threshold": None, "pooling": None}}, "rules.threshold is null"),
    ],
)
def test_the_fault_is_named(facts: dict[str, Any], change: dict[str, Any], says: str) -> None:
    assert says in str(wrong_in({**facts, **change}))


def test_what_may_be_missing_may_be(facts: dict[str, Any]) -> None:
    for name in ("options", "saes", "notes", "sessions", "profile"):
        assert wrong_in({key: value for key, value in facts.items() if key != name}) is None
    for name in ("schema_version", "model", "counts", "rules", "tables"):
        assert wrong_in({key: value for key, value in facts.items() if key != name}) == f"it has no {name}"
    assert wrong_in([]) == "it is a list, not an object"  # type: ignore[arg-type]
    widest = {"name": "x", "hook_point": "y", "d_sae": MOST_WIDE, "metadata": {}}
    assert wrong_in({**facts, "saes": [widest]}) is None
