"""Tells which of the known shapes a record of preference pairs has."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import InOrder, LastOf, NamedSides
from actkit.recipes.conversations.fields import Fields, possible
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.ranked import Ranked
from actkit.recipes.conversations.shape import CHOSEN, Shape
from actkit.recipes.conversations.shapes import SHAPES


def shape_of(fields: Fields) -> Shape | None:
    """The shape of a record; None if it is none of them.

    Two fields that are named for what they are come before answers that are judged or ranked, from which they were
    made. Raises RecordError where a record can be read in two ways, naming the option that decides.
    """
    names = fields.names
    if names.chosen is not None or names.rejected is not None:
        own = NamedSides(names.chosen or "chosen", names.rejected or "rejected")
        return judged_so(Shape("named-fields", "", (), own), fields) if own.found(fields) else None
    found = _found(fields)
    return None if found is None else judged_so(found, fields)


def judged_so(shape: Shape, fields: Fields) -> Shape:
    """A shape whose fields name the better answer, or where a field is named that says it, judged by that field.

    Raises RecordError where the record has no such field, or the shape no two fields for it to judge.
    """
    path = fields.names.preference
    if path is None or isinstance(shape.answers, (Judged, Ranked)):
        return shape
    if not isinstance(shape.answers, NamedSides):
        raise RecordError(path, f"no two fields with answers that it could judge in a record of the shape {shape.name}")
    if not fields.has(path):
        raise RecordError(path, "missing")
    return replace(shape, answers=Judged(("",), (shape.answers.names_in(fields),), ()))


def _found(fields: Fields) -> Shape | None:
    names = fields.names
    possible = _shapes_of(fields.beginnings)
    if names.preference is not None:  # what it judges without being told so comes first
        own = [shape for shape in possible if isinstance(shape.answers, (Judged, Ranked)) and shape.found(fields)]
        possible = tuple(own) or possible
    if CHOSEN.found(fields) and any(shape.answers is CHOSEN for shape in possible):
        known = next((shape for shape in possible if shape.answers is CHOSEN and shape.found(fields)), None)
        if known is None and names.prompt is not None and fields.has(names.prompt):
            return Shape("named-fields", "", (), CHOSEN)
        return known
    found = [shape for shape in possible if shape.answers is not CHOSEN and shape.found(fields)]
    for kinds in ((LastOf,), (NamedSides,), (Judged, Ranked, InOrder)):
        own_kind = [shape for shape in found if isinstance(shape.answers, kinds)]
        if len(own_kind) > 1 and kinds != (LastOf,) and not _same(own_kind):
            first, second = own_kind[:2]
            raise RecordError(
                None,
                f"read as {first.name} or as {second.name}, it has other pairs: --input-format {first.name} or "
                f"{second.name}, or --chosen-field and --rejected-field, say which",
            )
        if own_kind:
            return own_kind[0]
    return None


@lru_cache(maxsize=1 << 12)
def _shapes_of(beginnings: frozenset[str]) -> tuple[Shape, ...]:
    """The shapes whose answers a record may have whose fields begin so: records of one file begin alike."""
    needed = ((shape, tuple(paths)) for shape in SHAPES for paths in shape.answers.needed)
    return tuple(dict.fromkeys(shape for shape, paths in needed if possible(paths, beginnings) == paths))


def _same(shapes: Sequence[Shape]) -> bool:
    """Whether several shapes are one, of which the first says more: those judged by the same field."""
    kinds = [shape.answers for shape in shapes]
    return all(isinstance(kind, Judged) for kind in kinds)
