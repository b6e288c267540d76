"""Sequences of a finished run as it tokenized them, to be run again as they are."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.pipeline.data import Encoding, TokenSequence
from actkit.runs.reader import part_of, parts

COLUMNS = ["sequence_id", "record_id", "parent_id", "start", "response_start", "group", "label", "text"]


def stored_texts(run: Path, sequence_ids: Collection[int]) -> dict[int, TokenSequence]:
    """Some sequences of a run by their ids, each whole: what its parent holds is in it. Nothing is kept yet."""
    found: dict[int, TokenSequence] = {}
    for part in parts(run, "sequences"):
        rows = part_of(run, "sequences", part, COLUMNS)
        wanted = rows.filter(pc.is_in(rows["sequence_id"], pa.array(sorted(sequence_ids), pa.int64()))).to_pylist()
        if not wanted:
            continue
        tokens = part_of(run, "tokens", part)
        for row in wanted:
            own = _of(tokens, row["sequence_id"])
            if row["parent_id"] is not None:
                parent = _of(tokens, row["parent_id"])
                own = pa.concat_tables([parent.filter(pc.less(parent["position"], row["start"])), own])
            found[row["sequence_id"]] = TokenSequence(
                row["record_id"],
                _encoding(own, row["text"]),
                np.zeros(0, dtype=np.int64),
                response_start=row["response_start"],
                group=row["group"],
                label=row["label"],
            )
    return found


def _of(tokens: pa.Table, sequence_id: int) -> pa.Table:
    return tokens.filter(pc.equal(tokens["sequence_id"], sequence_id))


def _encoding(tokens: pa.Table, text: str) -> Encoding:
    return Encoding(
        text,
        tokens["token_id"].to_numpy().astype(np.int64),
        tokens["char_start"].to_numpy(),
        tokens["char_end"].to_numpy(),
        tokens["is_special"].to_numpy(),
        tuple(tokens["role"].to_pylist()),
    )
