"""h5: preference pairs in HDF5, both sides of a pair as full sequences again.

    metadata/sample_i               attributes: record_id, status, chosen_length, rejected_length,
                                    chosen_divergence_idx and rejected_divergence_idx, -1 where a side has none
    activations/sample_i_chosen     a dataset [n, width] a hook point, such as blocks.3.hook_resid_post
    activations/sample_i_rejected   the same
    sequences/sample_i_chosen       positions [n]: where each row is; every position, or those that were kept
                                    token_ids [length], tokens [length]: the whole sequence
    sequences/sample_i_rejected     the same

i is the 0-based number of the pair in the run; tokens that both sides share are in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.export.vectors import Held, even
from actkit.runs.reader import Ints, Rows, part_of, parts, rows_of, span

Compression = Literal["gzip", "lzf", "none"]
CHUNK = 2**20
"""About how many bytes a compressed chunk has; a reader unpacks a whole chunk."""
SIDES = ("chosen", "rejected")
GROUPS = ("metadata", "activations", "sequences")
NO_TEXT = "\ufffd"
"""Stands for a NUL, which HDF5 takes for the end of a text."""


@dataclass(frozen=True)
class Side:
    """One side of a pair: the sequences that make it up, the shared one first."""

    number: int
    """The pair's number in the run."""
    record_id: int
    name: str
    sequence_ids: Sequence[int]


def write(job: ExportJob, compression: Compression = "gzip") -> None:
    """Write the pairs of a `dpo` run, shard by shard. Raises RunError for a run without activations."""
    import h5py

    held = even(job)
    files = parts(job.run, "pairs")
    with h5py.File(job.out, "w") as file:
        file.attrs.update({"command": job.command, "model": str(job.facts["model"]["name"])})
        metadata, activations, sequences = (file.create_group(name) for name in GROUPS)
        number = 0
        for done, part in enumerate(files, 1):
            pairs = part_of(job.run, "pairs", part).to_pylist()
            rows = part_of(job.run, "sequences", part, ["sequence_id", "record_id", "side"])
            sides = list(_sides(pairs, rows, number))
            for index, row in enumerate(pairs):
                metadata.create_group(f"sample_{number + index}").attrs.update(_about(row))
            groups, texts = (
                {(side.number, side.name): of.create_group(f"sample_{side.number}_{side.name}") for side in sides}
                for of in (activations, sequences)
            )
            for side in sides:
                groups[side.number, side.name].attrs["record_id"] = side.record_id
            _write_tokens(texts, sides, part_of(job.run, "tokens", part, ["sequence_id", "token_id", "token"]))
            _write_vectors(groups, texts, sides, job.run / "activations" / part.name, held, compression)
            number += len(pairs)
            job.progress(done / len(files))


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: row[name] for name in ("record_id", "status", "chosen_length", "rejected_length")}
    apart = {f"{side}_divergence_idx": row[f"{side}_divergence"] for side in SIDES}
    return about | {name: -1 if position is None else position for name, position in apart.items()}


def _sides(pairs: Sequence[Mapping[str, Any]], sequences: pa.Table, first: int) -> Iterator[Side]:
    """Yield both sides of each pair. Sides of equal tokens have the shared sequence alone."""
    of: dict[int, dict[str, int]] = {}
    for row in sequences.to_pylist():
        of.setdefault(row["record_id"], {})[row["side"]] = row["sequence_id"]
    for number, pair in enumerate(pairs, first):
        record_id = pair["record_id"]
        if record_id not in of:
            raise RunError(f"record {record_id} has a pair but no sequences", "the run's tables do not fit together")
        for name in SIDES:
            own = [of[record_id][side] for side in ("shared", name) if side in of[record_id]]
            yield Side(number, record_id, name, own)


def _write_tokens(groups: Mapping[tuple[int, str], Any], sides: Sequence[Side], tokens: pa.Table) -> None:
    import h5py

    sequence_ids, token_ids = tokens["sequence_id"].to_numpy(), tokens["token_id"].to_numpy()
    for side in sides:
        spans = [span(sequence_ids, sequence_id) for sequence_id in side.sequence_ids]
        texts = [text.replace("\0", NO_TEXT).encode() for span in spans for text in tokens["token"][span].to_pylist()]
        group = groups[side.number, side.name]
        group.create_dataset("token_ids", data=np.concatenate([token_ids[span] for span in spans]))
        widest = h5py.string_dtype("utf-8", max(map(len, texts), default=1) or 1)
        group.create_dataset("tokens", data=np.array(texts, dtype=widest))


def _write_vectors(
    groups: Mapping[tuple[int, str], Any],
    texts: Mapping[tuple[int, str], Any],
    sides: Sequence[Side],
    part: Path,
    held: Sequence[Held],
    compression: str,
) -> None:
    missing = {vectors.hook_point: vectors for vectors in held}
    for rows in rows_of(part, as_stored=True) if part.exists() else ():
        if rows.hook_point not in missing:  # its vectors differ in length in another shard
            continue
        for side in sides:
            positions, vectors = _joined(rows, side)
            _dataset(groups[side.number, side.name], rows.hook_point, vectors, compression)
            _positions(texts[side.number, side.name], positions)
        del missing[rows.hook_point]
    nothing = np.zeros(0, dtype=np.int64)
    for without_rows in missing.values():  # the shard kept no position of theirs
        for side in sides:
            empty = np.zeros((0, without_rows.width or 0), dtype=without_rows.dtype)
            _dataset(groups[side.number, side.name], without_rows.hook_point, empty, compression)
            _positions(texts[side.number, side.name], nothing)


def _joined(rows: Rows, side: Side) -> tuple[Ints, npt.NDArray[Any]]:
    own = [span(rows.sequence_ids, sequence_id) for sequence_id in side.sequence_ids]
    return np.concatenate([rows.positions[at] for at in own]), np.concatenate([rows.activations[at] for at in own])


def _positions(group: Any, positions: Ints) -> None:
    if "positions" not in group:
        group.create_dataset("positions", data=positions)


def _dataset(group: Any, name: str, vectors: npt.NDArray[Any], compression: str) -> None:
    options: dict[str, Any] = {}
    if compression != "none" and vectors.size:
        rows = max(CHUNK // vectors[0].nbytes, 1)
        # Grouping bytes of equal significance compresses better.
        options = {"compression": compression, "shuffle": True, "chunks": (min(rows, len(vectors)), vectors.shape[1])}
    group.create_dataset(name, data=vectors, **options)
