"""Whoever changes one value of a finished run and makes all checksums anew is found out by `verify --recompute`.

Every leaf of `run.json`, `config.yaml` and `fingerprint.json`, every column of every table and every entry of its
metadata is changed, one at a time, in a run of each command; what is not held is listed in `NOT_HELD`, with the reason.
"""

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import ActkitError
from actkit.recipes import runner
from actkit.recipes.input_again import check_input
from actkit.runs.facts import facts_of
from actkit.verify.recompute import run as recomputing
from actkit.verify.recompute.run import RecomputeSpec, recompute
from actkit.verify.tables.run import verify
from tests.verify.resealed import Place, change, places

EACH = ("vectors", "pairs", "features", "chunks", "pooled", "directions", "steered")
"""A run of each of the seven commands."""
SOME, MANY = 4, int(os.environ.get("ACTKIT_CASES", "1000"))
"""Changes that are tried of one run where tests must be fast, and at most: more than there are."""
SPEC = RecomputeSpec(1 << 30)
NOT_HELD: dict[str, tuple[str, ...]] = {
    "how long it took, on which machine, and when": (
        "run.json seconds/*",
        "run.json profile/*",
        "run.json tokens_per_second",
        "run.json peak_memory_mb",
        "run.json ended",
        "run.json versions/*",
        "run.json model/products",
    ),
    "what the model writes word by word, where rounding decides between words that are as likely": (
        "run.json steer/generated/*",
    ),
    "whether another run stood there before": ("fingerprint.json replaces",),
}


def is_not_held(place: Place) -> bool:
    return any(fnmatchcase(" ".join(place), pattern) for patterns in NOT_HELD.values() for pattern in patterns)


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and SAEs stay in memory from one change to the next."""

    def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
        known: dict[str, Any] = {}

        def call(*given: Any) -> Any:
            key = repr(given)
            if key not in known:
                known[key] = function(*given)
            return known[key]

        return call

    monkeypatch.setattr(recomputing, "load_plain", remembered(recomputing.load_plain))
    monkeypatch.setattr(recomputing.sae_backend, "load", remembered(recomputing.sae_backend.load))
    describe = remembered(recomputing.describe)
    monkeypatch.setattr(recomputing, "describe", describe)
    monkeypatch.setattr(runner, "describe", describe)


def problems(run: Path) -> list[str]:
    """What `verify --recompute` says of all records, the quick checks first."""
    try:
        for deep in (False, True):
            findings = verify(run, deep=deep)
            if findings.problems:
                return [*map(str, findings.problems)]
        check_input(run, facts_of(run), SPEC, findings)
        found = [] if findings.problems else recompute(run, facts_of(run), SPEC, findings)[0].problems
    except ActkitError as error:
        return [str(error)]
    return [*map(str, findings.problems), *found]


@pytest.mark.parametrize(
    ("name", "n"), [("vectors", SOME), *(pytest.param(name, MANY, marks=pytest.mark.slow) for name in EACH)]
)
def test_what_is_changed_and_sealed_anew_is_found(
    name: str,
    n: int,
    finished: Callable[[str], Path],
    loaded_once: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(finished(name).parent)
    every = [place for place in places(finished(name)) if not is_not_held(place)]
    tried, hit, missed = Counter[str](), Counter[str](), []
    assert problems(finished(name)) == []
    for place in random.Random(0).sample(every, min(n, len(every))):
        run = Path(shutil.copytree(finished(name), tmp_path / "run"))
        if change(run, place, random.Random(f"{name} {place}")):
            found = bool(problems(run))
            tried[place[0]] += 1
            hit[place[0]] += found
            missed += [] if found else [" ".join(place)]
        shutil.rmtree(run)
    sys.stdout.write("".join(f"{key:24}{hit[key]:5} of {count}\n" for key, count in sorted(tried.items())))
    assert missed == []


@pytest.mark.slow
def test_nothing_is_excused_that_no_run_has(finished: Callable[[str], Path]) -> None:
    there = [" ".join(place) for name in ("vectors", "steered") for place in places(finished(name))]
    patterns = [pattern for each in NOT_HELD.values() for pattern in each]
    assert [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in there)] == []
