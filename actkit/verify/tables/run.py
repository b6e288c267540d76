"""`actkit verify`: read every shard of a finished run again and find everything that is wrong with it.

1. Every file of the last manifest is there with the same bytes, there are no others, and each table has its columns.
2. Records, sequences and tokens are each there once, in order, and agree with the counts of `run.json`.
3. Vectors and features are in order, inside their sequences, finite, sorted and above the run's threshold.
4. If all that holds, statistics over the shards are computed again and compared.

A problem in one file does not end the check. At most one row group of vectors and one shard of tokens are in memory. No
model is run: `actkit.verify.recompute.run` computes records again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from actkit.errors import RunError, first_line
from actkit.runs.facts import check_age, facts_of, metadata_of
from actkit.runs.part import UNREADABLE
from actkit.runs.paths import MANIFEST, RUN_FILE, is_there, part_number
from actkit.runs.reader import Ints
from actkit.verify.tables.derived import check_derived, made_alike
from actkit.verify.tables.facts import wrong_in
from actkit.verify.tables.files import Part, check_files, check_tables
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.pairs import check_pairs, check_texts
from actkit.verify.tables.reading import CHECK_OF, Sequences, columns_of
from actkit.verify.tables.said_twice import check_said_twice
from actkit.verify.tables.sequences import (
    Totals,
    check_counts,
    check_records,
    check_rejected,
    check_reports,
    check_sequences,
    check_tokens,
)
from actkit.verify.tables.values import Expected, check_values

OF_RECORDS = {"pairs": "pairs", "steered_texts": "sequences"}
"""Table with a row for each record → the check that it belongs to."""
BY_SHARD = ("sequences", "tokens", "logprobs", "rejected", *CHECK_OF, *OF_RECORDS)
"""Tables that are checked shard by shard."""
ROW_BY_ROW = {"pairs": check_pairs, "steered_texts": check_texts}
"""Table whose rows repeat facts of their records' sequences → the function that compares them."""
TAKEN_OUT = ("out of memory", "no token to pool")
"""Beginnings of the reasons for rejecting a record after its sequences were numbered."""
Read = TypeVar("Read")


def verify(run: Path, on_part: Callable[[float], None] = lambda _share: None, deep: bool = False) -> Findings:
    """Check a finished run; `on_part` gets the share of shards that are done, after each shard.

    With `deep`, every table over the finished shards is computed again, which takes as long as when the run was made;
    otherwise those that take little time. Raises RunError for a directory that is no finished run, and for a run of
    another schema version.
    """
    if not (is_there(run / RUN_FILE) or is_there(run / MANIFEST)):
        facts_of(run)  # raises, saying why
    check_age(run)  # before files are compared with the schemas of this version
    findings = Findings(run)
    stated = check_files(run, findings)
    try:
        facts = checked_facts(run)
    except RunError as error:
        if not findings.problems:
            raise
        findings.wrong("files", RUN_FILE, error.message.removeprefix(f"{run}/{RUN_FILE} ").removeprefix(f"{run}: "))
        return findings
    tables = check_tables(run, facts["tables"], stated, findings, metadata_of(facts) if made_alike(facts) else None)
    totals = _check_shards(facts, tables, findings, on_part)
    stand = _rows_stand(findings)
    check_counts(facts, totals, {name: sum(part.rows for part in parts) for name, parts in tables.items()}, findings)
    if made_alike(facts):
        check_reports(facts, totals, findings)
        check_said_twice(run, facts, findings, stated.shards)
        for table, check in ROW_BY_ROW.items():
            for part in tables.get(table, ()) if stand else ():
                check(part.path, findings)
    if stand:
        check_derived(run, facts, stated.of_shards, findings, deep)
    return findings


def _rows_stand(findings: Findings) -> bool:
    """Whether all problems are checksums of files beside the tables, so that all rows are there and in order."""
    return all(problem.check == "checksums" and "/" not in problem.where for problem in findings.problems)


def checked_facts(run: Path) -> dict[str, Any]:
    """Read `run.json`. Raises RunError where it cannot be used to check the run."""
    facts = facts_of(run)
    check_age(run, facts)
    wrong = wrong_in(facts)
    if wrong is not None:
        raise RunError(f"{run}/run.json is damaged: {wrong}", "the tables beside it can still be read")
    return facts


@dataclass(frozen=True)
class _Reading:
    """Reads parts. A part that cannot be read is a problem, and totals are then not compared (`Totals.whole`)."""

    findings: Findings
    totals: Totals

    def __call__(self, path: Path | None, read: Callable[[Path], Read]) -> Read | None:
        """Return the result of `read` for a part; None where there is no part or it cannot be read."""
        if path is None:
            return None
        try:
            return read(path)
        except UNREADABLE as error:
            self.findings.wrong("files", path, f"cannot be read ({first_line(error, 200)})")
            self.totals.whole = False
            return None


def _check_shards(
    facts: Mapping[str, Any], tables: Mapping[str, list[Part]], findings: Findings, on_part: Callable[[float], None]
) -> Totals:
    """Check the tables of each shard; return the counts over all shards."""
    by_shard: dict[str, dict[str, Path]] = {}
    for table in (name for name in BY_SHARD if name in tables):
        for part in tables[table]:
            by_shard.setdefault(part.path.name, {})[table] = part.path
    gaps = any(reason.startswith(TAKEN_OUT) for reason in facts["rejected_reasons"])
    expected, reading = Expected.of(facts), _Reading(findings, Totals(first_rejected=facts.get("first_rejected")))
    counted = ("sequences", "rejected")
    reading.totals.whole = all(
        len(tables[name]) == facts["tables"][name]["parts"] for name in counted if name in tables
    )
    first: dict[str, frozenset[str]] = {}
    for number, name in enumerate(sorted(by_shard, key=lambda name: part_number(Path(name)) or 0), 1):
        sequences = _check_shard(by_shard[name], name, reading, gaps)
        if sequences is not None:
            for path in (by_shard[name][table] for table in CHECK_OF if table in by_shard[name]):
                _check_values(path, sequences, expected, reading, first)
        on_part(number / len(by_shard))
    return reading.totals


def _check_shard(paths: Mapping[str, Path], name: str, reading: _Reading, may_have_gaps: bool) -> Sequences | None:
    """Check records, sequences, tokens and pairs of one shard; None where its sequences cannot be read."""
    findings, totals = reading.findings, reading.totals
    none = np.zeros(0, dtype=np.int64)
    rejected = reading(paths.get("rejected"), lambda path: check_rejected(path, totals))
    sequences = reading(paths.get("sequences"), lambda path: check_sequences(path, totals, findings, may_have_gaps))
    records = none if sequences is None else np.unique(sequences.records)
    check_records(records, none if rejected is None else rejected, f"shard {name}", totals, findings)
    if sequences is None:
        return None
    for table, check in OF_RECORDS.items():
        rows = reading(paths.get(table), _records_of)
        if rows is not None:
            findings.count(check, len(rows))
            if not np.array_equal(rows, records):
                findings.wrong(check, paths[table], "not one row for each record of the shard, in order")
    return reading(paths.get("tokens"), lambda path: check_tokens(path, sequences, totals, findings)) or sequences


def _check_values(
    path: Path, sequences: Sequences, expected: Expected, reading: _Reading, first: dict[str, frozenset[str]]
) -> None:
    """Check one part of vectors or features; its hook points or SAEs must be those of the table's `first` part."""
    found = reading(path, lambda part: check_values(part, sequences, expected, reading.totals, reading.findings))
    table = path.parent.name
    if found is not None and first.setdefault(table, found) != found:
        has, had = (", ".join(sorted(names)) or "nothing" for names in (found, first[table]))
        reading.findings.wrong(CHECK_OF[table], path, f"it holds {has}, the table's first part {had}")


def _records_of(path: Path) -> Ints:
    records: Ints = columns_of(path, ["record_id"])["record_id"].to_numpy()
    return records
