"""A document from the chunks that a run cut it into, which may stand in several shards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actkit.runs import manifest
from actkit.runs.part import read_part
from actkit.runs.paths import SHARDS, part_name, part_number


def text_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    """The text of a document, of rows of `sequences`; a character that two chunks share is in both, and counts once."""
    ends = [chunk["char_offset"] for chunk in chunks[1:]]
    pieces = [chunk["text"][: end - chunk["char_offset"]] for chunk, end in zip(chunks, ends, strict=False)]
    return "".join([*pieces, *(chunk["text"] for chunk in chunks[-1:])])


def shards_of(run: Path, part: Path, record_id: int) -> list[Path] | None:
    """The parts of `sequences` that a document is in, in order, of which `part` is one.

    None where the run does not have all of them, because it is not finished.
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
    """Whether the last record of a part is there to its end, as the shard's manifest says; where it cannot, it is."""
    try:
        return manifest.read(run / SHARDS / f"{part.stem}.json").end.within == 0
    except (OSError, ValueError):
        return True


def _neighbour(part: Path, by: int) -> Path:
    return part.with_name(f"{part_name((part_number(part) or 0) + by)}.parquet")
