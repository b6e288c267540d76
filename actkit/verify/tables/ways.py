"""Compute a run's tables over its shards again, and compare its figures in `run.json` with the recomputed ones.

The entry `statistics` of `run.json` has the settings of each computation.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from actkit.analysis.concepts.concept import concept_split, concept_tables
from actkit.analysis.concepts.projections import projections
from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, feature_split, score_features
from actkit.analysis.layer_stats import layer_stats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.analysis.steering.tables import steering_tables
from actkit.backends.actions import action_of
from actkit.pipeline.digests import digest_of
from actkit.runs.part import read_part
from actkit.runs.paths import RUN_FILE
from actkit.runs.reader import parts, rows_of_table
from actkit.verify.tables.compare import CLOSE, CLOSE_DEEP, differing, differing_probes
from actkit.verify.tables.findings import Findings

Made: TypeAlias = Iterator[tuple[str, pa.Table]]
"""Name and rows of each part; a table of several parts comes several times."""
Settings: TypeAlias = Mapping[str, Any]
MOST_DRAWS = 10_000_000
"""Most permutations of labels that are drawn again: a `run.json` from elsewhere may ask for any number."""


@dataclass(frozen=True)
class Way:
    """A computation over the shards."""

    what: str
    """The tables that it makes, in words for people."""
    made: Callable[[], Made]
    close: float = CLOSE


def quick_ways(run: Path, facts: Settings) -> Iterator[Way]:
    """The computations that take little time."""
    tables = facts["tables"]
    if "layer_stats" in tables:
        yield Way("layer_stats", lambda: iter([("layer_stats", layer_stats(run))]))
    onto = facts.get("statistics", {}).get("projections")
    if onto is not None:
        yield Way("projections", lambda: (("projections", table) for table in projections(run, onto["chosen"])))
    if "pair_diffs" in tables:
        yield Way("pair_diffs and pair_stats", lambda: _pairs(run))
    if "feature_stats" in tables:
        yield _of_saes(facts, "feature_stats", lambda name, d_sae: feature_stats(run, name, d_sae))
    if "feature_positions" in tables:
        yield _of_saes(facts, "feature_positions", lambda name, d_sae: _positions(run, name, d_sae))


def deep_ways(run: Path, facts: Settings, findings: Findings) -> Iterator[Way]:
    """The computations that take as long as when the run was made."""
    settings = facts.get("statistics", {})
    if "concept_tables" in settings:
        yield Way("split", lambda: _split(run, concept_split(run, settings["concept_tables"]["seed"])))
    elif "feature_scores" in settings:
        yield Way("split", lambda: _split(run, feature_split(run, ScoreSettings(**settings["feature_scores"]))))
    for name, (what, compute) in DEEP.items():
        if name in settings:
            yield Way(what, partial(compute, run, facts, settings[name], findings), CLOSE_DEEP)


def _check_figures(facts: Settings, where: str, report: Mapping[str, Any], findings: Findings) -> Any:
    """Compare the entry `where` of `run.json`, a dotted path, with `report`; return the entry."""
    stated: Any = facts
    for name in where.split("."):
        stated = stated.get(name, {})
    findings.count("derived")
    for what in differing(stated, report, CLOSE_DEEP, where):
        findings.wrong("derived", RUN_FILE, what)
    return stated


def _concept(run: Path, facts: Settings, settings: Settings, findings: Findings) -> Made:
    report: dict[str, Any] = {}
    yield from concept_tables(run, **settings, report=report)
    _check_figures(facts, "concept", report, findings)
    if "projections" in facts["tables"]:
        yield from (("projections", table) for table in projections(run, report["chosen"]))


def _split(run: Path, again: Iterator[pa.Table]) -> Made:
    """The column `split`, part by part: a seeded split of the texts by label, or nulls where there is none."""
    made = False
    for table in again:
        made = True
        yield "sequences", table.select(["split"])
    for part in parts(run, "sequences") if not made else ():
        yield "sequences", pa.table({"split": pa.nulls(len(read_part(part, ["split"])), pa.string())})


def _pairs(run: Path) -> Made:
    differences = []
    for table in pair_diffs(run):
        differences.append(table)
        yield "pair_diffs", table
    yield "pair_stats", pair_stats(differences)


def _of_saes(facts: Settings, table: str, make: Callable[[str, int], Iterator[pa.Table]]) -> Way:
    return Way(table, lambda: ((table, rows) for sae in facts["saes"] for rows in make(sae["name"], sae["d_sae"])))


def _positions(run: Path, sae: str, d_sae: int) -> Iterator[pa.Table]:
    for groups in feature_positions(run, sae, d_sae, Path(tempfile.gettempdir())):
        yield pa.concat_tables(groups.values())


def _scores(run: Path, facts: Settings, settings: Settings, findings: Findings) -> Made:
    draws = max(settings["draws"], settings["null_draws"])
    if draws > MOST_DRAWS:
        raise ValueError(f"run.json asks for {draws:,} draws")
    saes = [ScoredSae(sae["name"], sae["d_sae"], sae["hook_point"]) for sae in facts["saes"]]
    table, report = score_features(run, saes, ScoreSettings(**settings))
    yield "feature_scores", table
    where = "scores" if "scores" in facts else "concept.features"
    stated = _check_figures(facts, where, report, findings)
    for what in differing_probes(stated, report, where):
        findings.wrong("derived", RUN_FILE, what)


def _steering(run: Path, facts: Settings, settings: Settings, findings: Findings) -> Made:
    report: dict[str, Any] = {}
    rows = rows_of_table(run, "interventions")
    actions = [action_of(row) for row in rows]
    lengths = [np.linalg.norm(action.vector) for action in actions if action.vector is not None]
    if digest_of(actions) != facts["detected"]["interventions"] or not np.allclose(lengths, 1.0, atol=CLOSE_DEEP):
        findings.wrong("derived", "interventions", "not those of which run.json has the digest, of length 1")
    yield from steering_tables(run, rows, **settings, report=report)
    _check_figures(facts, "steer", report, findings)


DEEP: Mapping[str, tuple[str, Callable[[Path, Settings, Settings, Findings], Made]]] = {
    "concept_tables": ("tables of directions", _concept),
    "feature_scores": ("feature_scores", _scores),
    "steering_tables": ("tables of effects", _steering),
}
"""Entry of `statistics` → its tables in words, and the function that computes them."""
