"""The features of all SAEs of a run in one order, with false-discovery control over all of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import false_discovery_control

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.contexts import Strongest, contexts_of
from actkit.runs.reader import parts, places, sae_groups
from actkit.schemas import CONTEXTS, arrow_schema

CONTEXTS_KEPT = 3
ENDS = 100
"""Features at either end of the ranking whose contexts are written."""
THRESHOLDS = (0.5, 0.6)
"""Least activation and least correlation, as the older script had them."""
BY_CHANCE = 0.05
"""The largest `p_largest`: how often an SAE's best feature may be as far from 0.5 by chance."""
EVIDENCE = ("auroc", "q_value", "p_largest", "auroc_heldout", "auroc_length_adjusted")
Url = Callable[[int], str | None]


def ranked(
    tables: Mapping[str, pa.Table],
    q: float,
    activation_threshold: float | None,
    correlation_threshold: float | None,
    left_of_length: float = 0.0,
) -> tuple[pa.Table, dict[str, Any]]:
    """Sort all SAEs' rows (SAE → rows) by AUROC, largest first, with rank, q over all rows, and a verdict on each.

    A feature responds to texts of one label where all evidence says so. Its q is at most `q`. Its AUROC is further from
    0.5 than the SAE's best feature gets by chance in 19 of 20 exchanges of labels. Its AUROCs in the held-out texts and
    among texts of about equal length are on the same side of 0.5, where they are known. Where length tells labels
    apart, the latter must be known, and further from 0.5 than the AUROC of length is there (`left_of_length`): texts
    that differ in length throughout are not made equal. Thresholds are conditions where they are given. Returns the
    rows, and counts of the features found.
    """
    named = [part.append_column("sae", pa.array([name] * len(part), pa.string())) for name, part in tables.items()]
    table = pa.concat_tables(named)
    table = table.append_column("q_value", pa.array(benjamini_hochberg(table["p_value"].to_numpy())))
    table = table.take(pc.sort_indices(table, sort_keys=[("auroc", "descending"), ("feature_id", "ascending")]))
    columns = {name: table[name].to_numpy() for name in (*EVIDENCE, "activation_strength", "correlation")}
    side = np.sign(columns["auroc"] - 0.5)
    later, adjusted = columns["auroc_heldout"], columns["auroc_length_adjusted"]
    agrees = side * (later - 0.5) > 0
    significant = columns["q_value"] <= q
    beyond_chance = columns["p_largest"] <= BY_CHANCE
    not_length = np.where(np.isnan(adjusted), left_of_length == 0, side * (adjusted - 0.5) > left_of_length)
    holds = (agrees | np.isnan(later)) & not_length
    least = activation_threshold, correlation_threshold
    passes = _passes(
        columns, side, *(usual if given is None else given for given, usual in zip(least, THRESHOLDS, strict=True))
    )
    asked = _passes(columns, side, *(-np.inf if given is None else given for given in least))
    responds = significant & beyond_chance & holds & asked & (side != 0)
    found = {
        "tested": len(table),
        "q": q,
        "significant": _sides(significant, side),
        "beyond_the_best_of_chance": _sides(significant & beyond_chance, side),
        "respond_to": _sides(responds, side),
        "respond_and_pass_thresholds": _sides(responds & passes, side),
    }
    verdict = np.where(side > 0, "positive", "negative")
    return (
        table.append_column("rank", pa.array(np.arange(1, len(table) + 1)))
        .append_column("heldout_agrees", pa.array(agrees, mask=np.isnan(later)))
        .append_column("responds_to", pa.array(verdict, pa.string(), mask=~responds))
        .append_column("passes_thresholds", pa.array(passes)),
        found,
    )


def _passes(columns: Mapping[str, Any], side: Floats, activation: float, correlation: float) -> Bools:
    """[n] whether features reach both thresholds; the correlation is with the label of their own side."""
    own = np.nan_to_num(columns["correlation"]) * np.where(side < 0, -1, 1)
    found: Bools = (columns["activation_strength"] >= activation) & (own >= correlation)
    return found


def _sides(which: Bools, side: Floats) -> dict[str, int]:
    return {"positive": int((which & (side > 0)).sum()), "negative": int((which & (side < 0)).sum())}


def finished(run: Path, table: pa.Table, urls: Mapping[str, Url], sequence_ids: Ints) -> pa.Table:
    """Make the table `feature_scores` of ranked rows: with URLs of features' pages, and contexts at both ends."""
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
    """Read the strongest texts of the features at both `ends`; null elsewhere."""
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
    """Compute the q of each p [n]: the smallest false-discovery rate at which it is among the discoveries.

    The step-up procedure of Benjamini & Hochberg (1995), valid for tests that are independent or positively dependent.
    NaN stays NaN and does not count as a test. Raises ValueError for a p outside of 0 to 1.
    """
    found, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    found[tested] = false_discovery_control(p[tested])
    return found
