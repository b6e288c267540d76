"""Pictures of captured activations: size, similarity between layers and between tokens, and outliers."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actkit.plots.picture import Drawn, LackingError, Pick, Picture, Source, layer_shown, needs, sequence_shown
from actkit.plots.style import LOG, colour_bar, figure, label, layer_axis
from actkit.plots.traces import band, cosine_map, heat_map, line
from actkit.runs.by_sequence import parts_of_sequence, sequences_of
from actkit.runs.reader import Ints, Rows, is_special, parts, rows_of, span, special_keys

Floats = npt.NDArray[np.float64]
POSITIONS = 64
"""Positions from this one on are left out of pictures by position."""
COORDINATES = 16
TOKENS = 60
MOST_COSINES = 200_000
"""Positions whose cosines are kept for their quartiles, in the order of the run."""
NO_VECTORS = ("No vectors of one length are stored.", "capture hook_resid_post")


def kind_of(hook_point: str) -> str:
    """A hook point's name without its layer."""
    return hook_point.split(".", 2)[-1]


def rows_of_first_kind(part: Path) -> Iterator[Rows]:
    """Yield the rows of one part that are of the first kind of hook point."""
    kind = None
    for rows in rows_of(part):
        own = kind_of(rows.hook_point)
        kind = kind or own
        if own == kind:
            yield rows


def norms(run: Source, _pick: Pick) -> Drawn:
    """Draw the mean norm by layer and position."""
    needs(run, "activations")
    sums: dict[tuple[int, str], Floats] = {}
    for rows in (rows for part in parts(run.path, "activations") for rows in rows_of(part)):
        key = (rows.layer, rows.hook_point)
        size = np.linalg.norm(rows.activations.astype(np.float64), axis=1)
        here = rows.positions < POSITIONS
        at = rows.positions[here]
        own = np.array([np.bincount(at, size[here], POSITIONS), np.bincount(at, minlength=POSITIONS)])
        sums[key] = sums.get(key, 0) + own
    if not sums:
        raise LackingError(*NO_VECTORS)
    keys = sorted(sums)
    totals, counts = np.stack([sums[key] for key in keys], axis=1)
    stored = np.flatnonzero(counts.sum(axis=0) > 0)
    if not len(stored):
        raise LackingError(f"Nothing is stored before position {POSITIONS}.", "--positions all")
    # All positions in between: plotly widens cells next to a missing one.
    there = np.arange(stored[0], stored[-1] + 1)
    means = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)[:, there]
    shown = np.where(means > 0, np.log10(np.maximum(means, 1e-30)), np.nan)
    ticks = np.unique(np.floor(shown[np.isfinite(shown)]))
    ticks = np.unique(np.concatenate([ticks, ticks + np.log10(3), [np.nanmax(shown)]]))
    bar = colour_bar("mean norm") | {"tickvals": ticks.tolist(), "ticktext": [f"{10**tick:.3g}" for tick in ticks]}
    alone = len({kind_of(point) for _, point in keys}) == 1
    names = [str(layer) if alone else label(point) for layer, point in keys]
    hover = "position %{x}, layer %{y}: %{customdata:.4g}"
    heat = heat_map(shown, there.tolist(), names, hover, bar, customdata=means)
    made = figure(heat, height=max(300, 120 + 16 * len(keys)))
    made.update_xaxes(title="position (special tokens counted)", showgrid=False)
    made.update_yaxes(title="layer", showgrid=False, type="category")
    first = means[:, 0] / np.maximum(np.nanmedian(means, axis=1), 1e-30)
    return Drawn(
        made,
        "Norm of the activations by layer and position",
        f"Mean over up to {int(counts.max()):,} sequences a position, colours on a logarithmic scale; at position {there[0]} the norm is up to "
        f"{np.nanmax(first):,.1f} times the layer's median position. Means, without an interval.",
        "SELECT layer, position, avg(sqrt(list_inner_product(activation::FLOAT[], activation::FLOAT[]))) AS norm, count(*) AS n\n"
        f"FROM 'RUN/activations/*.parquet' WHERE position < {POSITIONS} GROUP BY ALL ORDER BY ALL",
    )


def layers(run: Source, _pick: Pick) -> Drawn:
    """Draw `layer_stats` by layer, with and without special tokens."""
    needs(run, "layer_stats")
    rows = [row for row in run.table("layer_stats").to_pylist() if row["n_positions"]]
    kinds = sorted({kind_of(row["hook_point"]) for row in rows})
    n = {
        special: max((r["n_positions"] for r in rows if r["special_tokens"] is special), default=0)
        for special in (True, False)
    }
    alike = n[True] == n[False]
    made, number = figure(), 0
    for kind in kinds:
        for special in (False,) if alike else (False, True):
            here = [row for row in rows if row["special_tokens"] is special and kind_of(row["hook_point"]) == kind]
            if not here:
                continue
            name = label(kind) + ("" if alike else f", special tokens {'counted' if special else 'left out'}")
            made.add_trace(line([row["layer"] for row in here], [row["mean_norm"] for row in here], name, number))
            number += 1
    values = [row["mean_norm"] for row in rows if row["mean_norm"]]
    wide = values and max(values) > 20 * min(values)
    layer_axis(made, [row["layer"] for row in rows])
    made.update_yaxes(title="mean norm of a position", **(LOG if wide else {"rangemode": "tozero"}))
    apart = "none of which is a special token" if alike else f"and of the {n[False]:,} that are no special tokens"
    return Drawn(
        made,
        "Norm of the activations by layer" + ("" if alike else ", with and without special tokens"),
        f"Mean norm of {n[True]:,} positions, {apart}; exact over all stored positions, so there is no interval.",
        "SELECT hook_point, layer, special_tokens, n_positions, mean_norm, std FROM 'RUN/layer_stats/*.parquet' ORDER BY ALL",
    )


def coordinates(run: Source, _pick: Pick) -> Drawn:
    """Draw the coordinates of the largest mean absolute value, by layer."""
    needs(run, "activations")
    totals: dict[int, Floats] = {}
    counts: Counter[int] = Counter()
    for part in parts(run.path, "activations"):
        special = special_keys(run.path, part)
        for rows in rows_of_first_kind(part):
            keep = ~is_special(rows, special)
            sizes = np.abs(rows.activations[keep]).sum(axis=0, dtype=np.float64)
            totals[rows.layer] = totals.get(rows.layer, 0) + sizes
            counts[rows.layer] += int(keep.sum())
    known = [layer for layer in sorted(totals) if counts[layer]]
    if not known:
        raise LackingError("No vectors of one length are stored, special tokens left out.", "--positions all")
    means = np.array([totals[layer] / counts[layer] for layer in known])
    shares = means / np.maximum(means.mean(axis=1, keepdims=True), 1e-30)
    top = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[:COORDINATES])
    names, hover = [str(layer) for layer in known], "coordinate %{x}, layer %{y}: %{z:.2f} ×"
    bar = colour_bar("× the layer's mean coordinate")
    heat = heat_map(shares[:, top], [str(coordinate) for coordinate in top], names, hover, bar, zmin=0)
    made = figure(heat, height=max(300, 120 + 16 * len(known)))
    made.update_xaxes(title="coordinate", type="category", showgrid=False)
    made.update_yaxes(title="layer", type="category", showgrid=False)
    best = np.unravel_index(int(shares.argmax()), shares.shape)
    return Drawn(
        made,
        "The largest coordinates",
        f"Mean |activation| of {counts[known[0]]:,} positions, special tokens left out, as a multiple of the layer's mean coordinate; the "
        f"largest is coordinate {best[1]} at layer {known[best[0]]}, {shares.max():.1f} times it. Means, without an interval.",
        "SELECT layer, i, avg(abs(activation[i + 1])) AS size FROM 'RUN/activations/*.parquet', range(len(activation)) t(i)\n"
        "GROUP BY ALL ORDER BY size DESC",
    )


def neighbours(run: Source, _pick: Pick) -> Drawn:
    """Draw the cosine of each position's vectors in neighbouring layers."""
    needs(run, "activations")
    found: dict[tuple[int, int], list[Floats]] = {}
    for part in parts(run.path, "activations"):
        special = special_keys(run.path, part)
        before: Rows | None = None
        for rows in sorted(rows_of_first_kind(part), key=lambda group: group.layer):
            if before is not None and before.activations.shape == rows.activations.shape:
                keep = ~is_special(rows, special)
                key = (before.layer, rows.layer)
                if sum(map(len, found.get(key, []))) < MOST_COSINES:
                    found.setdefault(key, []).append(_cosines(before.activations[keep], rows.activations[keep]))
            before = rows
    if not found:
        raise LackingError("Fewer than two layers are stored.", "--layers all")
    keys = sorted(found)
    values = [np.concatenate(found[key]) for key in keys]
    low, mid, high = (np.array([np.quantile(value, q) for value in values]) for q in (0.25, 0.5, 0.75))
    x = [a for a, _ in keys]
    made = figure(*band(x, low, high, "quartiles of the positions", "#2b7bba"), line(x, mid, "median", 0))
    layer_axis(made, x)
    made.update_xaxes(title="from this layer to the next stored one")
    made.update_yaxes(title="cosine of the same position", range=[min(0.0, float(low.min())), 1.02])
    return Drawn(
        made,
        "How much a layer turns the stream",
        f"Median and quartiles over {len(values[0]):,} positions, special tokens left out, of the cosine of a position's vectors in "
        "neighbouring stored layers.",
        "SELECT a.layer, b.layer AS next, list_cosine_similarity(a.activation::FLOAT[], b.activation::FLOAT[]) AS cosine\n"
        "FROM 'RUN/activations/*.parquet' a JOIN 'RUN/activations/*.parquet' b USING (sequence_id, position)\n"
        "WHERE b.layer = a.layer + 1",
    )


def similarity(run: Source, pick: Pick) -> Drawn:
    """Draw the token × token cosines of one sequence at one layer."""
    needs(run, "activations")
    known = [(rows.layer, rows.hook_point) for rows in rows_of(parts(run.path, "activations")[0])]
    if not known:
        raise LackingError(*NO_VECTORS)
    layer, point = layer_shown(run, pick, sorted(known))
    sequence = sequence_shown(run, pick)
    positions, vectors = (values[:TOKENS] for values in vectors_of(run, sequence, point))
    if len(positions) < 2:
        raise LackingError("Fewer than two positions of this text are stored.", "--positions all")
    text = sequences_of(run.path, [sequence])[sequence]
    pieces = {position: box.text for box in text.boxes for position in range(box.first, box.last + 1)}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    names = [f"{at} {label(pieces.get(at, '').replace(' ', '·'), 16)}" for at in positions.tolist()]
    made = figure(cosine_map(unit, names), height=210 + 13 * len(names))
    made.update_xaxes(showgrid=False, tickangle=-60, tickfont={"size": 10}, type="category", dtick=1)
    made.update_yaxes(showgrid=False, autorange="reversed", tickfont={"size": 10}, type="category", dtick=1)
    return Drawn(
        made,
        f"Cosine of every two tokens of sequence {sequence} at layer {layer}",
        f"The first {len(names)} stored positions of {text.row['n_tokens']:,}, special tokens included; one text, so there is no interval.",
        f"SELECT position, activation FROM 'RUN/activations/*.parquet' WHERE sequence_id = {sequence} AND layer = {layer} ORDER BY 1",
    )


def _cosines(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> Floats:
    sizes = np.linalg.norm(first, axis=1).astype(np.float64) * np.linalg.norm(second, axis=1)
    found: Floats = np.einsum("nd,nd->n", first, second, dtype=np.float64) / np.maximum(sizes, 1e-30)
    return found


def vectors_of(run: Source, sequence: int, point: str) -> tuple[Ints, Floats]:
    """Return the stored positions [n] of a sequence at one hook point, and their vectors [n, width]."""
    for part in parts_of_sequence(run.path, "activations", sequence):
        for rows in rows_of(part, point):
            here = span(rows.sequence_ids, sequence)
            if here.stop > here.start:
                return rows.positions[here], rows.activations[here].astype(np.float64)
    return np.zeros(0, dtype=np.int64), np.zeros((0, 0))


PICTURES = (
    Picture("norms", "norm by layer and position", norms),
    Picture("layers", "norm by layer, with and without special tokens", layers),
    Picture("neighbours", "cosine of neighbouring layers", neighbours),
    Picture("similarity", "token × token cosine at a layer", similarity),
    Picture("coordinates", "the largest coordinates", coordinates),
)
