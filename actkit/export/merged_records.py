"""Read `sae_activations` of each record in a document of results from a run, shard by shard."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.runs.paths import part_name, part_number
from actkit.runs.reader import part_of, parts, rows_of_sae, span

SEQUENCE = ["sequence_id", "record_id", "group", "label", "response_start", "n_tokens", "boundary_merged", "text"]
TOKEN = ["sequence_id", "char_end"]


@dataclass(frozen=True)
class Entry:
    """One record."""

    record_id: int
    slots: dict[str, Any]
    """The entries under the variation's `sae_activations`."""
    sequence: Mapping[str, Any] | None
    """The record's row of `sequences`; None for a rejected record."""
    split: int
    """The character of the text at which the response begins."""

    @property
    def group(self) -> str | None:
        """The record's group, such as a question."""
        return None if self.sequence is None else self.sequence["group"]


def entries(run: Path, facts: Mapping[str, Any], layers: Mapping[str, str]) -> Iterator[Entry]:
    """Yield every record that was read, in order. `layers` maps each SAE to the key of its features."""
    numbers = {part_number(part) for table in ("sequences", "rejected") for part in parts(run, table)}
    for number in sorted(number for number in numbers if number is not None):
        part = Path(f"{part_name(number)}.parquet")
        both = _written(run, facts, part, layers), _rejected(run, part, layers)
        yield from heapq.merge(*both, key=lambda record: record.record_id)


def _written(run: Path, facts: Mapping[str, Any], part: Path, layers: Mapping[str, str]) -> Iterator[Entry]:
    if not (run / "sequences" / part).exists():
        return
    tokens = part_of(run, "tokens", part, TOKEN)
    owners, ends = tokens["sequence_id"].to_numpy(), tokens["char_end"].to_numpy()
    features = {sae: rows_of_sae(run / "features" / part, sae) for sae in layers}
    for row in part_of(run, "sequences", part, SEQUENCE).to_pylist():
        own = span(owners, row["sequence_id"])
        slots = {
            layer: {
                "activations": _activations(facts, features[sae], row["sequence_id"]),
                "answer_start_position": answer_start(row),
                "total_tokens": row["n_tokens"],
                "status": "success",
            }
            for sae, layer in layers.items()
        }
        yield Entry(row["record_id"], slots, row, int(ends[own.start + answer_start(row) - 1]))


def _rejected(run: Path, part: Path, layers: Mapping[str, str]) -> Iterator[Entry]:
    if (run / "rejected" / part).exists():
        for row in part_of(run, "rejected", part, ["record_id", "reason"]).to_pylist():
            slots = {layer: {"activations": {}, "status": f"error: {row['reason']}"} for layer in layers.values()}
            yield Entry(row["record_id"], slots, None, 0)


def _activations(facts: Mapping[str, Any], features: pa.Table | None, sequence_id: int) -> dict[str, Any]:
    if features is None:
        return {}
    whole = facts["positions"] == "all"
    rows = span(features["sequence_id"].to_numpy(), sequence_id)
    return {
        f"token_{row['position']}" if whole else "last_token": {
            "top_k_features": [
                {"id": number, "activation": value}
                for number, value in zip(row["feature_ids"], row["feature_activations"], strict=True)
            ],
            "num_active_features": row["n_active"],
        }
        for row in features[rows].to_pylist()
    }


def answer_start(row: Mapping[str, Any]) -> int:
    """Return the position where the answer of a row of `sequences` begins; without an answer, the number of tokens."""
    return int(row["n_tokens"] if row["response_start"] is None else row["response_start"])
