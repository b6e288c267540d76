"""Chosen − rejected of every preference pair at one hook point, and both sides' projections token by token."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.analysis.pair_vectors import SIDES, PreferencePairs, pairs_of, response_means
from actkit.plots.picked import layer_shown
from actkit.plots.picture import LackingError, Pick, Source, needs
from actkit.runs.reader import Rows, is_special, keys_of, parts, rows_of, special_keys

Floats = npt.NDArray[np.float64]
MOST_PAIRS = 2_000
"""Pairs whose vectors are in memory together; a picture of fewer than all says so."""
SIGNS = 400
"""Random exchanges of sides that a null band is made of."""


def rows_of_pairs(run: Source) -> list[dict[str, Any]]:
    """The table `pairs`."""
    needs(run, "pairs")
    found: list[dict[str, Any]] = run.table("pairs").to_pylist()
    return found


def layer_of(run: Source, pick: Pick) -> tuple[int, str]:
    """The layer that pictures of one layer show. Raises LackingError."""
    needs(run, "activations")
    needs(run, "pairs")
    table = run.table("pair_diffs", ["layer", "hook_point"]) if "pair_diffs" in run.tables else None
    if table is None or not len(table):
        raise LackingError("This run has no pair differences.", "--positions all stores what they need")
    known = {
        (group["layer"], group["hook_point"])
        for group in table.group_by(["layer", "hook_point"]).aggregate([]).to_pylist()
    }
    return layer_shown(run, pick, sorted(known))


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
    """Mean norm of the responses' means: what differences are measured against."""


def layer_differences(run: Source) -> list[LayerDifferences]:
    """Every hook point's mean difference and what chance gives; memory does not grow with the pairs."""
    sums: dict[tuple[int, str], dict[str, Any]] = {}
    for part in parts(run.path, "activations"):
        pairs, special = pairs_of(run.path, part), special_keys(run.path, part)
        for rows in rows_of(part):
            records, differences, scale = _differences(pairs, rows, special)
            if not len(records):
                continue
            here = sums.setdefault((rows.layer, rows.hook_point), {"n": 0, "sum": 0.0, "signed": 0.0, "scale": 0.0})
            here["n"] += len(records)
            here["sum"] = here["sum"] + differences.sum(axis=0)
            here["signed"] = here["signed"] + _signs(records) @ differences
            here["scale"] += scale
    found = []
    for (layer, point), here in sorted(sums.items()):
        null = np.linalg.norm(here["signed"], axis=1) / here["n"]
        scale = here["scale"] / here["n"]
        found.append(LayerDifferences(layer, point, here["n"], here["sum"] / here["n"], null, scale))
    if not found:
        raise LackingError("No pair of this run has stored activations on both sides.", "--positions all stores them")
    return found


def differences_at(run: Source, hook_point: str) -> tuple[npt.NDArray[np.int64], Floats]:
    """record_id [n] and chosen − rejected [n, d_model] of the first MOST_PAIRS pairs, of the response means."""
    ids, vectors, n = [], [], 0
    for part in parts(run.path, "activations"):
        pairs, special = pairs_of(run.path, part), special_keys(run.path, part)
        for rows in rows_of(part, hook_point):
            records, differences, _ = _differences(pairs, rows, special)
            ids.append(records)
            vectors.append(differences)
            n += len(records)
        if n >= MOST_PAIRS:
            break
    if not n:
        raise LackingError("No pair of this run has stored activations on both sides.", "--positions all stores them")
    return np.concatenate(ids)[:MOST_PAIRS], np.concatenate(vectors)[:MOST_PAIRS]


@dataclass(frozen=True)
class Drift:
    """One side of one pair after the divergence."""

    record_id: int
    side: str
    offsets: npt.NDArray[np.int64]
    """Tokens after the divergence."""
    values: Floats
    """Projection of each on the direction."""


def drifts(run: Source, hook_point: str, directions: tuple[Floats, Floats]) -> Iterator[Drift]:
    """Both sides of the first MOST_PAIRS pairs, each on the direction that its own half of the pairs did not make."""
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
                    yield Drift(record, side, rows.positions[here] - first, values)


def halves(records: npt.NDArray[np.int64], differences: Floats) -> tuple[Floats, Floats]:
    """Unit mean differences for even and for odd records, each of the other half alone."""
    found = []
    for half in (0, 1):
        others = differences[records % 2 != half]
        mean = others.mean(axis=0) if len(others) else differences.mean(axis=0)
        found.append(mean / max(float(np.linalg.norm(mean)), 1e-30))
    return found[0], found[1]


def _differences(
    pairs: PreferencePairs, rows: Rows, special: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Floats, float]:
    ids, found, scale = [], [], 0.0
    for here, means, counts in response_means(pairs, rows, ~is_special(rows, special)):
        both = (counts > 0).all(axis=1)
        ids.append(pairs.record_ids[here][both])
        found.append(means[both, 0] - means[both, 1])
        scale += float(np.linalg.norm(means[both], axis=2).sum()) / 2
    width = rows.activations.shape[1]
    return np.concatenate([np.zeros(0, np.int64), *ids]), np.concatenate([np.zeros((0, width)), *found]), scale


def _signs(records: npt.NDArray[np.int64]) -> Floats:
    """[SIGNS, n] of +1 and -1, the same for a record wherever it stands."""
    return np.array([np.random.default_rng([7, int(record)]).choice((-1.0, 1.0), SIGNS) for record in records]).T
