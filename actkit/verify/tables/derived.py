"""Whether the tables that are computed over the finished shards are what is computed from them again.

What takes little is always computed again: statistics of layers, pairs and features. Tests and directions take as long
as when the run was made, and are left to `deep`; `run.json` says with which settings they were made (`statistics`).
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from actkit.analysis.concepts.concept import concept_split, concept_tables
from actkit.analysis.concepts.projections import projections
from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, feature_split, score_features
from actkit.analysis.layer_stats import layer_stats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.analysis.steering.tables import steering_tables
from actkit.errors import ActkitError
from actkit.export.reward_features import reward_features
from actkit.runs.part import read_part
from actkit.runs.paths import RUN_FILE
from actkit.runs.reader import parts, rows_of_table
from actkit.verify.tables.compare import CLOSE, CLOSE_DEEP, compare, differing
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.reading import UNREADABLE, line

Made: TypeAlias = Iterator[tuple[str, pa.Table]]
"""Tables by name; one that comes several times has as many parts."""
Settings: TypeAlias = Mapping[str, Any]
RANKING = "reward_features.json"
OF_WEIGHTS = ("direction_features", "feature_logits")
"""Tables that are computed of a model's or an SAE's weights: `verify.recompute.weights` computes them again."""
BY_CHECKSUMS = "compared with their checksums alone: "
MOST_DRAWS = 10_000_000
"""Exchanges of labels that are drawn again: what a run of others' making asks for may never end."""


def check_derived(
    run: Path, facts: Mapping[str, Any], of_shards: frozenset[str], findings: Findings, deep: bool
) -> None:
    """Compute the tables again and compare them part by part; note which were compared with their checksums alone.

    `of_shards` are the tables that the shards have parts of, which must be in order. A run of another version of actkit
    is left alone, since it may compute otherwise.
    """
    derived = [name for name in facts["tables"] if name not in of_shards]
    if derived and not made_alike(facts):
        by = facts.get("versions", {}).get("actkit")
        why = f"the run is of actkit {by}, not {version('actkit')}"
        findings.notes.append(f"not computed again: {', '.join(derived)} ({why})")
        return
    stored = {name: iter(parts(run, name)) for name in derived}
    again: set[str] = set()
    every = [(way, CLOSE) for way in _ways(run, facts)] + [
        (way, CLOSE_DEEP) for way in _deep_ways(run, facts, findings) if deep
    ]
    for way, close in every:
        try:
            for name, table in way():
                again.add(name)
                findings.count("derived", len(table))
                part = next(stored.get(name, iter(())), None)
                if part is None:
                    findings.wrong("derived", name, "fewer parts than the shards give")
                else:
                    compare(part, read_part(part), table, findings, close)
        except (*UNREADABLE, ActkitError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
            findings.wrong("derived", "tables over the shards", f"cannot be computed again ({line(error)})")
            return
    for name in again & stored.keys():
        if next(stored[name], None) is not None:
            findings.wrong("derived", name, "more parts than the shards give")
    if deep:
        _check_split(run, facts, findings)
    if deep and (run / RANKING).exists():
        _check_ranking(run, facts, findings)
    left = [name for name in derived if name not in again]
    if "projections" in facts.get("statistics", {}) and "directions" in left:
        left.remove("directions")
        said = f"directions are those of {facts['options'].get('directions')}, compared with their checksums alone"
        findings.notes.append(said)
    if left:
        findings.notes.append(f"{BY_CHECKSUMS}{', '.join(left)}{'' if deep else '; --deep computes them again'}")


def made_alike(facts: Mapping[str, Any]) -> bool:
    """Whether a run is of this version of actkit; another may compute otherwise."""
    return bool(facts.get("versions", {}).get("actkit") == version("actkit"))


def _ways(run: Path, facts: Mapping[str, Any]) -> Iterator[Callable[[], Made]]:
    """The functions that compute the run's cheap tables again."""
    tables = facts["tables"]
    if "layer_stats" in tables:
        yield lambda: iter([("layer_stats", layer_stats(run))])
    onto = facts.get("statistics", {}).get("projections")
    if onto is not None:
        yield lambda: (("projections", table) for table in projections(run, onto["chosen"]))
    if "pair_diffs" in tables:
        yield lambda: _pairs(run)
    if "feature_stats" in tables:
        yield lambda: _of_saes(facts, "feature_stats", lambda name, d_sae: feature_stats(run, name, d_sae))
    if "feature_positions" in tables:
        yield lambda: _of_saes(facts, "feature_positions", lambda name, d_sae: _positions(run, name, d_sae))


def _deep_ways(run: Path, facts: Mapping[str, Any], findings: Findings) -> Iterator[Callable[[], Made]]:
    """The functions that compute the other tables again."""
    settings = facts.get("statistics", {})
    if "concept_tables" in settings:
        yield lambda: _concept(run, facts, settings["concept_tables"], findings)
    if "feature_scores" in settings:
        yield lambda: _scores(run, facts, settings["feature_scores"], findings)
    if "steering_tables" in settings:
        yield lambda: _steering(run, facts, settings["steering_tables"], findings)


def _check_figures(facts: Mapping[str, Any], where: str, report: Mapping[str, Any], findings: Findings) -> None:
    """Check that `run.json` has under `where`, a dotted path, what the shards give."""
    stated: Any = facts
    for name in where.split("."):
        stated = stated.get(name, {})
    findings.count("derived")
    for what in differing(stated, report, CLOSE_DEEP, where):
        findings.wrong("derived", RUN_FILE, what)


def _concept(run: Path, facts: Mapping[str, Any], settings: Settings, findings: Findings) -> Made:
    report: dict[str, Any] = {}
    yield from concept_tables(run, **settings, report=report)
    _check_figures(facts, "concept", report, findings)
    if "projections" in facts["tables"]:
        yield from (("projections", table) for table in projections(run, report["chosen"]))


def _check_split(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Which texts were fitted on and which held out follows from the texts, the labels and the seed."""
    settings = facts.get("statistics", {})
    if "concept_tables" in settings:
        again = concept_split(run, settings["concept_tables"]["seed"])
    elif "feature_scores" in settings:
        again = feature_split(run, ScoreSettings(**settings["feature_scores"]))
    else:
        return
    made = False
    for part, table in zip(parts(run, "sequences"), again, strict=False):
        made = True
        findings.count("derived", len(table))
        stored = read_part(part, ["split"])
        compare(part, stored, table.select(["split"]), findings)
    if not made:
        for part in parts(run, "sequences"):
            stored = read_part(part, ["split"])
            if stored["split"].null_count != len(stored):
                findings.wrong("derived", part, "split is not what the shards give (there is none)")


def _pairs(run: Path) -> Made:
    differences = []
    for table in pair_diffs(run):
        differences.append(table)
        yield "pair_diffs", table
    yield "pair_stats", pair_stats(differences)


def _of_saes(facts: Mapping[str, Any], table: str, make: Callable[[str, int], Iterator[pa.Table]]) -> Made:
    for sae in facts["saes"]:
        yield from ((table, rows) for rows in make(sae["name"], sae["d_sae"]))


def _positions(run: Path, sae: str, d_sae: int) -> Iterator[pa.Table]:
    for groups in feature_positions(run, sae, d_sae, Path(tempfile.gettempdir())):
        yield pa.concat_tables(groups.values())


def _scores(run: Path, facts: Mapping[str, Any], settings: Settings, findings: Findings) -> Made:
    draws = max(settings["draws"], settings["null_draws"])
    if draws > MOST_DRAWS:
        raise ValueError(f"run.json asks for {draws:,} draws")
    saes = [ScoredSae(sae["name"], sae["d_sae"], sae["hook_point"]) for sae in facts["saes"]]
    table, report = score_features(run, saes, ScoreSettings(**settings))
    yield "feature_scores", table
    _check_figures(facts, "scores" if "scores" in facts else "concept.features", report, findings)


def _steering(run: Path, facts: Mapping[str, Any], settings: Settings, findings: Findings) -> Made:
    report: dict[str, Any] = {}
    yield from steering_tables(run, rows_of_table(run, "interventions"), **settings, report=report)
    _check_figures(facts, "steer", report, findings)


def _listed(options: Settings) -> int:
    """How many features the document lists; the option had another name in older runs."""
    return int(options.get("listed", options.get("top_k", 0)))


def _check_ranking(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """The document of the ranking is made of the table and of `run.json`."""
    findings.count("derived")
    if (run / RANKING).read_text(encoding="utf-8") != reward_features(run, facts, _listed(facts["options"])):
        findings.wrong("derived", RANKING, "not what feature_scores and run.json give")
