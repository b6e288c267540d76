"""Whoever changes a figure and makes all checksums anew is found out wherever something else says the same."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actkit.runs.card import SEALED, sealed
from actkit.runs.facts import facts_of
from actkit.verify.recompute.run import RecomputeSpec, recompute
from actkit.verify.tables.run import verify
from tests.verify.mutations import different
from tests.verify.tampering import change_part, put, seal

SPELLED = ("token", "char_start", "char_end", "is_special")
PART = "part-00000.parquet"


def problems(run: Path) -> list[str]:
    """What `verify --deep --recompute all` says."""
    findings = verify(run, deep=True)
    found = [] if findings.problems else recompute(run, facts_of(run), RecomputeSpec(1 << 30), findings)[0].problems
    return [*map(str, findings.problems), *found]


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["vectors", "chunks", "pooled"])
def test_what_is_not_changed_is_not_blamed(name: str, finished: Callable[[str], Path]) -> None:
    assert problems(finished(name)) == []


@pytest.mark.quick(3)
@pytest.mark.parametrize(("name", "column"), [(name, column) for name in ("vectors", "chunks") for column in SPELLED])
def test_a_token_is_what_the_tokenizer_says(name: str, column: str, copy: Callable[[str], Path]) -> None:
    run, draw = copy(name), random.Random(name + column)
    n = pq.read_metadata(run / "tokens" / PART).num_rows
    change_part(run / "tokens" / PART, put(column, draw.randrange(n), lambda old: different(old, draw)))
    seal(run)
    assert problems(run)


def test_run_json_says_of_the_model_what_it_is_and_the_card_what_run_json_says(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    text = (run / "run.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    facts["model"]["shares_prefixes"] = not facts["model"]["shares_prefixes"]
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    seal(run)
    assert any("model.shares_prefixes" in problem for problem in problems(run))
    (run / "run.json").write_text(text, encoding="utf-8")
    card = run / "README.md"
    body = card.read_text(encoding="utf-8").partition(SEALED)[0]
    card.write_text(sealed(body.replace("tags:", "labels:")), encoding="utf-8")
    seal(run)
    assert problems(run) == ["README.md: not the card that run.json gives"]
