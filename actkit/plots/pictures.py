"""Which pictures the runs of which command have, in the order in which a report shows them.

A new command's pictures are a module with `PICTURES` here, and a line in `OF_COMMAND`.
"""

from actkit.errors import UsageError
from actkit.plots import capture, concept, dpo, feature_dataset, reward_detect, sae_extract, steer
from actkit.plots.picture import Drawn, Pick, Picture, Source

OF_COMMAND: dict[str, tuple[Picture, ...]] = {
    "dpo": dpo.PICTURES,
    "capture": capture.PICTURES,
    "concept": concept.PICTURES,
    "sae-extract": sae_extract.PICTURES,
    "feature-dataset": feature_dataset.PICTURES,
    "reward-detect": reward_detect.PICTURES,
    "steer": steer.PICTURES,
}


def pictures_of(run: Source) -> tuple[Picture, ...]:
    """The pictures of a run; none for a command that has none."""
    return OF_COMMAND.get(run.facts["command"], ())


def draw(run: Source, name: str, pick: Pick | None = None) -> Drawn:
    """One picture by name. Raises UsageError for a name that there is not, LackingError where the run lacks a table."""
    known = pictures_of(run)
    found = next((one for one in known if one.name == name), None)
    if found is None:
        listed = "; ".join(f"{one.name}: {one.shows}" for one in known) or "none"
        raise UsageError(f"{name}: a run of {run.facts['command']} has no such picture", f"it has {listed}")
    return found.draw(run, pick or Pick())
