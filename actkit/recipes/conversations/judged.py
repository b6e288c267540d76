"""`Judged`: two answers, with a verdict or scores that tell which is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import Answer, texts_of
from actkit.recipes.conversations.fields import Fields, lookup
from actkit.recipes.conversations.messages import parse_messages
from actkit.recipes.conversations.verdicts import Verdict, as_number, by_name, is_tie, plainly


@dataclass(frozen=True)
class Judged:
    """Two answers, and fields that tell which is better, or how good each is."""

    stems: Sequence[str]
    suffixes: Sequence[tuple[str, str]]
    verdicts: Sequence[Verdict]
    scores: Sequence[str] = ()
    """Patterns of the fields with each answer's score; `{}` is the answer's suffix, higher is better."""
    turn: str | None = None
    """Field with the number of the judged turn (MT-bench); later turns are no part of the answer."""
    asked: str | None = None
    """Field with a list of questions; each answer is a list with a text for each question (LMSYS's 55k battles)."""

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """The fields of two answers."""
        return [pair[:2] for pair in self._pairs]

    def found(self, fields: Fields) -> bool:
        """Whether the record has two answers and a verdict or scores for them."""
        names = self._names(fields)
        return names is not None and bool(self._by(fields, names))

    def read(self, fields: Fields) -> list[Answer]:
        """Read both answers, ranked. Raises RecordError for a tie, and for unclear or contradicting verdicts."""
        names = self._names(fields)
        assert names is not None
        said = {path: self._says(fields, path, names) for path in self._by(fields, names)}
        for path, verdict in said.items():
            if verdict is None:
                value = repr(fields.value.get(path))[:40]
                raise RecordError(
                    path,
                    f"{path} is {value}, and which answer that means is not clear: --preference-field {path} "
                    f"--first-is-better VALUE says it",
                )
        if len(set(said.values())) > 1:
            raise RecordError(
                next(iter(said)),
                f"{' and '.join(said)} contradict each other: --preference-field names the one that counts",
            )
        verdict = next(iter(said.values()))
        if not verdict:
            path = next(iter(said))
            place = path if "{}" not in path else self._of_scores(fields, path, names)[0]
            raise RecordError(place, "a tie: neither answer is better")
        ranks = (0, 1) if verdict < 0 else (1, 0)
        return [Answer(self._said(fields, name), name, rank) for name, rank in zip(names[:2], ranks, strict=True)]

    def numbers(self, fields: Fields) -> list[tuple[str, tuple[str, str], str]]:
        """Return each verdict that is a number: field, answers' names, number; none if `first_is_better` is given."""
        names = self._names(fields)
        if names is None or fields.names.first_is_better:
            return []
        readers = {verdict.field: verdict.read for verdict in self.verdicts}
        paths = [path for path in self._by(fields, names) if "{}" not in path and readers.get(path, by_name) is by_name]
        said = [(path, plainly(lookup(fields.value, path))) for path in paths]
        return [(path, (names[2], names[3]), word) for path, word in said if as_number(word) is not None]

    def _said(self, fields: Fields, name: str) -> Any:
        value = fields.take(name)
        if self.asked is not None:
            said = [texts_of(fields.take(path), path) for path in (self.asked, name)]
            if len(said[0]) != len(said[1]):
                raise RecordError(name, f"{len(said[1])} answers to {len(said[0])} questions")
            return [list(turn) for turn in zip(*said, strict=True)]
        if self.turn is not None and fields.has(self.turn):
            turns = as_number(fields.take(self.turn))
            messages = parse_messages(value, name)
            ends = [at for at, message in enumerate(messages, 1) if message["role"] == "assistant"]
            return messages[: ends[int(turns) - 1]] if turns and 0 < turns <= len(ends) else messages
        return value

    def _names(self, fields: Fields) -> tuple[str, str, str, str] | None:
        """Return the two answers' fields and suffixes; None where the record lacks them."""
        return next((pair for pair in self._pairs if fields.has(pair[0]) and fields.has(pair[1])), None)

    @cached_property
    def _pairs(self) -> tuple[tuple[str, str, str, str], ...]:
        """All candidates for `_names`, made once for all records."""
        return tuple(
            (f"{stem}{first}", f"{stem}{second}", _word_of(first), _word_of(second))
            for stem in self.stems
            for first, second in self.suffixes
        )

    def _by(self, fields: Fields, names: tuple[str, str, str, str]) -> list[str]:
        own = fields.names.preference
        if own is not None:
            return [own] if fields.has(own) else []
        told = [verdict.field for verdict in self.verdicts if fields.has(verdict.field)]
        return told or [pattern for pattern in self.scores if self._scores(fields, pattern, names) is not None][:1]

    def _says(self, fields: Fields, path: str, names: tuple[str, str, str, str]) -> int | None:
        if "{}" in path:
            scores = self._scores(fields, path, names)
            assert scores is not None
            return (scores[0] < scores[1]) - (scores[0] > scores[1])
        value = fields.take(path)
        if fields.names.first_is_better:
            is_first = plainly(value) in map(plainly, fields.names.first_is_better)
            return -1 if is_first else 0 if is_tie(value) else 1
        reader = next((verdict.read for verdict in self.verdicts if verdict.field == path), by_name)
        return reader(value, (names[2], names[3]), fields.value)

    def _scores(self, fields: Fields, pattern: str, names: tuple[str, str, str, str]) -> tuple[float, float] | None:
        values = [as_number(fields.take(name)) for name in self._of_scores(fields, pattern, names)]
        return (values[0], values[1]) if len(values) == 2 and None not in values else None  # type: ignore[return-value]

    def _of_scores(self, fields: Fields, pattern: str, names: tuple[str, str, str, str]) -> list[str]:
        """Return the record's fields that fit a pattern."""
        own = {pattern.replace("{}", form(suffix)) for suffix in names[2:] for form in (str.lower, str.upper)}
        return sorted(name for name in own if name in fields.value)


def _word_of(suffix: str) -> str:
    """Return the name that a verdict gives to an answer whose field has this suffix."""
    return suffix.strip("_").partition(".")[0].lower()
