"""The shapes of contrast pairs, as a table: an entry names the fields of both sides and of their question.

Names match in any case, and with blanks or hyphens for `_`: `Best Answer` is `best_answer`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import listed_in
from actkit.recipes.prompt_response import text_in

PAIR, STATEMENTS, ANSWERS = "pairs", "statements", "answers"


@dataclass(frozen=True)
class ContrastShape:
    """One shape: its form and its fields."""

    form: str
    positive: str
    negative: str
    """Fields of both sides; for statements, of the statement and its label."""
    prompt: str | None = None
    """Field of the question that both sides answer, where the shape has one."""
    stem: str | None = None
    """Field whose value groups pairs: a group must not stand on both sides of a split."""


SHAPES = (
    # Anthropic's model-written evaluations, CAA, steering-vectors
    ContrastShape(ANSWERS, "answer_matching_behavior", "answer_not_matching_behavior", "question"),
    ContrastShape(ANSWERS, "best_answer", "best_incorrect_answer", "question"),  # TruthfulQA.csv
    ContrastShape(ANSWERS, "best_answer", "incorrect_answers", "question"),  # truthful_qa on the hub
    ContrastShape(PAIR, "positive", "negative", stem="anchor"),  # sentence-transformers, repeng's entries
    ContrastShape(PAIR, "positive_str", "negative_str"),  # steering-vectors' training samples
    ContrastShape(PAIR, "positive_prompt", "negative_prompt"),
    ContrastShape(PAIR, "positive_completion", "negative_completion"),
    ContrastShape(PAIR, "pos", "neg", stem="query"),  # triplets for embedding models
    ContrastShape(STATEMENTS, "statement", "label"),  # RepE's facts, The Geometry of Truth
    ContrastShape(STATEMENTS, "claim", "label"),  # sets of claims
)


def shape_of(value: Any) -> ContrastShape | None:
    """Return a record's shape, with the names that its fields have there; None for an unknown shape."""
    if not isinstance(value, Mapping):
        return None
    names = {_plain(name): str(name) for name in value}
    for shape in SHAPES:
        if all(name in names for name in (shape.positive, shape.negative, shape.prompt) if name):
            own: dict[str, Any] = {
                field: names.get(getattr(shape, field)) for field in ("positive", "negative", "prompt", "stem")
            }
            return replace(shape, **own)
    return None


def missing_of(value: Mapping[str, Any]) -> str:
    """Name the missing field of the shape that is nearest to a record."""
    names = {_plain(name) for name in value}
    for shape in SHAPES:
        sides = (shape.positive, shape.negative)
        if all(name in names for name in sides) and shape.prompt:
            return shape.prompt
        if any(name in names for name in sides):
            return next(name for name in sides if name not in names)
    return "positive"


def side_in(value: Any, name: str, form: str) -> str:
    """Return a side's text, or the first of a list of answers. Raises RecordError where it is missing or no text."""
    value = listed_in(value, name) if form == ANSWERS else value
    if isinstance(value, (list, tuple)):
        if not value:
            raise RecordError(name, "empty")
        value = value[0]
    return text_in(value, name)


def wanted() -> str:
    """Name the shapes for an error: the fields of each form's first shape."""
    forms = {shape.form: shape for shape in reversed(SHAPES)}
    return "; ".join(
        ", ".join(name for name in (forms[form].prompt, forms[form].positive, forms[form].negative) if name)
        for form in (PAIR, STATEMENTS, ANSWERS)
    )


def _plain(name: Any) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")
