"""The built-in concepts, read from concepts.json: each a list of templates in two wordings that its stems fill."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from actkit.pipeline.data import Record
from actkit.pipeline.input.records import Records

CONCEPTS = Path(__file__).with_name("concepts.json")
STEM = "{stem}"


@dataclass(frozen=True)
class Template:
    """One wording of a contrast; `{stem}` is where the stem goes."""

    name: str = field(metadata={"option": "template"})
    positive: str
    negative: str

    def filled(self, stem: str) -> dict[str, str]:
        """Return both sides with the stem in place."""
        sides = {"positive": self.positive.replace(STEM, stem), "negative": self.negative.replace(STEM, stem)}
        return {**sides, "stem": stem, "template": self.name}


@dataclass(frozen=True)
class Concept:
    """A built-in concept."""

    name: str
    description: str
    templates: tuple[Template, ...]
    stems: tuple[str, ...]


@cache
def concepts() -> Mapping[str, Concept]:
    """The built-in concepts by name."""
    found = json.loads(CONCEPTS.read_text(encoding="utf-8"))["concepts"]
    return {
        name: Concept(
            name,
            entry["description"],
            tuple(Template(each["name"], each["positive"], each["negative"]) for each in entry["templates"]),
            tuple(entry["stems"]),
        )
        for name, entry in found.items()
    }


def pairs_of(concept: Concept) -> Records:
    """Make a concept's pairs, each a record like those of a file of pairs."""
    # Stem by stem, so that the first few pairs already have every template.
    pairs = [template.filled(stem) for stem in concept.stems for template in concept.templates]
    yield from (Record(index, concept.name, None, pair) for index, pair in enumerate(pairs))
