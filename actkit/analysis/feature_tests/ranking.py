"""The features of all SAEs of a run in one order, with false-discovery control over all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.columns import Floats
from actkit.analysis.contexts import Strongest, contexts_of
from actkit.analysis.feature_tests.labelled import Bools
from actkit.runs.reader import Ints, parts, places, sae_groups
from actkit.schemas import CONTEXTS, arrow_schema

CONTEXTS_KEPT = 3
ENDS = 100
"""Features at either end of the ranking whose contexts are written."""
Url = Callable[[int], str | None]


def ranked(
    tables: Mapping[str, pa.Table], q: float, activation_threshold: float, correlation_threshold: float
) -> tuple[pa.Table, dict[str, Any]]:
    """All SAEs' rows (SAE → rows) by AUROC, largest first, with rank, q over all of them, and which survive.

    Returns the rows and how many were found. A feature survives when it responds to positive texts at that
    false-discovery rate and is above both thresholds.
    """
    named = [part.append_column("sae", pa.array([name] * len(part), pa.string())) for name, part in tables.items()]
    table = pa.concat_tables(named)
    table = table.append_column("q_value", pa.array(benjamini_hochberg(table["p_value"].to_numpy())))
    table = table.take(pc.sort_indices(table, sort_keys=[("auroc", "descending"), ("feature_id", "ascending")]))
    area, later = table["auroc"].to_numpy(), table["auroc_heldout"].to_numpy()
    significant = table["q_value"].to_numpy() <= q
    survives = (
        significant
        & (area > 0.5)
        & (table["activation_strength"].to_numpy() >= activation_threshold)
        & (np.nan_to_num(table["correlation"].to_numpy()) >= correlation_threshold)
    )
    found = {
        "tested": len(table),
        "q": q,
        "respond_to_positive": int((significant & (area > 0.5)).sum()),
        "respond_to_negative": int((significant & (area < 0.5)).sum()),
        "above_thresholds": int(survives.sum()),
    }
    agrees = pa.array(np.sign(later - 0.5) == np.sign(area - 0.5), mask=np.isnan(later))
    table = table.append_column("rank", pa.array(np.arange(1, len(table) + 1)))
    return table.append_column("heldout_agrees", agrees).append_column("survives", pa.array(survives)), found


def finished(run: Path, table: pa.Table, urls: Mapping[str, Url], sequence_ids: Ints) -> pa.Table:
    """Ranked rows as the table `feature_scores`: with pages on Neuronpedia, and contexts at both ends."""
    names, ids = table["sae"].to_pylist(), table["feature_id"].to_pylist()
    ends = np.zeros(len(table), dtype=np.bool_)
    ends[:ENDS] = ends[-ENDS:] = True
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    for name, column in columns.items():
        if pa.types.is_floating(column.type):
            columns[name] = pc.if_else(pc.is_nan(column), None, column)
    pages = [urls[name](feature) for name, feature in zip(names, ids, strict=True)]
    columns["url"] = pa.array(pages, pa.string())
    columns["contexts"] = _contexts(run, np.array(names, dtype=object), np.array(ids), ends, list(urls), sequence_ids)
    schema = arrow_schema("feature_scores")
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def _contexts(run: Path, names: Any, ids: Ints, ends: Bools, saes: Sequence[str], sequence_ids: Ints) -> pa.Array:
    """The strongest texts of the features at both ends, null elsewhere."""
    found: list[Any] = [None] * len(ids)
    for sae in saes:
        rows = np.flatnonzero(ends & (names == sae))
        chosen = np.sort(ids[rows])
        strongest = _strongest(run, sae, chosen, sequence_ids)
        lists = contexts_of(run, strongest, np.arange(len(chosen)).tolist()).to_pylist()
        for row in rows.tolist():
            found[row] = lists[int(np.searchsorted(chosen, ids[row]))]
    return pa.array(found, type=CONTEXTS)


def _strongest(run: Path, sae: str, chosen: Ints, sequence_ids: Ints) -> Strongest:
    strongest = Strongest(len(chosen), CONTEXTS_KEPT)
    for part in parts(run, "pooled_features"):
        for group in sae_groups(part, sae):
            group = group.filter(pa.array(places(sequence_ids, group["sequence_id"].to_numpy())[1]))
            lengths = pc.list_value_length(group["feature_ids"]).to_numpy()
            features, values, positions = (
                pc.list_flatten(group[f"feature_{what}"]).to_numpy() for what in ("ids", "activations", "positions")
            )
            wanted = np.isin(features, chosen)
            strongest.add(
                np.searchsorted(chosen, features[wanted]),
                values[wanted],
                np.repeat(group["sequence_id"].to_numpy(), lengths)[wanted],
                positions[wanted].astype(np.int64),
            )
    return strongest


def benjamini_hochberg(p: Floats) -> Floats:
    """For each p [n] its q: the smallest false-discovery rate at which it is among the discoveries.

    The step-up procedure of Benjamini & Hochberg (1995), valid for tests that are independent or positively dependent.
    NaN stays NaN and does not count as a test. Raises ValueError for a p outside of 0 to 1.
    """
    p = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError("a p-value is outside of 0 to 1")
    found = np.full(p.shape, np.nan)
    order = np.flatnonzero(tested)[np.argsort(p[tested], kind="stable")]
    n = len(order)
    scaled = p[order] * n / np.arange(1, n + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
