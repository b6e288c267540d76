"""The first sequences of a run, token by token: what was read, where the response begins, the largest features."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.runs.by_sequence import rows_of_sequences, sequences_of
from actkit.runs.facts import facts_of
from actkit.runs.part import open_part
from actkit.runs.reader import parts, path_of

TOP = 3
"""Features shown of a token."""


@dataclass(frozen=True)
class Token:
    """One token of a sequence, and what the run has of it."""

    position: int
    token_id: int
    text: str
    is_special: bool
    read: bool
    """Whether the run stores something that was computed at this position."""
    features: tuple[tuple[int, float], ...] = ()
    """Id and activation of the largest features, largest first; of the run's first SAE."""


@dataclass(frozen=True)
class Strip:
    """One sequence: what it is, and its tokens from position 0 on, those of the sequence it continues included."""

    sequence_id: int
    record_id: int
    side: str | None
    label: str | None
    start: int
    """First position of its own: earlier tokens stand in the sequence that it continues."""
    response_start: int | None
    tokens: tuple[Token, ...] = field(repr=False)


def first_strips(run: Path, count: int) -> list[Strip]:
    """The first `count` sequences of a run. Raises RunError when `run` is no finished run.

    Sequences that are only the shared beginning of others are left out: each of those shows it. Of the tables only what
    belongs to these sequences is read. Runs that store pooled features alone show where each feature is strongest.
    """
    facts_of(run)
    rows = _rows(run, "sequences", None, limit=4 * count + 4)
    parents = {row["parent_id"] for row in rows}
    by_id = {row["sequence_id"]: row for row in rows}
    shown = [row for row in rows if row["sequence_id"] not in parents][:count]
    wanted = sorted({sequence_id for row in shown for sequence_id in path_of(row["sequence_id"], by_id)})
    tokens, read, features = _tokens(run, wanted), _read(run, wanted), _features(run, wanted)
    return [_strip(row, path_of(row["sequence_id"], by_id), tokens, read, features) for row in shown]


def strip_of(run: Path, sequence_id: int) -> Strip:
    """One sequence by id. Raises RunError where the run has none."""
    sequences_of(run, [sequence_id])  # which says so
    by_id: dict[int, dict[str, Any]] = {}
    wanted: int | None = sequence_id
    while wanted is not None:
        (by_id[wanted],) = rows_of_sequences(run, "sequences", [wanted])
        wanted = by_id[wanted]["parent_id"]
    ids = sorted(by_id)
    found = (_tokens(run, ids), _read(run, ids), _features(run, ids))
    return _strip(by_id[sequence_id], path_of(sequence_id, by_id), *found)


Place = tuple[int, int]
"""Sequence and position."""


def _strip(
    row: dict[str, Any],
    path: list[int],
    tokens: dict[int, list[dict[str, Any]]],
    read: set[Place],
    features: dict[Place, list[tuple[int, float]]],
) -> Strip:
    # From the beginning of the path on: where two have a position, it is the later one that continues there.
    places = {token["position"]: token for number in reversed(path) for token in tokens.get(number, ())}
    made = []
    for position in range(row["n_tokens"]):
        token = places[position]
        place = (token["sequence_id"], position)
        largest = sorted(features.get(place, ()), key=lambda found: (-found[1], found[0]))[:TOP]
        made.append(
            Token(position, token["token_id"], token["token"], token["is_special"], place in read, tuple(largest))
        )
    about = (row["sequence_id"], row["record_id"], row["side"], row["label"], row["start"], row["response_start"])
    return Strip(*about, tuple(made))


def _tokens(run: Path, wanted: list[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in _rows(run, "tokens", wanted):
        found.setdefault(row["sequence_id"], []).append(row)
    return found


def _read(run: Path, wanted: list[int]) -> set[Place]:
    """Where something was read: the places of one hook point's vectors, or of one SAE's features."""
    for table, kind in (("activations", "hook_point"), ("features", "sae")):
        rows = _rows(run, table, wanted, ["sequence_id", "position", kind])
        if rows:
            return {(row["sequence_id"], row["position"]) for row in rows}
    return set()


def _features(run: Path, wanted: list[int]) -> dict[Place, list[tuple[int, float]]]:
    found: dict[Place, list[tuple[int, float]]] = {}
    rows = _rows(run, "features", wanted)
    for row in (row for row in rows if row["sae"] == rows[0]["sae"]):
        pairs = zip(row["feature_ids"][:TOP], row["feature_activations"][:TOP], strict=True)
        found[(row["sequence_id"], row["position"])] = list(pairs)
    rows = [] if found else _rows(run, "pooled_features", wanted)
    for row in (row for row in rows if row["sae"] == rows[0]["sae"]):
        for name, value, at in zip(
            row["feature_ids"], row["feature_activations"], row["feature_positions"], strict=True
        ):
            found.setdefault((row["sequence_id"], at), []).append((name, value))
    return found


def _rows(
    run: Path, table: str, wanted: list[int] | None, columns: list[str] | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Rows of some sequences (None: all), or the first `limit` rows; stops at the first shard beyond them."""
    rows: list[dict[str, Any]] = []
    for part in parts(run, table):
        for batch in _batches(part, wanted, columns):
            rows.extend(batch.to_pylist())
            if limit is not None and len(rows) >= limit:
                return rows[:limit]
        with open_part(part) as file:
            if wanted is not None and _last(file) >= max(wanted, default=-1):
                break
    return rows


def _batches(part: Path, wanted: list[int] | None, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with open_part(part) as file:
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            if wanted is not None:
                batch = batch.filter(pc.is_in(batch["sequence_id"], pa.array(wanted, type=pa.int64())))
            if len(batch):
                yield batch


def _last(file: pq.ParquetFile) -> int:
    """The largest sequence_id in a part, as its metadata has it."""
    at = file.schema_arrow.get_field_index("sequence_id")
    groups = (file.metadata.row_group(number).column(at).statistics for number in range(file.num_row_groups))
    return max((int(known.max) for known in groups if known is not None and known.has_min_max), default=-1)
