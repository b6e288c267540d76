"""`AnswerWords` tells whether the answers of all contrast pairs differ by the same few words, such as (A) and (B).

Where (A) is always the answer that shows a trait, a direction of the letter tells the sides apart as well as one of the
trait, on held-out pairs too. Sets of multiple-choice questions are made so, or exchange the letters in half of them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST = 1000
"""Different answers that are counted; where there are more, they are no few words."""
LONGEST = 40
"""Characters of an answer that can be such a word."""


@dataclass
class AnswerWords:
    """Counts of the words that answers differ by, on the positive and on the negative side."""

    pairs: int = 0
    """Pairs that have answers."""
    positive: Counter[str] = field(default_factory=Counter)
    negative: Counter[str] = field(default_factory=Counter)

    def count(self, texts: Iterable[tuple[str, str]]) -> None:
        """Count pairs of a positive and a negative text, each whole and ending with the answer."""
        for both in texts:
            self.pairs += 1
            for counts, words in zip((self.positive, self.negative), differing(*both), strict=True):
                key = words if len(words) <= LONGEST else ""
                counts[key if key in counts or len(counts) < MOST else ""] += 1

    @property
    def told(self) -> float:
        """The share of sides that the words alone tell; 0.5 where each is positive as often as negative.

        Also 0.5 where most are words of their own: every answer then is another one.
        """
        words = {*self.positive, *self.negative}
        if not self.pairs or "" in words or len(words) > max(self.pairs / 4, 2):
            return 0.5
        return sum(max(self.positive[word], self.negative[word]) for word in words) / (2 * self.pairs)


def differing(first: str, second: str) -> tuple[str, str]:
    """Cut off two texts the beginning and the end that they have in common, and return the rest, in whole words."""
    both = first, second
    begin = _common(*both)
    if any(text[begin : begin + 1].isalnum() for text in both):
        while begin and first[begin - 1].isalnum():
            begin -= 1
    end = _common(first[begin:][::-1], second[begin:][::-1])
    if any(text[begin : len(text) - end][-1:].isalnum() for text in both):
        while end and first[len(first) - end].isalnum():
            end -= 1
    return first[begin : len(first) - end], second[begin : len(second) - end]


def _common(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low
