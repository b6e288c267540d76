"""Sequences of a run, token by token: positions that were read, the beginning of the response, the largest features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actkit.report.text_views import Places, Scale, places_of
from actkit.runs.by_sequence import TokenizedText, rows_of_sequences, sequences_of
from actkit.runs.facts import facts_of
from actkit.runs.part import read_part
from actkit.runs.reader import parts

TOP = 3
"""Features shown of a token."""


@dataclass(frozen=True)
class Token:
    """One token of a sequence, with its largest features."""

    position: int
    token_id: int
    text: str
    is_special: bool
    read: bool
    """Whether the run stores activations or features of this position."""
    features: tuple[tuple[int, float], ...] = ()
    """Id and activation of the largest features, largest first; of the run's first SAE."""


@dataclass(frozen=True)
class Strip:
    """One sequence with its tokens from position 0 on, those of the sequence that it continues included."""

    sequence_id: int
    record_id: int
    side: str | None
    label: str | None
    start: int
    """The sequence's first own position. Earlier tokens stand in the sequence that it continues."""
    response_start: int | None
    tokens: tuple[Token, ...] = field(repr=False)


def first_strips(run: Path, count: int) -> list[Strip]:
    """Read the first `count` sequences of a run. Raises RunError when `run` is no finished run.

    A sequence that others begin with is left out, since each of those shows it. Only rows of these sequences are read.
    Runs that store pooled features alone show where each feature is strongest.
    """
    facts = facts_of(run)
    rows: list[dict[str, Any]] = []
    most = 4 * count + 4  # a record has three at most, of which one is a beginning
    for part in parts(run, "sequences"):
        rows += read_part(part, ["sequence_id", "parent_id"]).slice(0, most - len(rows)).to_pylist()
        if len(rows) == most:
            break
    parents = {row["parent_id"] for row in rows}
    return _strips(run, facts, [row["sequence_id"] for row in rows if row["sequence_id"] not in parents][:count])


def strip_of(run: Path, sequence_id: int) -> Strip:
    """Read one sequence by id. Raises RunError where the run has none."""
    return _strips(run, facts_of(run), [sequence_id])[0]


def _strips(run: Path, facts: Mapping[str, Any], wanted: list[int]) -> list[Strip]:
    texts = sequences_of(run, wanted)
    every = sorted({sequence_id for text in texts.values() for sequence_id in text.path})
    names = [sae["name"] for sae in facts.get("saes", ())]
    features = places_of(run, Scale(names[0], np.zeros(0, dtype=np.float32), exact=True), every) if names else {}
    read = _read(run, every)
    return [_strip(texts[sequence_id], read, features) for sequence_id in wanted]


def _strip(text: TokenizedText, read: set[tuple[int, int]], features: Places) -> Strip:
    tokens = []
    for token in text.tokens:
        place = (token["sequence_id"], token["position"])
        found = zip(*features.get(place, ((), ())), strict=True)
        largest = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:TOP]
        shown = (token["position"], token["token_id"], token["token"], token["is_special"])
        tokens.append(Token(*shown, place in read, tuple(largest)))
    row = text.row
    about = (row["sequence_id"], row["record_id"], row["side"], row["label"], row["start"], row["response_start"])
    return Strip(*about, tuple(tokens))


def _read(run: Path, wanted: list[int]) -> set[tuple[int, int]]:
    """Return sequence and position of each stored vector, or else of each row of features."""
    for table, kind in (("activations", "hook_point"), ("features", "sae")):
        rows = rows_of_sequences(run, table, wanted, ["sequence_id", "position", kind])
        if rows:
            return {(row["sequence_id"], row["position"]) for row in rows}
    return set()
