"""Find the options of `reward-detect` that the columns of a file suggest: its own labels, grades, or classes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import quantiles
from typing import Any

from actkit.recipes.label_words import WORDS, is_against, word_of
from actkit.recipes.labels import LABEL_FIELDS, FeedbackFields
from actkit.recipes.peeking.columns import FileColumn, texts_first
from actkit.recipes.peeking.questions import without_passages

MOST_TEXTS = 3
"""Most columns of text that are tried."""
SCORES = re.compile(r"scor|rating|grade|stars|reward|quality|helpful|toxic|sentiment|label|overall", re.IGNORECASE)
"""Names of columns whose numbers may be grades; numbers of other columns may be ids."""
ANSWERS = re.compile(r"repl|respon|answer|output|completion|comment|review|turns|messages|text", re.IGNORECASE)
"""Names of columns with the judged text, where other columns hold its prompt."""
FEWEST = 12
"""Fewest grades that are split into thirds."""
MOST_WORDS = 3
"""Most words of a label; a longer value is a text that occurs several times."""
LEADING = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\b")
"""The grade at the beginning of a label such as `5 - good`."""
DENIED = frozenset(("not", "never", "isn't", "isn’t", "wasn't", "wasn’t"))
"""Words that reverse the meaning of others; a label with one counts as neither positive nor negative."""


def label_fields(columns: Sequence[FileColumn], values: Sequence[Any]) -> Iterator[FeedbackFields]:
    """Yield fields and rules for labels, plainest first: the usual ones, another field, rules for grades, classes."""
    yield FeedbackFields()
    if values and all(isinstance(value, str) for value in values):
        return
    texts = sorted(without_passages(texts_first(columns), columns), key=lambda text: not ANSWERS.search(text))[
        :MOST_TEXTS
    ]
    for column in sorted(columns, key=_likely):
        for own in _of(column):
            if is_against(column.name):  # a column that counts faults: its largest values are negative
                own = replace(own, positive=own.negative, negative=own.positive)
            yield own
            yield from (replace(own, text=text) for text in texts)


def _likely(column: FileColumn) -> int:
    """Return a column's place in the order of trying: first those with a label's name, then grades, then words."""
    return 0 if column.name.rpartition(".")[2] in LABEL_FIELDS else 1 if column.numbers else 2


def _of(column: FileColumn) -> Iterator[FeedbackFields]:
    """Yield ways to read a column as the label; larger grades are taken to be better."""
    named = FeedbackFields(label=column.name)
    labels = [label.partition(" (class ")[0] for label in column.labels]
    if not labels:
        if SCORES.search(column.name) and len(column.numbers) == sum(column.kinds.values()) >= FEWEST:
            least, most = (f"{bound:.3g}" for bound in quantiles(column.numbers, n=3))
            yield replace(named, positive=(f">{most}",), negative=(f"<={least}",))
        return
    meant = {WORDS.get(word_of(label)) for label in labels}
    if {"positive", "negative"} <= meant or ({"positive"} <= meant and "0" in labels):
        yield named
    graded = len(column.numbers) == sum(column.labels.values()) and not column.kinds.get("true/false")
    if graded and len(labels) > 1:
        middle = (min(column.numbers) + max(column.numbers)) / 2
        yield replace(named, positive=(f">{middle:g}",), negative=(f"<{middle:g}",))
    elif len(labels) > 1 and all(len(label.split()) <= MOST_WORDS for label in labels):
        first, second = _better_and_worse(labels)
        yield replace(named, positive=(first,), negative=(second,))


def is_guess(positive: Sequence[str], negative: Sequence[str]) -> bool:
    """Whether neither words nor grades tell which of two labels is the positive one."""
    if any(LEADING.match(label.lstrip("<>=")) for label in (*positive, *negative)):
        return False
    meant = {WORDS.get(word) for label in (*positive, *negative) for word in re.findall(r"[\w+'’-]+", label.casefold())}
    return bool(positive and negative) and not meant & {"positive", "negative"}


def _better_and_worse(labels: Sequence[str]) -> tuple[str, str]:
    """Choose a better and a worse label: by grades if all begin with one, by words for good or bad, or by order."""
    grades = {label: float(found[1]) for label in labels if (found := LEADING.match(label))}
    if len(grades) == len(labels):
        worst, *_, best = sorted(labels, key=grades.__getitem__)
        return best, worst
    words = {label: re.findall(r"[\w+'’-]+", label.casefold()) for label in labels}
    praise = {label: set() if DENIED & {*words[label]} else {*map(WORDS.get, words[label])} for label in labels}
    better = [label for label in labels if "positive" in praise[label] and "negative" not in praise[label]]
    worse = [label for label in labels if "negative" in praise[label] and "positive" not in praise[label]]
    first = better[0] if better else next(label for label in labels if label not in worse[:1])
    second = worse[0] if worse else next(label for label in labels if label != first)
    return first, second
