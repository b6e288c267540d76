"""How alike captured activations are: from layer to layer, and from token to token of one text."""

import numpy as np
import numpy.typing as npt

from actkit.plots.capture.sizes import Floats, rows_of_first_kind
from actkit.plots.picked import layer_shown, sequence_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source, needs
from actkit.plots.style import figure, label, layer_axis
from actkit.plots.traces import band, cosine_map, line
from actkit.runs.by_sequence import parts_of_sequence, sequences_of
from actkit.runs.reader import Rows, is_special, parts, rows_of, special_keys

TOKENS = 60
MOST_COSINES = 200_000
"""Positions whose cosines are kept for their quartiles, in the order of the run."""


def neighbours(run: Source, _pick: Pick) -> Drawn:
    """The cosine of each position's vectors in neighbouring layers."""
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
    """Token × token cosine of one sequence at one layer."""
    layer, point = _layer(run, pick)
    sequence = sequence_shown(run, pick)
    positions, vectors = _vectors(run, sequence, point)
    if len(positions) < 2:
        raise LackingError("Fewer than two positions of this text are stored.", "--positions all")
    text = sequences_of(run.path, [sequence])[sequence]
    pieces = {position: box.text for box in text.boxes for position in range(box.first, box.last + 1)}
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    names = [f"{at} {label(pieces.get(at, '').replace(' ', '·'), 16)}" for at in positions]
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


def _layer(run: Source, pick: Pick) -> tuple[int, str]:
    needs(run, "activations")
    known = [(rows.layer, rows.hook_point) for rows in rows_of(parts(run.path, "activations")[0])]
    if not known:
        raise LackingError("No vectors of one length are stored.", "capture hook_resid_post")
    return layer_shown(run, pick, sorted(known))


def _vectors(run: Source, sequence: int, point: str) -> tuple[list[int], Floats]:
    for part in parts_of_sequence(run.path, "activations", sequence):
        for rows in rows_of(part, point):
            here = np.flatnonzero(rows.sequence_ids == sequence)[:TOKENS]
            if len(here):
                return rows.positions[here].tolist(), rows.activations[here].astype(np.float64)
    return [], np.zeros((0, 0))
