"""Whether the tables that are computed over the finished shards are what is computed from them again.

They have no checksums. Those of tests and of directions draw at random with the run's own options, and are left to it.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.analysis.layer_stats import layer_stats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.runs.reader import parts
from actkit.verify.tables.files import BY_SHARD
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.reading import UNREADABLE, line

CLOSE = 1e-9
"""Largest relative difference of a figure: another processor may add in another order."""
NOT_COMPARED = ("url", "contexts")
"""Columns of `feature_stats` that need the SAE, or are large and hold what other tables hold."""


def check_derived(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Compute the tables again and compare them row by row; say which tables nothing was held against.

    The shards must be in order. A run of another version of actkit is left alone, since it may compute otherwise.
    """
    ways: dict[str, Callable[[], Iterator[pa.Table]]] = {
        "layer_stats": lambda: iter([layer_stats(run)]),
        "pair_diffs": lambda: pair_diffs(run),
        "pair_stats": lambda: iter([pair_stats(list(pair_diffs(run)))]),
        "feature_stats": lambda: _feature_stats(run, facts),
        "feature_positions": lambda: iter(()),  # compared part by part: it may be larger than memory
    }
    if "pair_diffs" not in facts["tables"]:  # then pair_stats are of contrasts
        del ways["pair_stats"]
    same_version = facts.get("versions", {}).get("actkit") == version("actkit")
    for table in (name for name in facts["tables"] if name in ways and same_version):
        try:
            if table == "feature_positions":
                _check_positions(run, facts, findings)
                continue
            stored = pa.concat_tables(pq.read_table(part, partitioning=None) for part in parts(run, table))
        except UNREADABLE as error:
            findings.wrong("files", run / table, f"cannot be read ({line(error)})")
            continue
        again = pa.concat_tables(ways[table]())
        findings.count("derived", len(stored))
        _compare(run / table, stored, again, findings)
    left = [name for name in facts["tables"] if name not in BY_SHARD and not (same_version and name in ways)]
    if left:
        findings.notes.append(f"nothing to hold against {', '.join(left)}: they have no checksums")


def _check_positions(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Hold `feature_positions` against `features`, one part in memory; both hold the same numbers, to the bit."""
    stored = iter(parts(run, "feature_positions"))
    for sae in facts["saes"]:
        for groups in feature_positions(run, sae["name"], sae["d_sae"], Path(tempfile.gettempdir())):
            again, part = pa.concat_tables(groups.values()), next(stored, None)
            rows = None if part is None else pq.read_table(part, partitioning=None)
            findings.count("derived", len(again))
            if part is None or rows is None or not again.equals(rows.combine_chunks().replace_schema_metadata()):
                findings.wrong("derived", part or run / "feature_positions", "not what features gives, by feature")
                return
    if next(stored, None) is not None:
        findings.wrong("derived", run / "feature_positions", "more parts than features gives")


def _feature_stats(run: Path, facts: Mapping[str, Any]) -> Iterator[pa.Table]:
    for sae in facts["saes"]:
        yield from feature_stats(run, sae["name"], sae["d_sae"])


def _compare(table: Path, stored: pa.Table, again: pa.Table, findings: Findings) -> None:
    if len(stored) != len(again):
        findings.wrong("derived", table, f"{len(stored):,} rows, but the shards give {len(again):,}")
        return
    for name in (one for one in again.column_names if one not in NOT_COMPARED):
        first, second = stored[name], again[name]
        if pa.types.is_floating(first.type):
            old, new = (one.cast(pa.float64()).to_numpy() for one in (first, second))
            bad = ~np.isclose(old, new, rtol=CLOSE, atol=1e-12, equal_nan=True)
        else:
            bad = np.array([one != other for one, other in zip(first.to_pylist(), second.to_pylist(), strict=True)])
        place = functools.partial(_place, first, second)
        findings.rows("derived", table, bad.astype(np.bool_), f"{name} is not what the shards give", place)


def _place(stored: pa.ChunkedArray, again: pa.ChunkedArray, row: int) -> str:
    return f"row {row}: {stored[row].as_py()}, not {again[row].as_py()}"
