"""Check that the rows of `pairs` and `steered_texts` agree with the sequences of their records.

A row of a pair has the position where its sides diverge, their lengths, prompt and answers. A row of a text without a
pair has the text.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actkit.runs.part import read_part
from actkit.runs.reader import Ints, keys_of
from actkit.verify.tables.findings import Findings

OF_SIDES = ("sequence_id", "record_id", "side", "start", "n_tokens", "response_start", "text")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Ends:
    """The end of each token of a shard: one past its last character."""

    keys: Ints
    """`keys_of` the tokens, ascending."""
    ends: Ints

    @classmethod
    def of(cls, tokens: Path) -> "_Ends":
        table = read_part(tokens, ["sequence_id", "position", "char_end"])
        ids, positions, ends = (table[name].to_numpy() for name in table.column_names)
        return cls(keys_of(ids, positions), ends)

    def at(self, sequence: Row, before: Row | None, position: int) -> int:
        """The end of a token of a sequence with parent `before`; 0 before the first, the text's end after the last."""
        if not 0 <= position < sequence["n_tokens"]:
            return 0 if position < 0 else len(sequence["text"])
        owner = sequence if before is None or position >= sequence["start"] else before
        key = keys_of(np.array([owner["sequence_id"]]), np.array([position]))
        return int(self.ends[np.searchsorted(self.keys, key)[0]])


def check_pairs(part: Path, findings: Findings) -> None:
    """Compare each row of one part of `pairs` with the sequences and tokens of its record."""
    sequences, tokens = (part.parents[1] / table / part.name for table in ("sequences", "tokens"))
    sides: dict[int, dict[str, Row]] = {}
    ends = _Ends.of(tokens)
    for row in read_part(sequences, OF_SIDES).to_pylist():
        sides.setdefault(row["record_id"], {})[row["side"]] = row
    for row in read_part(part).to_pylist():
        wrong = next(_differing(row, sides.get(row["record_id"], {}), ends), None)
        if wrong is not None:
            findings.wrong("pairs", part, f"record {row['record_id']}: {wrong}")
            return


def check_texts(part: Path, findings: Findings) -> None:
    """Compare each text without a pair in one part of `steered_texts` with the sequence of its record."""
    sequences = read_part(part.parents[1] / "sequences" / part.name, ["record_id", "text"]).to_pylist()
    texts = {row["record_id"]: row["text"] for row in sequences}
    for row in read_part(part, ["record_id", "positive", "text"]).to_pylist():
        if row["positive"] is None and row["text"] != texts.get(row["record_id"]):
            findings.wrong("sequences", part, f"record {row['record_id']}: its text is not that of its sequence")
            return


def _differing(row: Row, sides: Mapping[str, Row], ends: _Ends) -> Iterator[str]:
    """Describe each column of a row that contradicts the pair's sequences."""
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
    if row["prompt_sha256"] not in _prompts(both[0], sides.get("shared"), starts[0], ends):
        yield f"prompt_sha256 is {row['prompt_sha256']!r:.60}, which is not what the chosen text begins with"


def _prompts(chosen: Row, before: Row | None, start: int, ends: _Ends) -> Iterator[str]:
    """The sha256 of each text that can be the prompt: it ends before or within the first token of the answer."""
    first, last = (ends.at(chosen, before, position) for position in (start - 1, start))
    for end in range(first, last + 1):
        yield hashlib.sha256(chosen["text"][:end].encode()).hexdigest()


def _status(alone: bool, ends: list[bool]) -> str:
    if alone:
        return "identical"
    return "chosen_is_prefix" if ends[0] else "rejected_is_prefix" if ends[1] else "ok"
