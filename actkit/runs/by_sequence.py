"""Read sequences of a finished run from position 0 on: text, tokens as boxes of that text, and rows.

Only row groups that may hold the sequence, or one that it continues, are read: their metadata has the range of ids.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import RunError
from actkit.runs import manifest
from actkit.runs.part import open_part, ranges_of, read_part
from actkit.runs.paths import SHARDS, part_name, part_number
from actkit.runs.reader import part_of, parts, path_of

OWN = ("sequence_id", "position", "token_id", "token", "char_start", "char_end", "role", "is_special")


@dataclass(frozen=True)
class Box:
    """A token, or several that share a character, drawn as one box."""

    first: int
    last: int
    """`first` and `last` are positions, both included."""
    text: str
    """Its part of the sequence's text; for a special token without characters, the token's name."""
    role: str | None = None
    is_special: bool = False


@dataclass(frozen=True)
class TokenizedText:
    """A sequence as the model read it: its row in `sequences`, and its tokens from position 0 on."""

    row: dict[str, Any]
    tokens: tuple[dict[str, Any], ...] = field(repr=False)
    """Rows of `tokens`, including those of the sequences that it continues; spans are places in `row["text"]`."""

    @property
    def path(self) -> list[int]:
        """Ids of the sequence and of those that it continues and has tokens of, nearest first."""
        return list(dict.fromkeys([self.row["sequence_id"], *(own["sequence_id"] for own in reversed(self.tokens))]))

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of the tokens, joined where they share a character; no text before the last token's end is lost."""
        return tuple(_boxes(self.row["text"] or "", self.tokens))


def sequences_of(run: Path, wanted: Iterable[int]) -> dict[int, TokenizedText]:
    """Read the sequences with the ids `wanted`, by id. Raises RunError for an id that the run does not have."""
    ids = sorted(set(wanted))
    known: dict[int, dict[str, Any]] = {}
    ahead = set(ids)
    while ahead:  # then the parents of the rows just read
        found = {row["sequence_id"]: row for row in rows_of_sequences(run, "sequences", sorted(ahead))}
        known |= found
        ahead = {row["parent_id"] for row in found.values()} - {None} - known.keys()
    missing = next((sequence_id for sequence_id in ids if sequence_id not in known), None)
    if missing is not None:
        last = max((last for part in parts(run, "sequences") for _, last in _ids(part)), default=-1)
        raise RunError(f"{run}: no sequence {missing}", f"they are numbered up to {last}")
    own = _by_sequence(rows_of_sequences(run, "tokens", sorted(known), OWN))
    return {number: TokenizedText(known[number], tuple(tokens_along(known, own, number))) for number in ids}


def sequences_of_part(run: Path, part: Path) -> Iterator[TokenizedText]:
    """Read the sequences of one part of `sequences`, in order; their parents are in the same part."""
    rows = {row["sequence_id"]: row for row in part_of(run, "sequences", part).to_pylist()}
    own = _by_sequence(part_of(run, "tokens", part, OWN).to_pylist())
    for sequence_id in rows:
        yield TokenizedText(rows[sequence_id], tuple(tokens_along(rows, own, sequence_id)))


def _by_sequence(tokens: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    own: dict[int, list[dict[str, Any]]] = {}
    for token in tokens:
        own.setdefault(token["sequence_id"], []).append(token)
    return own


def tokens_along(
    rows: dict[int, dict[str, Any]], own: dict[int, list[dict[str, Any]]], sequence: int
) -> Iterator[dict[str, Any]]:
    """The tokens of a sequence and of those it continues, by position; spans are places in the sequence's text.

    `rows` of `sequences`, and the sequences' `own` tokens or some of them, both by id.
    """
    path = path_of(sequence, rows)
    by_position: dict[int, dict[str, Any]] = {}
    for sequence_id in reversed(path):  # a later sequence replaces tokens from its `start` on
        offset = rows[sequence_id]["char_offset"] or 0
        for token in own.get(sequence_id, ()):
            start, end = token["char_start"] - offset, token["char_end"] - offset
            by_position[token["position"]] = {**token, "char_start": start, "char_end": end}
    n_tokens = rows[sequence]["n_tokens"]
    yield from (by_position[position] for position in sorted(by_position) if position < n_tokens)


def _boxes(text: str, tokens: Sequence[dict[str, Any]]) -> Iterator[Box]:
    first, done = 0, 0
    while first < len(tokens):
        last, end = first, tokens[first]["char_end"]
        while last + 1 < len(tokens) and tokens[last + 1]["char_start"] < end:
            last += 1
            end = max(end, tokens[last]["char_end"])
        token = tokens[first]
        # Characters without a token belong to the next token's box, so that none is lost.
        shown = text[done:end] if end > done else token["token"] if token["is_special"] else ""
        yield Box(token["position"], tokens[last]["position"], shown, token["role"], bool(token["is_special"]))
        first, done = last + 1, max(done, end)


def rows_of_sequences(
    run: Path, table: str, wanted: Sequence[int], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Read the rows of the sequences `wanted`, in order; [] where the run has no such table."""
    return [row for group in tables_of_sequences(run, table, wanted, columns) for row in group.to_pylist()]


def tables_of_sequences(
    run: Path, table: str, wanted: Sequence[int], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Read the rows of the sequences `wanted`, which ascend: a table for each row group that has any."""
    if not len(wanted):
        return
    ids = pa.array(wanted, type=pa.int64())
    for part in parts(run, table):
        groups = [number for number, ends in enumerate(_ids(part)) if any_within(wanted, *ends)]
        if groups:
            with open_part(part) as file:
                for group in groups:
                    read = file.read_row_group(group, columns=columns and list(columns))
                    chosen = read.filter(pc.is_in(read["sequence_id"], ids))
                    if len(chosen):
                        yield chosen
        if max((last for _, last in _ids(part)), default=-1) >= wanted[-1]:
            return  # sequences are numbered from shard to shard


def parts_of_sequence(run: Path, table: str, sequence: int) -> list[Path]:
    """The parts of a table that may have rows of one sequence."""
    return [part for part in parts(run, table) if any(low <= sequence <= high for low, high in _ids(part))]


def any_within(ascending: Sequence[int] | npt.NDArray[np.int64], first: int, last: int) -> bool:
    """Whether any of the `ascending` ids is between `first` and `last`, both included."""
    at = bisect_left(ascending, first)
    return at < len(ascending) and bool(ascending[at] <= last)


def sequence_of_record(run: Path, record: int | None) -> int | None:
    """Return the first sequence of a record, or of the run, that no other continues; None where there is none."""
    for part in parts(run, "sequences"):
        if record is not None and not any(low <= record <= high for low, high in _ids(part, "record_id")):
            continue
        rows = read_part(part, ["sequence_id", "record_id", "parent_id"])
        here = (rows if record is None else rows.filter(pc.equal(rows["record_id"], record))).to_pylist()
        parents = {row["parent_id"] for row in here}
        found = next((int(row["sequence_id"]) for row in here if row["sequence_id"] not in parents), None)
        if found is not None:
            return found
    return None


def _ids(part: Path, column: str = "sequence_id") -> list[tuple[int, int]]:
    """Smallest and largest value of a column in each row group; (0, -1) where the metadata has none."""
    return [ends or (0, -1) for (ends,) in ranges_of(part, column)]


def text_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    """Join the texts of a document's chunks, rows of `sequences`; a character that two chunks share counts once."""
    ends = [chunk["char_offset"] for chunk in chunks[1:]]
    pieces = [chunk["text"][: end - chunk["char_offset"]] for chunk, end in zip(chunks, ends, strict=False)]
    return "".join([*pieces, *(chunk["text"] for chunk in chunks[-1:])])


def shards_of(run: Path, part: Path, record_id: int) -> list[Path] | None:
    """Find the parts of `sequences` that hold a document, in order; `part` is one of them.

    None where the run does not have all of them yet.
    """
    found = [part]
    while _goes_on(found[0], record_id):
        before = _neighbour(found[0], -1)
        if not before.exists():
            return None
        found.insert(0, before)
    while (after := _neighbour(found[-1], 1)).exists() and _goes_on(after, record_id):
        found.append(after)
    return found if after.exists() or _ends(run, found[-1]) else None


def _goes_on(part: Path, record_id: int) -> bool:
    """Whether a part begins in the middle of a document."""
    first = read_part(part, ["record_id", "chunk"]).slice(0, 1).to_pylist()
    return bool(first and first[0]["record_id"] == record_id and first[0]["chunk"])


def _ends(run: Path, part: Path) -> bool:
    """Whether the part has its last record to the end, by the shard's manifest; True where that cannot be read."""
    try:
        return manifest.read(run / SHARDS / f"{part.stem}.json").end.within == 0
    except (OSError, ValueError):
        return True


def _neighbour(part: Path, by: int) -> Path:
    return part.with_name(f"{part_name((part_number(part) or 0) + by)}.parquet")
