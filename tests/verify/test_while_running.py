"""`--verify N` while a run goes on: as many records as are asked for, and no further where one is off."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actkit.errors import RunError
from actkit.runs.progress import Progress
from actkit.verify.recompute import while_running as module
from actkit.verify.recompute.differences import Recomputed, Tolerance
from actkit.verify.recompute.while_running import SEED, Verifying


class Again:
    """Computes so many records of each shard again, and finds what it is told to find."""

    tolerance = Tolerance(1e-3, 5e-3)

    def __init__(self, per_shard: int, problems: list[str]) -> None:
        self.per_shard, self.problems = per_shard, problems
        self.asked: list[tuple[int, int, tuple[str, ...]]] = []

    def run(self, _run: Path, n: int, seed: int, parts: tuple[str, ...], into: Recomputed) -> None:
        self.asked.append((n, seed, parts))
        into.records += min(n, self.per_shard)
        into.others += self.problems


def verifying(n: int, again: Again, monkeypatch: pytest.MonkeyPatch) -> Verifying:
    spec = SimpleNamespace(dtype="float32", attn="eager", device="cpu")
    job: Any = SimpleNamespace(
        output=SimpleNamespace(verify=n), model=SimpleNamespace(description=SimpleNamespace(spec=spec))
    )
    monkeypatch.setattr(module.Verifying, "_recomputing", lambda _self: again)
    return Verifying(job)


def test_records_are_asked_for_until_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(2, [])
    check = verifying(5, again, monkeypatch)
    assert check.is_due and check.facts == {}, "nothing was looked at yet"
    progress, part = Progress(), 0
    while check.is_due:
        check.check(Path("run"), part, progress)
        part += 1
    assert again.asked == [(left, SEED, (f"part-0000{at}.parquet",)) for at, left in enumerate((5, 3, 1))]
    facts = json.loads(json.dumps(check.facts))
    assert (facts["records"], facts["seed"], facts["dtype"], facts["problems"]) == (5, SEED, "float32", [])
    assert "verify" in progress.seconds
    assert not verifying(0, again, monkeypatch).is_due


@pytest.mark.parametrize(("problems", "more"), [(["a is off"], ""), (["a is off", "b", "c"], " (and 2 more problems)")])
def test_a_number_that_is_off_ends_the_run(problems: list[str], more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = verifying(1, Again(1, problems), monkeypatch)
    with pytest.raises(RunError) as error:
        check.check(Path("run.partial"), 0, Progress())
    assert error.value.message == f"--verify: a is off{more}"
    assert error.value.hint.startswith("what was computed is in run.partial; try --attn eager")
