"""Contrast pairs read back from a run: one vector a side and hook point, and how far apart the two are."""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from actkit.analysis.shards import Ints, part_of, parts, rows_of
from actkit.schemas import arrow_schema

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """The pairs of a run, in order; all arrays [n_pairs]."""

    record_ids: Ints
    positive: Ints
    negative: Ints
    """sequence_id of each side."""
    stems: Ints
    templates: Ints
    """Numbers that stand for the pair's stem and template."""
    n_stems: int
    n_joined: int
    """Stems that were made one with another, since a text of theirs is the other's too."""
    template_names: tuple[str | None, ...]


@dataclass(frozen=True)
class Sides:
    """Both sides of all pairs at one hook point, [n_pairs, d_model] each."""

    layer: int
    hook_point: str
    positive: Floats32
    negative: Floats32


def read_pairs(run: Path) -> Pairs:
    """The pairs of a run whose sequences are labelled positive and negative.

    Stems that have a text in common are one: else a text that was fitted on could be held out too.
    """
    columns = ["sequence_id", "record_id", "label", "group", "template", "text"]
    found = []
    for part in parts(run, "sequences"):
        table = part_of(run, "sequences", part, columns)
        texts = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in table["text"].to_pylist()]
        found.append(table.drop_columns("text").append_column("text", pa.array(texts, pa.binary())))
    whole = pa.concat_tables(found)
    positive, negative = (whole.filter(pc.equal(whole["label"], side)) for side in ("positive", "negative"))
    names, templates = positive["group"].to_pylist(), positive["template"].to_pylist()
    stems = joined(names, positive["text"].to_pylist(), negative["text"].to_pylist())
    template_names = tuple(dict.fromkeys(templates))
    template_number = {name: number for number, name in enumerate(template_names)}
    n_stems = len(set(stems.tolist()))
    return Pairs(
        positive["record_id"].to_numpy(),
        positive["sequence_id"].to_numpy(),
        negative["sequence_id"].to_numpy(),
        stems,
        np.array([template_number[name] for name in templates], dtype=np.int64),
        n_stems,
        len(set(names)) - n_stems,
        template_names,
    )


def joined(*keys: Sequence[Hashable]) -> Ints:
    """[n] numbers of rows, equal where two have one of their `keys` [n] in common, themselves or by way of other rows.

    Numbers are in order of their first row. Bytes are the same key in each of `keys`, others in their own alone.
    """
    n, rows = len(keys[0]), np.tile(np.arange(len(keys[0])), len(keys))
    number: dict[Hashable, int] = {}
    # Texts are texts on either side; a stem that reads as one of them is still a stem.
    named = [key if isinstance(key, bytes) else (at, key) for at, column in enumerate(keys) for key in column]
    ends = n + np.array([number.setdefault(key, len(number)) for key in named], dtype=np.int64)
    size = n + len(number)
    graph = sp.coo_array((np.ones(len(rows)), (rows, ends)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    first: dict[int, int] = {}
    return np.array([first.setdefault(one, len(first)) for one in component[:n].tolist()], dtype=np.int64)


def read_sides(run: Path, pairs: Pairs, hook_point: str, last_only: bool) -> Sides:
    """The mean of each side's stored positions at one hook point, or the last of them; summed in float64."""
    order = np.sort(np.concatenate([pairs.positive, pairs.negative]))
    total, count, layer = np.zeros(0), np.zeros(len(order)), -1
    for part in parts(run, "activations"):
        for rows in rows_of(part, hook_point):
            read = np.isin(rows.sequence_ids, order)
            if last_only:
                read &= np.append(rows.sequence_ids[1:] != rows.sequence_ids[:-1], True)
            if not len(total):
                total = np.zeros((len(order), rows.activations.shape[1]))
            at = np.searchsorted(order, rows.sequence_ids[read])
            np.add.at(total, at, rows.activations[read])
            count += np.bincount(at, minlength=len(order))
            layer = rows.layer
    total /= np.maximum(count, 1)[:, None]
    positive, negative = (
        total[np.searchsorted(order, one)].astype(np.float32) for one in (pairs.positive, pairs.negative)
    )
    return Sides(layer, hook_point, positive, negative)


def row_norms(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """[n] float64: the norms of the rows of [n, d_model], without a copy of it in float64."""
    found: npt.NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return found


def contrast_rows(pairs: Pairs, sides: Sides) -> pa.Table:
    """The table `contrasts` of one hook point: one row a pair."""
    norms = row_norms(sides.positive) * row_norms(sides.negative)
    products = np.einsum("nd,nd->n", sides.positive, sides.negative, dtype=np.float64)
    cosine = products / np.where(norms > 0, norms, 1)
    n = len(pairs.record_ids)
    columns = {
        "record_id": pa.array(pairs.record_ids),
        "template": pa.array([pairs.template_names[one] for one in pairs.templates], pa.string()),
        "layer": pa.array(np.full(n, sides.layer, dtype=np.int32)),
        "hook_point": pa.array([sides.hook_point] * n),
        "diff_norm": pa.array(row_norms(sides.positive.astype(np.float64) - sides.negative)),
        "cosine": pa.array(cosine, mask=norms == 0),
    }
    return pa.table(columns, schema=arrow_schema("contrasts"))


def contrast_stats(tables: Iterator[pa.Table]) -> pa.Table:
    """The table `pair_stats` of them: what the pairs' differences are like, a hook point and measure."""
    rows = []
    for table in tables:
        for measure in ("diff_norm", "cosine"):
            values = table[measure].drop_null().to_numpy()
            if not len(values):
                continue
            rows.append(
                {
                    "layer": table["layer"][0].as_py(),
                    "hook_point": table["hook_point"][0].as_py(),
                    "measure": measure,
                    "n_pairs": len(values),
                    "mean": float(values.mean()),
                    "std": float(values.std(ddof=1)) if len(values) > 1 else None,
                    "median": float(np.median(values)),
                    "min": float(values.min()),
                    "max": float(values.max()),
                }
            )
    return pa.Table.from_pylist(rows, schema=arrow_schema("pair_stats"))
