"""Compute the tables over the finished shards again, and compare them with those that are stored.

Statistics of layers, pairs and features take little time and are always computed again. Tests and directions take as
long as when the run was made, and are left to `deep` (see `ways`). An error in one table does not stop the others.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actkit.errors import ActkitError, first_line
from actkit.export.reward_features import reward_features
from actkit.runs.part import UNREADABLE, read_part
from actkit.runs.reader import parts
from actkit.verify.tables.compare import compare
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.ways import Settings, Way, deep_ways, quick_ways

RANKING = "reward_features.json"
OF_WEIGHTS = ("direction_features", "feature_logits")
"""Tables computed from a model's or an SAE's weights: `verify.recompute.weights` computes them again."""
BY_CHECKSUMS = "compared with their checksums alone: "
FAULTS = (*UNREADABLE, ActkitError, LookupError, TypeError, ArithmeticError, AttributeError)
"""Errors with which damaged tables, or a `run.json` from elsewhere, can end a computation."""


def check_derived(
    run: Path, facts: Mapping[str, Any], of_shards: frozenset[str], findings: Findings, deep: bool
) -> None:
    """Compute the tables again and compare them part by part; note those compared with their checksums alone.

    `of_shards` are the tables that the shards write, which must have no problems. Runs of other versions are not
    compared, since those may compute otherwise.
    """
    derived = [name for name in facts["tables"] if name not in of_shards]
    if derived and not made_alike(facts):
        by = facts.get("versions", {}).get("actkit")
        why = f"the run is of actkit {by}, not {version('actkit')}"
        findings.notes.append(f"not computed again: {', '.join(derived)} ({why})")
        return
    # Shards write `sequences`, but its column `split` is computed over all of them.
    stored = {name: iter(parts(run, name)) for name in (*derived, "sequences")}
    again: set[str] = set()
    for way in [*quick_ways(run, facts), *(deep_ways(run, facts, findings) if deep else ())]:
        again |= _compare(way, stored, findings)
    for name in again & stored.keys():
        if next(stored[name], None) is not None:
            findings.wrong("derived", name, "more parts than the shards give")
    if (run / RANKING).exists():
        _check_ranking(run, facts, findings)
    left = [name for name in derived if name not in again]
    if "projections" in facts.get("statistics", {}) and "directions" in left:
        left.remove("directions")
        said = f"directions are those of {facts['options'].get('directions')}, compared with their checksums alone"
        findings.notes.append(said)
    if left:
        findings.notes.append(f"{BY_CHECKSUMS}{', '.join(left)}{'' if deep else '; --deep computes them again'}")


def made_alike(facts: Mapping[str, Any]) -> bool:
    """Whether this version of actkit made the run; another version may compute otherwise."""
    said = (facts.get(entry, {}).get("actkit") for entry in ("versions", "fingerprint"))
    return version("actkit") in said


def _compare(way: Way, stored: Mapping[str, Iterator[Path]], findings: Findings) -> set[str]:
    """Compare the tables of one computation with the stored parts; return their names, none where it fails."""
    again: set[str] = set()
    try:
        for name, table in way.made():
            again.add(name)
            findings.count("derived", len(table))
            part = next(stored.get(name, iter(())), None)
            if part is None:
                findings.wrong("derived", name, "fewer parts than the shards give")
            else:
                compare(part, read_part(part), table, findings, way.close)
    except FAULTS as error:
        findings.wrong("derived", way.what, f"cannot be computed again ({first_line(error, 200)})")
        return set()
    return again


def _check_ranking(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Compare the ranking's document with one made again from the table and `run.json`."""
    findings.count("derived")
    try:
        options: Settings = facts["options"]
        listed = int(options.get("listed", options.get("top_k", 0)))  # older runs call it `top_k`
        if (run / RANKING).read_text(encoding="utf-8") != reward_features(run, facts, listed):
            findings.wrong("derived", RANKING, "not what feature_scores and run.json give")
    except FAULTS as error:
        findings.wrong("derived", RANKING, f"cannot be made again ({first_line(error, 200)})")
