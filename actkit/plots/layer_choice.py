"""Which layer a picture of one layer shows."""

from collections.abc import Sequence

from actkit.plots.picture import LackingError, Pick, Source

DEPTH = 0.65
"""The middle of the recommended range of layers, 45 to 85 % of the depth."""


def layer_shown(run: Source, pick: Pick, known: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """The layer that was picked, or the one nearest to two thirds of the model's depth. Raises LackingError."""
    if pick.layer is not None:
        found = [place for place in known if place[0] == pick.layer]
        if not found:
            layers = ", ".join(str(layer) for layer in sorted({layer for layer, _ in known}))
            raise LackingError(f"This run has no layer {pick.layer}.", f"it has {layers or 'none'}")
        return found[0]
    wanted = DEPTH * (run.facts["model"]["n_layers"] - 1)
    return min(known, key=lambda place: (abs(place[0] - wanted), place))
