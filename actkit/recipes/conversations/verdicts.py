"""Read a field's verdict on two answers, a word or a number: which of them is better, or that neither is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actkit.recipes.conversations.answers import Answer
from actkit.recipes.label_words import is_against


def plainly(value: Any) -> str:
    """Return a value as a word to be compared: 1, 1.0 and "1" become equal, and so do true and True."""
    if isinstance(value, bool):
        return str(value).lower()
    number = as_number(value)
    if number is not None:
        return f"{number:g}"
    return str(value).strip().lower()


def as_number(value: Any) -> float | None:
    """Return a number, or the number that a text spells; true is 1. None for any other value, NaN and infinity."""
    if isinstance(value, bool) or value is None:
        return float(value) if isinstance(value, bool) else None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == number and abs(number) != float("inf") else None


SCORES = frozenset(("score", "scores", "rating", "reward", "grade"))
"""Words in the names of fields that tell how good an answer is."""
LESS_IS_BETTER = frozenset(("loss", "cost", "perplexity", "ppl", "nll"))
"""Words in the names of fields whose lowest value is the best, as for a rank."""
SEPARATORS = re.compile(r"[\W_]+")
PLACE = re.compile(r"\[\d+\].*")
"""An index into a list, and the rest of the path after it."""
TIES = ("tie", "same", "equal", "both", "bothbad", "neither", "none", "draw")


@dataclass(frozen=True)
class Verdict:
    """A field that judges two answers. `read` takes its value, the answers' names and the record.

    It returns -1 if the first answer is better, 1 if the second is, 0 for a tie, and None for an unclear value.
    """

    field: str
    read: Callable[[Any, tuple[str, str], Mapping[str, Any]], int | None]


def contrary_scores(record: Mapping[str, Any], better: Answer, worse: Answer) -> tuple[str, ...]:
    """Return the scores by which the worse answer is better, such as `score_chosen below score_rejected`.

    The answers' names differ in one word, such as `chosen` and `rejected`. Fields that differ in this word alone, and
    have a word for a score or rank, are their scores. For faults, losses and ranks less is better.
    """
    words = [SEPARATORS.split(PLACE.sub("", answer.path).lower()) for answer in (better, worse)]
    apart = [(own, other) for own, other in zip(*words, strict=False) if own != other]
    if len(apart) != 1 or len(words[0]) != len(words[1]):
        return ()
    own, other = apart[0]
    found = []
    for name, value in record.items():
        parts = SEPARATORS.split(name.lower()) if isinstance(name, str) and own in name.lower() else []
        if own not in parts or not {*SCORES, "rank"} & {*parts}:
            continue
        wanted = [other if part == own else part for part in parts]
        beside = next(
            (each for each in record if isinstance(each, str) and SEPARATORS.split(each.lower()) == wanted), ""
        )
        scores = as_number(value), as_number(record.get(beside))
        if scores[0] is not None and scores[1] is not None and scores[0] != scores[1]:
            less = less_is_better(" ".join(part for part in parts if part != own))
            if (scores[0] < scores[1]) is not less:
                found.append(f"{name} {'above' if less else 'below'} {beside}")
    return tuple(found)


def less_is_better(name: str) -> bool:
    """Whether the least value of a field with this name is the best, as for ranks, losses and faults."""
    words = {*SEPARATORS.split(name.lower())}
    is_rank = "rank" in name.lower() and not SCORES & words
    return is_rank or bool(words & LESS_IS_BETTER) or is_against(name)


def is_tie(value: Any) -> bool:
    """Whether a verdict says in words that neither answer is better: `tie (bothbad)`, `same`."""
    return re.split(r"[^a-z]", plainly(value).strip("[]"))[0] in TIES


def by_name(value: Any, names: tuple[str, str], record: Mapping[str, Any]) -> int | None:
    """Read a value that names the better answer: 0 or 1, 1 or 2, A or B, model_a, response_1, `A>B`, a model's name."""
    word = plainly(value).strip("[]")
    if is_tie(value):
        return 0
    better, sign, _ = word.replace(" ", "").replace(">>", ">").replace("<<", "<").partition(">")
    if sign:
        word = better
    elif "<" in word:
        word = word.replace(" ", "").replace("<<", "<").partition("<")[2]
    elif "=" in word:
        return 0
    for index, name in enumerate(names):
        if word == name or ((not name.isdigit() or not word.isdigit()) and _ends_in(word, name)):
            return (-1, 1)[index]
    models = [plainly(record.get(f"model_{name}", "")) for name in names]
    return (-1, 1)[models.index(word)] if word and models.count(word) == 1 else None


def _ends_in(word: str, name: str) -> bool:
    """Whether a word such as model_a, response1 or assistant_b ends in an answer's name, apart from the rest."""
    head = word.removesuffix(name)
    if head == word or not head.strip("_- "):
        return False
    return head.endswith(("_", "-", " ")) or head in (
        "response",
        "answer",
        "output",
        "model",
        "completion",
        "assistant",
    )


def by_sign(value: Any, _names: tuple[str, str], _record: Mapping[str, Any]) -> int | None:
    """Read a strength of preference: below 0 for the first answer, above 0 for the second (HelpSteer)."""
    number = as_number(value)
    return None if number is None else (number > 0) - (number < 0)


def first_if_one(value: Any, _names: tuple[str, str], _record: Mapping[str, Any]) -> int | None:
    """Read 1 as a verdict for the first answer, and 0 as one for the second (SHP)."""
    number = as_number(value)
    return {1.0: -1, 0.0: 1}.get(number) if number is not None else None


def by_flags(_value: Any, _names: tuple[str, str], record: Mapping[str, Any]) -> int | None:
    """Read a column for each outcome, with 1 in the one that holds (LMSYS's 55k battles)."""
    flags = [as_number(record.get(f"winner_{name}")) for name in ("model_a", "model_b", "tie")]
    return (-1, 1, 0)[flags.index(1.0)] if flags.count(1.0) == 1 else None
