"""Records become shards: prepared by the recipe, numbered, gathered until there is enough for one part a table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from actkit.config import OutputSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected, TokenSequence
from actkit.pipeline.recipe import OnProgress, Prepared, Progress, Recipe


@dataclass
class Shard:
    """Records gathered until there is enough for one shard."""

    records: dict[int, Record] = field(default_factory=dict)
    sequences: list[TokenSequence] = field(default_factory=list)
    rows: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    kept: int = 0


def gather_shards(
    recipe: Recipe, most_sequences: int, most_kept: int, output: OutputSpec, progress: Progress, on_progress: OnProgress
) -> Iterator[Shard]:
    """Records in shards of whole records; the last shard may hold rejected records only."""
    shard = Shard()
    next_id = 0
    with closing(recipe.records()) as records:
        while output.max_records is None or progress.read < output.max_records:
            with progress.timed("read"):
                record = next(records, None)
            if record is None:
                break
            progress.read += 1
            with progress.timed("tokenize"):
                prepared = _prepare(recipe, record)
            if isinstance(prepared, Rejected):
                _reject(prepared, shard, output, progress)
                on_progress(progress)
                continue
            assert isinstance(record, Record)
            numbered = _numbered(prepared.sequences, next_id)
            next_id += len(numbered)
            kept = sum(len(one.keep) for one in numbered)
            full = shard.kept + kept > most_kept or len(shard.sequences) + len(numbered) > most_sequences
            if shard.sequences and full:
                yield shard
                shard = Shard()
            progress.written += 1
            progress.truncated += any(one.n_truncated for one in numbered)
            progress.special_in_text += any(one.encoding.special_in_text for one in numbered)
            shard.records[record.record_id] = record
            shard.sequences.extend(numbered)
            shard.kept += kept
            for table, row in prepared.rows.items():
                shard.rows.setdefault(table, []).append(row)
    if shard.sequences or shard.rejected:
        yield shard


def _numbered(sequences: Sequence[TokenSequence], first: int) -> list[TokenSequence]:
    """A record's sequences with ids of the run; a parent is named by its index among them until then."""
    return [
        replace(one, sequence_id=first + index, parent=None if one.parent is None else first + one.parent)
        for index, one in enumerate(sequences)
    ]


def _reject(rejected: Rejected, shard: Shard, output: OutputSpec, progress: Progress) -> None:
    if output.on_bad_record == "fail":
        field_name = f", field {rejected.field}" if rejected.field else ""
        raise InputError(
            f"{rejected.place}{field_name}: {rejected.reason}",
            "mend the record, or go on without: --on-bad-record skip",
        )
    progress.rejected += 1
    progress.reasons[rejected.reason] = progress.reasons.get(rejected.reason, 0) + 1
    shard.rejected.append(rejected)


def _prepare(recipe: Recipe, record: Record | Rejected) -> Prepared | Rejected:
    if isinstance(record, Rejected):
        return record
    try:
        return recipe.prepare(record)
    except RecordError as error:
        return Rejected(record.record_id, record.source, record.line, error.field, error.reason)
