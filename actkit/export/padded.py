"""The sequences of a run as one batch, padded on the right, a sequence at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from actkit.export.arrays import Array, Pieces
from actkit.export.vectors import Held, blocks, kept_rows, span
from actkit.runs.reader import Ints, part_of, parts


@dataclass(frozen=True)
class PaddedBatch:
    """The run's sequences as one padded batch."""

    run: Path
    size: int
    tokens: int
    """Of the longest sequence."""
    rows: int
    """Most kept positions of a sequence."""


def batch_of(run: Path) -> PaddedBatch:
    """How large the batch of all sequences of a run is."""
    size = tokens = rows = 0
    for part in parts(run, "sequences"):
        lengths = part_of(run, "sequences", part, ["n_tokens"])["n_tokens"].to_numpy()
        size, tokens = size + len(lengths), max(tokens, int(lengths.max(initial=0)))
    for part in parts(run, "activations"):
        _, counts = np.unique(kept_rows(part)[0], return_counts=True)
        rows = max(rows, int(counts.max(initial=0)))
    return PaddedBatch(run, size, tokens, rows)


def tensors_of(batch: PaddedBatch, held: list[Held]) -> list[Array]:
    """The batch's arrays, padded on the right: one a hook point of `held`, positions, input_ids, attention_mask."""
    integer = np.dtype(np.int64)
    return [
        *(
            Array(
                vectors.hook_point,
                vectors.dtype,
                (batch.size, batch.rows, vectors.width or 0),
                partial(_padded, batch, vectors),
            )
            for vectors in held
        ),
        Array("positions", integer, (batch.size, batch.rows), partial(_positions, batch)),
        Array("input_ids", integer, (batch.size, batch.tokens), partial(_token_ids, batch, False)),
        Array("attention_mask", integer, (batch.size, batch.tokens), partial(_token_ids, batch, True)),
    ]


def sequences_of(run: Path) -> Iterator[tuple[Path, Ints]]:
    """Each part with the ids of its sequences, in order."""
    for part in parts(run, "sequences"):
        yield part, part_of(run, "sequences", part, ["sequence_id"])["sequence_id"].to_numpy()


def _padded(batch: PaddedBatch, held: Held) -> Pieces:
    for part, sequence_ids in sequences_of(batch.run):
        where = batch.run / "activations" / part.name
        block = next(blocks(where, {held.hook_point}), None) if where.exists() else None
        for sequence_id in sequence_ids:
            padded = np.zeros((batch.rows, held.width or 0), dtype=held.dtype)
            if block is not None:
                _, vectors = block.of(int(sequence_id))
                padded[: len(vectors)] = vectors
            yield padded


def _positions(batch: PaddedBatch) -> Pieces:
    for part, sequence_ids in sequences_of(batch.run):
        where = batch.run / "activations" / part.name
        owners, positions = kept_rows(where) if where.exists() else (sequence_ids[:0], sequence_ids[:0])
        for sequence_id in sequence_ids:
            own = positions[span(owners, int(sequence_id))]
            yield np.concatenate([own, np.full(batch.rows - len(own), -1, dtype=np.int64)])


def _token_ids(batch: PaddedBatch, mask: bool) -> Pieces:
    for part, sequence_ids in sequences_of(batch.run):
        table = part_of(batch.run, "tokens", part, ["sequence_id", "token_id"])
        owners, token_ids = table["sequence_id"].to_numpy(), table["token_id"].to_numpy()
        for sequence_id in sequence_ids:
            own = token_ids[span(owners, int(sequence_id))].astype(np.int64)
            padded = np.zeros(batch.tokens, dtype=np.int64)
            padded[: len(own)] = 1 if mask else own
            yield padded
