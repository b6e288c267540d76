"""Labels as words: the meanings of the usual labels, and of those that a user names, such as `>=3`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import isfinite
from operator import ge, gt, le, lt
from typing import Any, Literal

from actkit.errors import UsageError, listed
from actkit.pipeline.input.class_names import ClassName

Label = Literal["positive", "negative", "neutral"]
YES = ("true", "1", "yes", "t", "y")
NO = ("false", "no", "f", "n")
WORDS: Mapping[str, Label] = {
    **dict.fromkeys((*YES, "+1", "positive", "pos", "good", "pro", "pros"), "positive"),
    **dict.fromkeys(("like", "thumbs_up", "thumbs up", "thumbs-up", "thumbsup", "up", "upvote", "👍"), "positive"),
    **dict.fromkeys((*NO, "-1", "negative", "neg", "bad", "con", "cons"), "negative"),
    **dict.fromkeys(("dislike", "thumbs_down", "thumbs down", "thumbs-down", "thumbsdown", "down"), "negative"),
    **dict.fromkeys(("downvote", "👎"), "negative"),
    "neutral": "neutral",
}
"""Meanings of labels where `--positive` and `--negative` are not given; 0 is negative beside 1, neutral beside -1."""
AGAINST = frozenset(
    (
        *("toxic", "toxicity", "harmful", "harm", "hate", "hateful", "offensive", "unsafe", "insult", "threat"),
        *("obscene", "abusive", "abuse", "spam", "flagged", "violation", "dislike", "disliked", "rejected"),
        *("incorrect", "wrong", "negative", "bad", "error", "biased", "hallucination", "hallucinated", "deceptive"),
    )
)
"""Words in a field's name by which a yes is a fault, not a positive label."""
SIGNS = frozenset(("1", "+1", "0", "-1"))
NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d+)?")
WHOLE = re.compile(r"([+-]?\d+)\.0*")
"""A whole number that is written as a decimal."""
ORDER: Mapping[str, Callable[[Decimal, Decimal], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt}
COMPARED = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?\d{1,12}(?:\.\d{1,12})?)\s*")
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
MOST_FIELDS = 5
"""Fields of an object that an error shows."""
LONGEST = 40
"""Characters of a label, or of a field's name, that an error shows."""
PRINTED = re.compile(r"[,;|]")
"""Separators of several labels in one text."""


@dataclass(frozen=True)
class Comparison:
    """A rule for grades, such as `>=3`."""

    sign: str
    limit: Decimal

    def holds(self, word: str) -> bool:
        """Whether a label is a number that fulfils the rule."""
        try:
            number = Decimal(word)
        except InvalidOperation:
            return False
        return number.is_finite() and ORDER[self.sign](number, self.limit)

    def meets(self, other: "Comparison") -> bool:
        """Whether some number fulfils both rules."""
        if self.sign[0] == other.sign[0]:
            return True
        low, high = (self, other) if self.sign[0] == ">" else (other, self)
        both = low.sign == ">=" and high.sign == "<="
        return low.limit < high.limit or (both and low.limit == high.limit)


@dataclass(frozen=True)
class Named:
    """The labels that a user names for one sign."""

    words: frozenset[str]
    rules: tuple[Comparison, ...]

    def holds(self, word: str) -> bool:
        """Whether a label is among them."""
        return word in self.words or any(rule.holds(word) for rule in self.rules)


def named(given: Sequence[str]) -> Named:
    """Split what the user gave into labels and rules. Raises UsageError for a malformed rule."""
    rules, words = [], set()
    for text in given:
        found = COMPARED.fullmatch(text)
        if found:
            rules.append(Comparison(found[1], Decimal(found[2])))
        elif text.lstrip()[:1] in ("<", ">", "="):
            raise UsageError(f"{text} is no rule for grades", "such as --positive '>=3' --negative '<=1'")
        else:
            words.add(word_of(text))
    return Named(frozenset(words), tuple(rules))


def check_apart(positive: Named, negative: Named) -> None:
    """Raise UsageError where one label or grade would have both signs."""
    both = {word for word in positive.words if negative.holds(word)}
    both |= {word for word in negative.words if positive.holds(word)}
    if both:
        raise UsageError(f"{sorted(both)[0]} is given as positive and as negative", "it can be one of them")
    for rule in positive.rules:
        for other in negative.rules:
            if rule.meets(other):
                raise UsageError(
                    f"{rule.sign}{rule.limit} and {other.sign}{other.limit} have grades in common",
                    "a grade can be positive or negative",
                )


def is_against(name: str) -> bool:
    """Whether a field is named after a fault of texts, not negated as in `non_toxic`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    parts = re.split(r"[\W_]+", words)
    return bool(AGAINST & {*parts}) and not {"not", "non", "no"} & {*parts}


def words_of(value: Any) -> list[str]:
    """The words of a label, or of several in a list."""
    return [word_of(each) for each in (value if isinstance(value, (list, tuple)) else [value])]


def numbers_of(value: Any) -> list[str]:
    """Return the numbers of the classes that a label names."""
    several = value if isinstance(value, (list, tuple)) else [value]
    return [str(each.number) for each in several if isinstance(each, ClassName)]


def parts_of(value: Any) -> list[str]:
    """Split a text of several labels, as CSV files have them: `4,27`, `joy; anger`, `['joy', 'anger']`."""
    if not isinstance(value, str) or not PRINTED.search(value.strip().strip("[]")):
        return []
    return [word_of(part.strip(" \t'\"")) for part in PRINTED.split(value.strip().strip("[]"))]


def has_comma(value: Any) -> bool:
    """Whether a label may be one number with a decimal comma, as Excel writes it in much of Europe."""
    return isinstance(value, str) and DECIMAL_COMMA.fullmatch(value) is not None


def why_none(value: Any, field: str, graded: bool) -> str:
    """Say why a label has no sign, and how to give it one; `graded` says that rules for grades were given."""
    if isinstance(value, Mapping):
        inner = [f"{field}.{name}" for name in value if len(str(name)) <= LONGEST]
        names = listed(inner, MOST_FIELDS) or "whose names are long"
        return f"an object: --label-field names one of its fields, {names}"
    if graded and has_comma(value):
        return "a comma in a number: write 4,5 as 4.5, or the rules for grades cannot tell it from two labels"
    return "neither positive nor negative"


def is_grade(word: str) -> bool:
    """Whether a label is a number other than -1, 0 and 1."""
    try:
        number = float(word)
    except ValueError:
        return False
    return isfinite(number) and number not in (-1, 0, 1)


def is_fraction(word: str) -> bool:
    """Whether a label is a number between -1 and 1, but not 0: a score, and no sign."""
    return is_grade(word) and abs(float(word)) < 1


def halves(against: bool) -> str:
    """Rules for scores of 0 to 1, to stand after `--positive`; if the field is `against` a text, less is better."""
    return "'<0.5' --negative '>=0.5'" if against else "'>=0.5' --negative '<0.5'"


def word_of(value: Any) -> str:
    """Write a label as a word: True is true; 1, 1.0, a decimal 1.00 and the text "1.0", as CSV files have it, are 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple, Mapping)):
        return "(several)"
    if isinstance(value, (float, Decimal)) and isfinite(value) and value == int(value):
        value = int(value)
    word = str(value).strip().lower()
    whole = WHOLE.fullmatch(word)
    return whole[1] if whole else word
