"""The tables `pair_diffs` and `pair_stats`: how far chosen and rejected are apart, pair by pair and layer by layer.

There are two measures. At the divergence both sides have read the same tokens but for the one that differs. The
response means are over all kept positions of each response, the shared beginning of the two included. They leave out
tokens that the chat template puts after a response: an end-of-turn token is the same on both sides, and would be much
of a short answer's mean. They leave out special tokens and attention sinks too, whose norms are many times as large.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.columns import Bools
from actkit.analysis.pair_vectors import (
    SIDES,
    PreferencePairs,
    Vectors,
    divergence_rows,
    pairs_of,
    response_means,
)
from actkit.runs.reader import Rows, is_special, parts, rows_of, special_keys
from actkit.schemas import arrow_schema

MEASURES = ("divergence_diff_norm", "divergence_cosine", "response_diff_norm", "response_cosine")


def pair_diffs(run: Path, also: Callable[[Rows, Bools], None] = lambda _rows, _plain: None) -> Iterator[pa.Table]:
    """Yield a table a shard, with a row a pair and hook point.

    `also` gets each hook point's rows, so that nothing is read twice, and a mask [n] of those that are not special.
    """
    schema = arrow_schema("pair_diffs")
    for part in parts(run, "activations"):
        pairs, special = pairs_of(run, part), special_keys(run, part)
        of_points = []
        for rows in rows_of(part):
            plain = ~is_special(rows, special)
            also(rows, plain)
            of_points.append(_of_point(pairs, rows, plain))
        found = pa.concat_tables([schema.empty_table(), *of_points])
        yield found.sort_by([(name, "ascending") for name in ("record_id", "layer", "hook_point")])


def pair_stats(diffs: Sequence[pa.Table]) -> pa.Table:
    """Summarise each hook point's measures over all pairs that have them, from the tables of `pair_diffs`."""
    values: dict[tuple[int, str], dict[str, list[Vectors]]] = {}
    for table in diffs:
        points = table["hook_point"].to_numpy(zero_copy_only=False)
        layers = table["layer"].to_numpy()
        for layer, point in set(zip(layers.tolist(), points.tolist(), strict=True)):
            here = values.setdefault((layer, point), {measure: [] for measure in MEASURES})
            for measure in MEASURES:
                column = table[measure].to_numpy(zero_copy_only=False).astype(np.float64)[points == point]
                here[measure].append(column[~np.isnan(column)])
    rows = [
        {"layer": layer, "hook_point": point, "measure": measure, **summary_of(np.concatenate(columns))}
        for (layer, point), measures in sorted(values.items())
        for measure, columns in measures.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("pair_stats"))


def summary_of(values: Vectors) -> dict[str, Any]:
    """The columns of `pair_stats` about values [n_pairs]."""
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


def _of_point(pairs: PreferencePairs, rows: Rows, plain: Bools) -> pa.Table:
    """The rows of one hook point, in order of pairs."""
    n = len(pairs.record_ids)
    values, missing = np.zeros((n, len(MEASURES))), np.ones((n, len(MEASURES)), dtype=np.bool_)
    counts = np.zeros((n, len(SIDES)), dtype=np.int64)
    at = [divergence_rows(pairs, side, rows) for side in SIDES]
    for here, means, of_each in response_means(pairs, rows, plain):
        chosen, rejected = (rows.activations[own[here]].astype(np.float64) for own in at)
        stored = (at[0][here] >= 0) & (at[1][here] >= 0)
        divergence = _compared(chosen, rejected, stored)
        response = _compared(means[:, 0], means[:, 1], np.asarray((of_each > 0).all(axis=1)))
        counts[here] = of_each
        for found, both in zip((values, missing), zip(divergence, response, strict=True), strict=True):
            found[here] = np.concatenate(both, axis=1)
    columns = {"record_id": pairs.record_ids, "layer": np.full(n, rows.layer), "hook_point": [rows.hook_point] * n}
    columns |= {name: pa.array(values[:, number], mask=missing[:, number]) for number, name in enumerate(MEASURES)}
    for number, side in enumerate(SIDES):
        columns[f"{side}_response_positions"] = counts[:, number]
    return pa.table(columns, schema=arrow_schema("pair_diffs"))


def _compared(chosen: Vectors, rejected: Vectors, there: Bools) -> tuple[Vectors, Bools]:
    """[n, 2] norms of the differences of vectors [n, d_model] and their cosines; whether each is missing.

    Both are missing where a side is not `there`; the cosine is missing also where a vector is zero.
    """
    apart = chosen - rejected
    norms = np.sqrt(_products(chosen, chosen)) * np.sqrt(_products(rejected, rejected))
    cosines = _products(chosen, rejected) / np.where(norms > 0, norms, 1)
    values = np.stack([np.sqrt(_products(apart, apart)), cosines], axis=1)
    return values, np.stack([~there, ~there | (norms == 0)], axis=1)


def _products(first: Vectors, second: Vectors) -> Vectors:
    """[n] inner products of vectors [n, d_model]."""
    found: Vectors = np.matmul(first[:, None, :], second[:, :, None])[:, 0, 0]
    return found
