"""Whether the rows of `pairs` say of each pair what its sequences do: where its sides part, their lengths, answers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actkit.runs.part import read_part
from actkit.verify.tables.findings import Findings

OF_SIDES = ("record_id", "side", "start", "n_tokens", "response_start")
Row = Mapping[str, Any]


def check_pairs(part: Path, sequences: Path, findings: Findings) -> None:
    """Compare each row of one part of `pairs` with the sequences of its record."""
    sides: dict[int, dict[str, Row]] = {}
    for row in read_part(sequences, OF_SIDES).to_pylist():
        sides.setdefault(row["record_id"], {})[row["side"]] = row
    for row in read_part(part).to_pylist():
        wrong = next(_differing(row, sides.get(row["record_id"], {})), None)
        if wrong is not None:
            findings.wrong("pairs", part, f"record {row['record_id']}: {wrong}")
            return


def _differing(row: Row, sides: Mapping[str, Row]) -> Iterator[str]:
    """Each column of a row that is not what the pair's sequences say."""
    both = [sides.get(side, sides.get("shared")) for side in ("chosen", "rejected")]
    if both[0] is None or both[1] is None:
        yield "the shard has not both of its sides"
        return
    alone = "chosen" not in sides
    apart = sides["shared"]["n_tokens"] if alone else sides["chosen"]["start"]
    lengths = [side["n_tokens"] for side in both if side is not None]
    right: dict[str, Any] = {}
    for name, side, length in zip(("chosen", "rejected"), both, lengths, strict=True):
        right[f"{name}_divergence"] = apart if apart < length else None
        right[f"{name}_length"] = length
        if not alone and side is not None:
            right[f"{name}_response_start"] = side["response_start"]
    if alone or row["status"] != "prompts_differ":  # no sequence says where a prompt ends and another begins
        right["status"] = _status(alone, [apart == length for length in lengths])
    for name, value in right.items():
        if row[name] != value:
            yield f"{name} is {row[name]!r:.60}, but {value!r} by its sequences"
    starts = [row[f"{name}_response_start"] for name in ("chosen", "rejected")]
    inside = [start for start in starts if start is not None and start < apart]
    if "shared" in sides and sides["shared"]["response_start"] != min(inside, default=None):
        yield f"its answers begin at {starts[0]} and {starts[1]}, which its shared beginning does not say"


def _status(alone: bool, ends: list[bool]) -> str:
    if alone:
        return "identical"
    return "chosen_is_prefix" if ends[0] else "rejected_is_prefix" if ends[1] else "ok"
