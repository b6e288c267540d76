"""The tables `pair_diffs` and `pair_stats`: how far chosen and rejected are apart, pair by pair and layer by layer.

Two measures. At the divergence both sides have read the same tokens but for the one that differs. The response means
are over all kept positions of each response, the shared beginning of the two included, and what the chat template puts
after it left out: an end-of-turn token is the same on both sides, and of a short answer it would be much of the mean.
Special tokens and attention sinks are left out of the means too, since their norms are many times as large.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.reader import Rows, is_special, part_of, parts, rows_of, special_keys
from actkit.schemas import arrow_schema

MEASURES = ("divergence_diff_norm", "divergence_cosine", "response_diff_norm", "response_cosine")
Vector = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PairPlace:
    """Where one pair's sequences are, where its responses stand, and where its divergence begins."""

    record_id: int
    sequences: Mapping[str, int]
    """side → sequence_id."""
    response: Mapping[str, tuple[int, int]]
    """side → positions [first, last) of its response."""
    divergence: Mapping[str, int | None]


def pair_diffs(run: Path) -> Iterator[pa.Table]:
    """One row a pair and hook point; one table a shard."""
    for part in parts(run, "activations"):
        pairs = list(pairs_of(run, part))
        special = special_keys(run, part)
        found: list[dict[str, Any]] = []
        for rows in rows_of(part):
            slices, plain = slices_of(rows), ~is_special(rows, special)
            found.extend(_row(pair, rows, slices, plain) for pair in pairs)
        found.sort(key=lambda row: (row["record_id"], row["layer"], row["hook_point"]))
        yield pa.Table.from_pylist(found, schema=arrow_schema("pair_diffs"))


def pair_stats(diffs: Sequence[pa.Table]) -> pa.Table:
    """Each hook point's measures over all pairs that have them, from the tables of `pair_diffs`."""
    values: dict[tuple[int, str], dict[str, list[Vector]]] = {}
    for table in diffs:
        points = table["hook_point"].to_numpy(zero_copy_only=False)
        layers = table["layer"].to_numpy()
        for layer, point in set(zip(layers.tolist(), points.tolist(), strict=True)):
            here = values.setdefault((layer, point), {measure: [] for measure in MEASURES})
            for measure in MEASURES:
                column = table[measure].to_numpy(zero_copy_only=False).astype(np.float64)[points == point]
                here[measure].append(column[~np.isnan(column)])
    rows = [
        {"layer": layer, "hook_point": point, "measure": measure, **_summary(np.concatenate(columns))}
        for (layer, point), measures in sorted(values.items())
        for measure, columns in measures.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("pair_stats"))


def _summary(values: Vector) -> dict[str, Any]:
    if not len(values):
        return {"n_pairs": 0}
    return {
        "n_pairs": len(values),
        "mean": values.mean(),
        "std": values.std(ddof=1) if len(values) > 1 else None,
        "median": np.median(values),
        "min": values.min(),
        "max": values.max(),
    }


def pairs_of(run: Path, part: Path) -> Iterator[PairPlace]:
    """The pairs of the shard of `part`, in order."""
    of_record: dict[int, dict[str, int]] = {}
    for row in part_of(run, "sequences", part).select(["record_id", "side", "sequence_id"]).to_pylist():
        of_record.setdefault(row["record_id"], {})[row["side"]] = row["sequence_id"]
    answered = _answered(run, part)
    for row in part_of(run, "pairs", part).to_pylist():
        sides, sequences = ("chosen", "rejected"), of_record[row["record_id"]]
        ends = {side: max(answered.get(sequences.get(name, -1), 0) for name in ("shared", side)) for side in sides}
        yield PairPlace(
            row["record_id"],
            sequences,
            {side: (row[f"{side}_response_start"], ends[side]) for side in sides},
            {side: row[f"{side}_divergence"] for side in sides},
        )


def _answered(run: Path, part: Path) -> dict[int, int]:
    """sequence_id → one past its last position that is an assistant's."""
    tokens = part_of(run, "tokens", part, ["sequence_id", "position", "role"])
    said = tokens.filter(pc.equal(tokens["role"], "assistant"))
    # Positions of a sequence ascend, so that the last one stays.
    return dict(zip(said["sequence_id"].to_pylist(), pc.add(said["position"], 1).to_pylist(), strict=True))


def slices_of(rows: Rows) -> dict[int, slice]:
    """sequence_id → its rows, which stand together."""
    ids, starts = np.unique(rows.sequence_ids, return_index=True)
    ends = [*starts[1:].tolist(), len(rows.sequence_ids)]
    return {int(sequence_id): slice(int(start), end) for sequence_id, start, end in zip(ids, starts, ends, strict=True)}


def _row(pair: PairPlace, rows: Rows, slices: Mapping[int, slice], plain: Bools) -> dict[str, Any]:
    at = {side: at_divergence(pair, side, rows, slices) for side in ("chosen", "rejected")}
    means = {side: response_mean(pair, side, rows, slices, plain) for side in ("chosen", "rejected")}
    row: dict[str, Any] = {"record_id": pair.record_id, "layer": rows.layer, "hook_point": rows.hook_point}
    row["divergence_diff_norm"], row["divergence_cosine"] = _compare(at["chosen"], at["rejected"])
    row["response_diff_norm"], row["response_cosine"] = _compare(means["chosen"][0], means["rejected"][0])
    for side in ("chosen", "rejected"):
        row[f"{side}_response_positions"] = means[side][1]
    return row


def at_divergence(pair: PairPlace, side: str, rows: Rows, slices: Mapping[int, slice]) -> Vector | None:
    """The side's vector [d_model] at the divergence; None where it has no token there or none is stored."""
    position, where = pair.divergence[side], slices.get(pair.sequences.get(side, -1))
    if position is None or where is None:
        return None
    found = rows.activations[where][rows.positions[where] == position]
    return found[0].astype(np.float64) if len(found) else None


def response_mean(
    pair: PairPlace, side: str, rows: Rows, slices: Mapping[int, slice], plain: Bools
) -> tuple[Vector | None, int]:
    """The mean [d_model] of the side's answer over its rows that are `plain` [n], and how many; None without any."""
    total, n = np.zeros(rows.activations.shape[1]), 0
    first, last = pair.response[side]
    for part in ("shared", side):
        where = slices.get(pair.sequences.get(part, -1))
        if where is not None:
            positions = rows.positions[where]
            response = rows.activations[where][(positions >= first) & (positions < last) & plain[where]]
            total += response.sum(axis=0, dtype=np.float64)
            n += len(response)
    return (total / n if n else None), n


def _compare(chosen: Vector | None, rejected: Vector | None) -> tuple[float | None, float | None]:
    """Norm of the difference, and cosine; None where a side is missing, and no cosine with a zero vector."""
    if chosen is None or rejected is None:
        return None, None
    norms = float(np.linalg.norm(chosen) * np.linalg.norm(rejected))
    return float(np.linalg.norm(chosen - rejected)), float(chosen @ rejected) / norms if norms else None
