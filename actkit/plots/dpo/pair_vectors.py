"""Chosen − rejected of every preference pair at one hook point, and both sides' projections token by token."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.analysis.pair_vectors import SIDES, pairs_of, response_means
from actkit.plots.picture import LackingError, Pick, Source, layer_shown, needs
from actkit.runs.reader import Ints, Rows, is_special, keys_of, parts, rows_of, special_keys

Floats = npt.NDArray[np.float64]
MOST_PAIRS = 2_000
"""Pairs whose vectors are in memory together; a picture of fewer than all says so."""
SIGNS = 400
"""Random exchanges of sides that make a null band."""


def layer_of(run: Source, pick: Pick) -> tuple[int, str]:
    """Return layer and hook point for pictures of one layer. Raises LackingError."""
    needs(run, "activations", "pairs")
    table = run.table("pair_diffs", ["layer", "hook_point"]) if "pair_diffs" in run.tables else None
    known = [] if table is None else table.group_by(table.column_names).aggregate([]).to_pylist()
    if not known:
        raise LackingError("This run has no pair differences.", "--positions all stores what they need")
    return layer_shown(run, pick, sorted((group["layer"], group["hook_point"]) for group in known))


@dataclass(frozen=True)
class LayerDifferences:
    """Differences at one hook point, over all pairs that have a response on both sides."""

    layer: int
    hook_point: str
    n: int
    mean: Floats
    """[d_model] mean of chosen − rejected, of the response means."""
    null: Floats
    """[SIGNS] norms of that mean when each pair's sides are exchanged at random."""
    scale: float
    """Mean norm of the responses' means: the scale for the size of differences."""


def layer_differences(run: Source) -> list[LayerDifferences]:
    """Return every hook point's mean difference with its null norms. Memory does not grow with the pairs."""
    sums: dict[tuple[int, str], tuple[Any, ...]] = {}
    for rows, records, differences, scale in _differences(run):
        own = (len(records), differences.sum(axis=0), _signs(records) @ differences, scale)
        key = (rows.layer, rows.hook_point)
        sums[key] = tuple(map(operator.add, sums[key], own)) if key in sums else own
    found = []
    for (layer, point), (n, total, exchanged, scale) in sorted(sums.items()):
        null = np.linalg.norm(exchanged, axis=1) / n
        found.append(LayerDifferences(layer, point, n, total / n, null, scale / n))
    return found


def differences_at(run: Source, hook_point: str) -> tuple[Ints, Floats]:
    """Return record_id [n] and chosen − rejected [n, d_model] of the first MOST_PAIRS pairs, of the response means."""
    ids: list[Ints] = []
    vectors: list[Floats] = []
    for _, records, differences, _ in _differences(run, hook_point):
        ids.append(records)
        vectors.append(differences)
        if sum(map(len, ids)) >= MOST_PAIRS:
            break
    return np.concatenate(ids)[:MOST_PAIRS], np.concatenate(vectors)[:MOST_PAIRS]


def drifts(run: Source, hook_point: str, directions: tuple[Floats, Floats]) -> Iterator[tuple[str, Ints, Floats]]:
    """Yield each side of the first MOST_PAIRS pairs: its name, tokens after the divergence [n], their projections [n].

    A pair is projected on the mean difference of the other half of the pairs, see `halves`.
    """
    n = 0
    for part in parts(run.path, "activations"):
        pairs = pairs_of(run.path, part)
        for rows in rows_of(part, hook_point):
            keys = keys_of(rows.sequence_ids, rows.positions)
            for number, record in enumerate(pairs.record_ids.tolist()):
                if n >= MOST_PAIRS:
                    return
                n += 1
                for side in SIDES:
                    first, sequence = int(pairs.divergence[side][number]), pairs.sequences[side][number]
                    if first < 0 or sequence < 0:
                        continue
                    window = np.array([first, max(first, int(pairs.response[side][1][number]))])
                    here = slice(*np.searchsorted(keys, keys_of(np.repeat(sequence, 2), window)).tolist())
                    values = rows.activations[here].astype(np.float64) @ directions[record % 2]
                    yield side, rows.positions[here] - first, values


def halves(records: Ints, differences: Floats) -> tuple[Floats, Floats]:
    """Return unit mean differences for even and odd records, each over the other half, or over all if that is empty."""
    found = []
    for half in (0, 1):
        others = differences[records % 2 != half]
        mean = others.mean(axis=0) if len(others) else differences.mean(axis=0)
        found.append(mean / max(float(np.linalg.norm(mean)), 1e-30))
    return found[0], found[1]


def _differences(run: Source, hook_point: str | None = None) -> Iterator[tuple[Rows, Ints, Floats, float]]:
    """Yield rows, record_id [n] of pairs stored on both sides, differences [n, width], summed norm of the means.

    Raises LackingError where there are none.
    """
    some = False
    for part in parts(run.path, "activations"):
        pairs, special = pairs_of(run.path, part), special_keys(run.path, part)
        for rows in rows_of(part, hook_point):
            ids: list[Ints] = []
            found: list[Floats] = []
            scale = 0.0
            for here, means, counts in response_means(pairs, rows, ~is_special(rows, special)):
                both = (counts > 0).all(axis=1)
                ids.append(pairs.record_ids[here][both])
                found.append(means[both, 0] - means[both, 1])
                scale += float(np.linalg.norm(means[both], axis=2).sum()) / 2
            if any(map(len, ids)):
                some = True
                yield rows, np.concatenate(ids), np.concatenate(found), scale
    if not some:
        raise LackingError("No pair of this run has stored activations on both sides.", "--positions all stores them")


def _signs(records: Ints) -> Floats:
    """Return signs [SIGNS, n] of +1 and -1, the same for a record in any part."""
    return np.array([np.random.default_rng([7, int(record)]).choice((-1.0, 1.0), SIGNS) for record in records]).T
