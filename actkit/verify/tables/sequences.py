"""Check that the records, sequences and tokens of a shard are each there once, in order and within bounds."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.pipeline.input.records import place_of
from actkit.pipeline.record_tables import as_stored
from actkit.runs.paths import RUN_FILE
from actkit.runs.reader import Ints, keys_of
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.health import Encoded, check_health
from actkit.verify.tables.reading import Bools, Sequences, columns_of

OF_SEQUENCES = (
    *("sequence_id", "record_id", "line", "parent_id", "start", "n_tokens", "n_truncated", "response_start"),
    *("n_kept", "char_offset", "n_special_in_text", "n_unknown", "chunk", "text"),
)
COUNTED = {"truncated": "n_truncated", "special_in_text": "n_special_in_text", "unknown_in_text": "n_unknown"}
"""Counter → the column that is above 0 where the record counts."""
OF_REJECTED = ("record_id", "source", "line", "reason")
OF_TOKENS = ("sequence_id", "position", "token_id", "char_start", "char_end", "is_special", "is_sink")


@dataclass
class Totals:
    """Counts over all shards, to be compared with the counts of `run.json`."""

    records: int = 0
    """Records so far: the id at which the next shard begins."""
    written: int = 0
    rejected: int = 0
    chunks: int = 0
    """Pieces of documents that were cut."""
    chunked_documents: int = 0
    truncated: int = 0
    special_in_text: int = 0
    unknown_in_text: int = 0
    sinks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why records were rejected, and how many for each reason."""
    first_rejected: str | None = None
    """`first_rejected` of `run.json`; None once its row in `rejected` is found."""
    encoded: dict[str, Encoded] = field(default_factory=dict)
    """SAE → counts over the table `features`."""
    next_sequence_id: int = 0
    record: int = -1
    """The last record that has sequences; it may go on in the next shard. `chunk` is its last sequence's."""
    chunk: int | None = None
    marks: frozenset[str] = frozenset()
    """The counters that count `record` already."""
    goes_on: bool = False
    """Whether the last shard read begins in the middle of a record."""
    whole: bool = True
    """Whether all parts of `sequences` and `rejected` could be read."""


def check_sequences(part: Path, totals: Totals, findings: Findings, may_have_gaps: bool = False) -> Sequences:
    """Check one part of `sequences`: ids ascend, parents are there, lengths fit one another. Return its sequences.

    `may_have_gaps` where the run rejected records after numbering them, for lack of memory or of tokens to pool.
    """
    table = columns_of(part, OF_SEQUENCES)
    ids, records = (table[name].to_numpy() for name in ("sequence_id", "record_id"))
    start, n_tokens, n_kept, offset = (
        table[name].to_numpy() for name in ("start", "n_tokens", "n_kept", "char_offset")
    )
    findings.count("sequences", len(table))

    def wrong(bad: Bools, what: str) -> bool:
        return findings.rows("sequences", part, bad, what, lambda row: f"sequence {ids[row]}")

    before = np.concatenate([[totals.next_sequence_id - 1], ids[:-1]])
    if not wrong(ids <= before, "sequence ids are not ascending") and totals.whole and not may_have_gaps:
        wrong(ids != before + 1, "sequence ids leave some out")
    wrong(np.diff(records, prepend=records[:1]) < 0, "record ids are not ascending")
    wrong(table["line"].fill_null(1).to_numpy() < 1, "a line of its source below the first")
    wrong((start < 0) | (n_tokens < np.maximum(start, 1)), "start and n_tokens do not fit")
    wrong((n_kept < 0) | (n_kept > n_tokens - start), "n_kept is no number of its own positions")
    wrong(table["chunk"].is_null().to_numpy() & (offset != 0), "a whole text that does not begin where it does")
    response = table["response_start"].fill_null(0).to_numpy()
    wrong((response < 0) | (response > n_tokens), "response_start is outside the sequence")
    end = offset + pc.utf8_length(table["text"]).to_numpy()
    order = np.argsort(ids, kind="stable")
    found = Sequences(*(column[order] for column in (ids, records, start, n_tokens, n_kept, offset, end)))
    _check_parents(table, found, wrong)
    totals.next_sequence_id = int(ids.max(initial=totals.next_sequence_id - 1)) + 1
    _check_chunks(table["chunk"], records, totals, wrong)
    _count_records(table, records, totals)
    return found


def _check_chunks(column: pa.ChunkedArray, records: Ints, totals: Totals, wrong: Callable[[Bools, str], bool]) -> None:
    """Check that chunks of a record are numbered from 0, across shards too; set `Totals.goes_on`."""
    chunks, cut = column.fill_null(0).to_numpy(), ~column.is_null().to_numpy()
    first = chunks[0] if len(chunks) and cut[0] else 0
    totals.chunks += int(cut.sum())
    totals.chunked_documents += int((cut & (chunks == 1)).sum())  # each has one second chunk
    same = np.diff(records, prepend=totals.record) == 0
    totals.goes_on = bool(len(same) and same[0] and first and first - 1 == totals.chunk)
    due = np.where(same, np.concatenate([[first if totals.goes_on or not totals.whole else 0], chunks[:-1] + 1]), 0)
    if len(chunks) and not totals.whole:
        due[0] = first
    wrong(cut & (chunks != due), "the chunks of a record are not numbered one after another")


def _count_records(table: pa.Table, records: Ints, totals: Totals) -> None:
    """Count the records of each counter of `COUNTED`; a record in several shards counts once."""
    before = totals.marks if totals.goes_on else frozenset()
    if not len(records):
        return
    marks = set(before if records[0] == records[-1] else ())
    for name, column in COUNTED.items():
        marked = np.unique(records[table[column].to_numpy() > 0])
        again = name in before and records[0] in marked
        setattr(totals, name, getattr(totals, name) + len(marked) - again)
        if records[-1] in marked:
            marks.add(name)
    totals.record, totals.chunk, totals.marks = int(records[-1]), table["chunk"][-1].as_py(), frozenset(marks)


def check_records(sequences: Ints, rejected: Ints, name: str, totals: Totals, findings: Findings) -> None:
    """Check that each record of a shard is either written or `rejected`, exactly once, and count both.

    `sequences` has the record of each sequence. A record that goes on from the shard before was counted there.
    """
    written = np.unique(sequences)[totals.goes_on :]
    both = np.sort(np.concatenate([written, rejected]))
    first = totals.records
    if totals.whole and not np.array_equal(both, np.arange(first, first + len(both))):
        says = f"its records, written and rejected, are not {first} to {first + len(both) - 1}, each once"
        findings.wrong("counts", name, says)
    totals.records = int(both.max(initial=first - 1)) + 1
    totals.written += len(written)
    totals.rejected += len(rejected)


def check_rejected(part: Path, totals: Totals) -> Ints:
    """Return the records of one part of `rejected`; count the reasons, and look for the row of `first_rejected`."""
    table = columns_of(part, OF_REJECTED)
    totals.reasons.update(table["reason"].to_pylist())
    if totals.first_rejected is not None:
        said = as_stored(totals.first_rejected) or ""
        for row in table.to_pylist():
            # `first_rejected` has the place, the faulty field, the reason, and a short form of the value.
            if said.startswith(place_of(row["source"], row["line"], row["record_id"])) and f": {row['reason']}" in said:
                totals.first_rejected = None
                break
    records: Ints = table["record_id"].to_numpy()
    return records


def check_tokens(part: Path, sequences: Sequences, totals: Totals, findings: Findings) -> Sequences:
    """Check one part of `tokens`: a row for each of a sequence's own positions, in order; spans never run backwards.

    Returns the sequences with `special`, the keys of special tokens and sinks.
    """
    table = columns_of(part, OF_TOKENS)
    ids, positions, token_ids, first, last = (table[name].to_numpy() for name in OF_TOKENS[:5])
    findings.count("tokens", len(table))

    def wrong(bad: Bools, what: str) -> bool:
        place = lambda row: f"sequence {ids[row]}, position {positions[row]}"  # noqa: E731 - used once, right here
        return findings.rows("tokens", part, bad, what, place)

    row, known = sequences.find(ids)
    wrong(~known, "of no sequence of the shard")
    counts = np.bincount(row[known], minlength=len(sequences.ids))
    findings.rows(
        "tokens",
        part,
        counts != sequences.n_tokens - sequences.start,
        "not one row for each position from start to n_tokens",
        lambda at: f"sequence {sequences.ids[at]}: {counts[at]} rows",
    )
    if not wrong(np.diff(ids, prepend=ids[:1]) < 0, "rows are not ordered by sequence") and known.all():
        due = sequences.start[row] + np.arange(len(ids)) - np.searchsorted(ids, ids)
        wrong(positions != due, "positions are not from start to n_tokens, in order")
    wrong(token_ids < 0, "a negative token id")
    same = np.diff(ids, prepend=-1) == 0
    back = (np.diff(first, prepend=0) < 0) | (np.diff(last, prepend=0) < 0)
    wrong((same & back) | (last < first), "character spans run backwards")
    if known.all():
        wrong((first < sequences.char_start[row]) | (last > sequences.char_end[row]), "character spans leave the text")
    special, sink = table["is_special"].to_numpy(), pc.fill_null(table["is_sink"], False).to_numpy()
    totals.sinks += int((sink & ~special).sum())
    special = special | sink
    return replace(sequences, special=np.sort(keys_of(ids[special], positions[special])))


def check_counts(facts: Mapping[str, Any], totals: Totals, rows: Mapping[str, int], findings: Findings) -> None:
    """Compare the counts of `run.json` with one another, and with the counts over all shards.

    `rows` has the number of rows of each table, of the parts that could be opened.
    """
    counts = facts["counts"]
    findings.count("counts", len(counts))
    if counts["read"] != counts["written"] + counts["rejected"]:
        parts = f"{counts['written']:,} written and {counts['rejected']:,} rejected"
        findings.wrong("counts", RUN_FILE, f"{counts['read']:,} read are not {parts}")
    found = {"written": totals.written, "rejected": totals.rejected, "truncated": totals.truncated}
    found |= {name: getattr(totals, name) for name in ("special_in_text", "unknown_in_text", "sinks")}
    found |= {name: rows.get(name, 0) for name in ("sequences", "tokens")}
    for name, count in found.items() if totals.whole else ():
        if count != counts[name]:
            findings.wrong("counts", RUN_FILE, f"counts.{name} is {counts[name]:,}, but the tables have {count:,}")
    reasons = sum(facts["rejected_reasons"].values())
    if reasons != counts["rejected"]:
        findings.wrong("counts", RUN_FILE, f"reasons for {reasons:,} of {counts['rejected']:,} rejected records")


def check_reports(facts: Mapping[str, Any], totals: Totals, findings: Findings) -> None:
    """Compare the entries of `run.json` about rejected records, documents and SAEs with the counts over all shards.

    Not for runs of another version: it may use other words, or count otherwise.
    """
    if not totals.whole:
        return
    if {as_stored(reason): n for reason, n in facts["rejected_reasons"].items()} != totals.reasons:
        findings.wrong("counts", RUN_FILE, "rejected_reasons are not those of the table rejected")
    if totals.first_rejected is not None:
        findings.wrong("counts", RUN_FILE, "first_rejected is no row of the table rejected")
    for name, value in facts.get("documents", {}).items():
        if value != getattr(totals, name, value):
            findings.wrong("counts", RUN_FILE, f"documents.{name} is {value!r:.60}, not {getattr(totals, name)}")
    check_health(facts, totals.encoded, findings)


def _check_parents(table: pa.Table, found: Sequences, wrong: Callable[[Bools, str], bool]) -> None:
    ids, start = table["sequence_id"].to_numpy(), table["start"].to_numpy()
    has = ~table["parent_id"].is_null().to_numpy()
    parents = table["parent_id"].fill_null(-1).to_numpy()
    at, there = found.find(parents)
    wrong(~has & (start != 0), "it has no parent, but does not start at 0")
    lost = wrong(has & (~there | (parents >= ids)), "its parent is not an earlier sequence of the shard")
    lost |= wrong(has & (found.records[at] != table["record_id"].to_numpy()), "its parent is of another record")
    if not lost and has.any():
        wrong(has & ((start < 1) | (found.n_tokens[at] < start)), "it starts beyond its parent's end")
