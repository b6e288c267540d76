"""Lists the pictures of each command's runs, in the order in which a report shows them.

The pictures of a command stand in the folder of its name, one module a family; its `__init__.py` lists them as `PICTURES`.
"""

import re
from dataclasses import replace

from actkit.errors import UsageError
from actkit.numerals import in_a_sentence
from actkit.plots import capture, concept, dpo, feature_dataset, reward_detect, sae_extract, steer
from actkit.plots.picture import Drawn, Pick, Picture, Source, without
from actkit.plots.titles import titles_apart

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
    """Draw a picture by name. Raises UsageError for an unknown name, LackingError where the run lacks a table."""
    known = pictures_of(run)
    found = next((picture for picture in known if picture.name == name), None)
    if found is None:
        listed = "; ".join(f"{picture.name}: {picture.shows}" for picture in known) or "none"
        raise UsageError(f"{name}: a run of {run.facts['command']} has no such picture", f"it has {listed}")
    return drawn(found, run, pick or Pick())


def drawn(picture: Picture, run: Source, pick: Pick) -> Drawn:
    """The picture. Raises LackingError where the run lacks what it needs, a column that came later included."""
    try:
        found = picture.draw(run, pick)
    except KeyError as error:
        named = re.search(r"[\"'(](\w+)[\"')]", str(error))
        raise without(run, f"This run has no {named[1] if named else 'entry for it'}") from error
    titles_apart(found.figure)
    return replace(found, says=in_a_sentence(found.says))
