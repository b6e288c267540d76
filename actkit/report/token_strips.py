"""The first sequences of a run, token by token: what was read, where the response begins, the largest features."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actkit.runs.by_sequence import TokenizedText, rows_of_sequences, sequences_of
from actkit.runs.facts import facts_of
from actkit.runs.part import read_part
from actkit.runs.reader import parts

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
    rows: list[dict[str, Any]] = []
    most = 4 * count + 4  # of a record there are three at most, of which one is a beginning
    for part in parts(run, "sequences"):
        rows += read_part(part, ["sequence_id", "parent_id"]).slice(0, most - len(rows)).to_pylist()
        if len(rows) == most:
            break
    parents = {row["parent_id"] for row in rows}
    return _strips(run, [row["sequence_id"] for row in rows if row["sequence_id"] not in parents][:count])


def strip_of(run: Path, sequence_id: int) -> Strip:
    """One sequence by id. Raises RunError where the run has none."""
    return _strips(run, [sequence_id])[0]


Place = tuple[int, int]
"""Sequence and position."""


def _strips(run: Path, wanted: list[int]) -> list[Strip]:
    texts = sequences_of(run, wanted)
    every = sorted({sequence_id for text in texts.values() for sequence_id in text.path})
    read, features = _read(run, every), _features(run, every)
    return [_strip(texts[sequence_id], read, features) for sequence_id in wanted]


def _strip(text: TokenizedText, read: set[Place], features: dict[Place, list[tuple[int, float]]]) -> Strip:
    tokens = []
    for token in text.tokens:
        place = (token["sequence_id"], token["position"])
        largest = sorted(features.get(place, ()), key=lambda found: (-found[1], found[0]))[:TOP]
        shown = (token["position"], token["token_id"], token["token"], token["is_special"])
        tokens.append(Token(*shown, place in read, tuple(largest)))
    row = text.row
    about = (row["sequence_id"], row["record_id"], row["side"], row["label"], row["start"], row["response_start"])
    return Strip(*about, tuple(tokens))


def _read(run: Path, wanted: list[int]) -> set[Place]:
    """Where something was read: the places of one hook point's vectors, or of one SAE's features."""
    for table, kind in (("activations", "hook_point"), ("features", "sae")):
        rows = rows_of_sequences(run, table, wanted, ["sequence_id", "position", kind])
        if rows:
            return {(row["sequence_id"], row["position"]) for row in rows}
    return set()


def _features(run: Path, wanted: list[int]) -> dict[Place, list[tuple[int, float]]]:
    found: dict[Place, list[tuple[int, float]]] = {}
    rows = rows_of_sequences(run, "features", wanted)
    for row in (row for row in rows if row["sae"] == rows[0]["sae"]):
        pairs = zip(row["feature_ids"][:TOP], row["feature_activations"][:TOP], strict=True)
        found[(row["sequence_id"], row["position"])] = list(pairs)
    rows = [] if found else rows_of_sequences(run, "pooled_features", wanted)
    for row in (row for row in rows if row["sae"] == rows[0]["sae"]):
        for name, value, at in zip(
            row["feature_ids"], row["feature_activations"], row["feature_positions"], strict=True
        ):
            found.setdefault((row["sequence_id"], at), []).append((name, value))
    return found
