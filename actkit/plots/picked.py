"""Chooses the layer, SAE, feature or sequence that a picture shows: that of its `Pick`, or a default."""

from collections.abc import Sequence

from actkit.plots.picture import LackingError, Pick, Source
from actkit.runs.by_sequence import sequence_of_record

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


def sae_shown(run: Source, pick: Pick) -> str:
    """The SAE that was picked, or the run's first. Raises LackingError."""
    names = [sae["name"] for sae in run.facts.get("saes", ())]
    if not names:
        raise LackingError("This run has no SAE.", "--sae-release and --sae-id name one")
    if pick.sae is not None and pick.sae not in names:
        raise LackingError(f"This run has no SAE {pick.sae}.", f"it has {', '.join(names)}")
    return pick.sae or names[0]


def d_sae_of(run: Source, sae: str) -> int:
    """How many features an SAE of the run has."""
    return next(int(entry["d_sae"]) for entry in run.facts["saes"] if entry["name"] == sae)


def sequence_shown(run: Source, pick: Pick) -> int:
    """The first sequence of the record that was picked, or of the run, that no other continues. Raises LackingError."""
    found = sequence_of_record(run.path, pick.record)
    if found is None:
        raise LackingError(f"This run has no record {pick.record}.", "actkit show lists them")
    return found
