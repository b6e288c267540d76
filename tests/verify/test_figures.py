"""The figures of `run.json` are held against the tables, also where somebody made the checksums fit again."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actkit.runs.facts import facts_of
from actkit.verify.tables.compare import FITTED, differing
from actkit.verify.tables.derived import check_derived
from actkit.verify.tables.findings import Findings
from tests.verify.mutations import different

SAID = {"pooled": "scores", "directions": "concept"}
"""Run → the entry of its `run.json` that statistics fill."""


def test_numbers_may_be_off_by_rounding_and_nothing_else() -> None:
    sentence = "moves answers by +.29 nats a token; 77 % of 1,200 prompts; costs .04 nats"
    again = {"a": [1.0, None, 3], "shown": True, "said": sentence, "where": "blocks.2"}
    assert list(differing(again | {"a": [1.0 + 1e-9, None, 3], "b": 1}, again, 1e-6, "it")) == []
    rounded = sentence.replace(".29", ".30").replace("77", "78")
    assert list(differing(again | {"said": rounded}, again, 1e-6, "it")) == []
    for name, value in (
        ("a", [1.1, None, 3]),
        ("a", [1.0, 0.0, 3]),
        ("a", [1.0, None]),
        ("shown", False),
        ("said", sentence.replace(".29", ".92")),
        ("said", sentence.replace("1,200", "1,300")),
        ("said", "it moves answers"),
        ("where", "blocks.3"),
    ):
        (found,) = differing(again | {name: value}, again, 1e-6, "it")
        assert found.startswith(f"it.{name}"), found
    assert list(differing({}, {"a": 1}, 1e-6, "it")) == ["it has no a"]


def leaves(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [leaf for key, child in inner for leaf in leaves(child, (*where, key))] if inner else [where]


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", SAID)
def test_a_figure_of_run_json_that_was_changed_is_found(name: str, finished: Callable[[str], Path]) -> None:
    """One of each kind of its numbers, all together: each is named."""
    run, said = finished(name), SAID[name]
    facts = facts_of(run)
    changed = json.loads(json.dumps(facts))
    draw = random.Random(0)
    numbers = [where for where in leaves(facts[said]) if not set(where) & {*FITTED}]
    done = set()
    for where in numbers:
        inner = changed[said]
        for key in where[:-1]:
            inner = inner[key]
        old = inner[where[-1]]
        if isinstance(old, (int, float)):
            inner[where[-1]] = different(old, draw)
            done.add(".".join(map(str, (said, *where))))
    assert len(done) > 20
    shards = frozenset({"sequences", "tokens", "activations", "pooled_features", "pooled_activations", "rejected"})
    findings = Findings(run)
    check_derived(run, changed, shards, findings, deep=True)
    named = {problem.what.partition(" ")[0] for problem in findings.problems if problem.where == "run.json"}
    assert done <= named
