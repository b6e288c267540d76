"""Whatever is changed in a file of a finished run, `verify` says so; in a table over the shards, `--deep` too."""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.runs.facts import facts_of
from actkit.runs.paths import numbered
from actkit.verify.recompute.run import RecomputeSpec, check_weights
from actkit.verify.tables.run import verify
from tests.verify.conftest import COMMANDS
from tests.verify.mutations import apply, cases_of, different, is_empty
from tests.verify.tampering import change_part, put, seal

OF_EACH = ("pairs", "vectors", "directions", "features", "chunks", "pooled")
"""A run of each of the six commands."""
SAMPLE = 6
"""Changes of all that are tried where tests must be fast."""
OVER_SHARDS = {
    "pairs": ("layer_stats", "pair_diffs", "pair_stats"),
    "vectors": ("layer_stats",),
    "directions": (
        "contrasts",
        "directions",
        "pair_stats",
        "direction_scores",
        "projections",
        "feature_scores",
        "direction_features",
        "sequences",
    ),
    "features": ("feature_positions", "feature_logits"),
    "chunks": ("feature_stats", "feature_positions"),
    "pooled": ("feature_scores", "sequences"),
}
"""Run → its tables that are computed over the shards, and `sequences`, whose column `split` is."""


def is_detected(run: Path) -> bool:
    try:
        return bool(verify(run).problems)
    except RunError:
        return True


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
def test_every_change_of_a_run_is_detected(every: bool, finished: Callable[[str], Path], tmp_path: Path) -> None:
    """Each kind of file of each command undergoes each kind of change that fits it."""
    cases = [(name, *case) for name in OF_EACH for case in cases_of(finished(name))]
    assert len(cases) >= 500
    draw = random.Random(0)
    if not every:
        cases = draw.sample(cases, SAMPLE)
    tried, missed = Counter[str](), []
    for number, (name, kind, change) in enumerate(cases):
        run = Path(shutil.copytree(finished(name), tmp_path / str(number)))
        where = apply(run, kind, change, draw)
        tried[change] += 1
        if not is_detected(run):
            missed.append(f"{COMMANDS[name][0]}: {where}: {change}")
        shutil.rmtree(run)
    sys.stdout.write("".join(f"{change:28}{count:5}\n" for change, count in sorted(tried.items())))
    sys.stdout.write(f"{'detected':28}{len(cases) - len(missed):5} of {len(cases)}\n")
    assert missed == []


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", OVER_SHARDS)
def test_what_is_not_changed_is_not_blamed(name: str, finished: Callable[[str], Path]) -> None:
    findings = verify(finished(name), deep=True)
    assert [str(problem) for problem in findings.problems] == []
    check_weights(finished(name), facts_of(finished(name)), RecomputeSpec(0), findings)
    assert [str(problem) for problem in findings.problems] == []
    assert not [note for note in findings.notes if "checksums alone" in note]


@pytest.mark.quick(4)
@pytest.mark.parametrize(("name", "table"), [(name, table) for name, tables in OVER_SHARDS.items() for table in tables])
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_table_over_the_shards_is_computed_again(
    name: str, table: str, every: bool, finished: Callable[[str], Path], copy: Callable[[str], Path]
) -> None:
    """A value of any column that was changed by somebody who made all checksums fit again."""
    whole, run = finished(name), copy(name)
    part = numbered(whole / table, ".parquet")[0]
    rows = pq.read_table(part, partitioning=None)
    draw = random.Random(table)
    columns = ["split"] if table == "sequences" else rows.column_names
    columns = [column for column in columns if not all(is_empty(value) for value in rows[column].to_pylist())]
    for column in columns if every else draw.sample(columns, 1):
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        group = next(iter(range(pq.read_metadata(part).num_row_groups)))
        values = pq.ParquetFile(part).read_row_group(group)[column].to_pylist()
        at = next((number for number, value in enumerate(values) if not is_empty(value)), None)
        if at is None:
            continue
        change_part(run / table / part.name, put(column, at, different(values[at], draw)), group)
        seal(run)
        findings = verify(run, deep=True)
        if not findings.problems:
            check_weights(run, facts_of(run), RecomputeSpec(0), findings)
        found = [str(problem) for problem in findings.problems]
        assert any(text.startswith(f"{table}/") or table in text for text in found), (column, found)
