"""How a record says which of its answers is better: by the fields' names, by a verdict, by ranks or scores.

Each kind is found in a record by its fields (`found`), and gives the answers with a rank each, lower is better, so that
pairs are made of all kinds alike.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actkit.errors import RecordError
from actkit.recipes.conversations.fields import Fields, is_empty, lookup
from actkit.recipes.conversations.messages import parse_messages, rows_of, text_of, text_or_messages
from actkit.recipes.conversations.names import SYSTEM


@dataclass(frozen=True)
class Answer:
    """One answer of a record."""

    value: Any
    """Text, messages, or a whole conversation."""
    path: str
    """Where in the record it stands."""
    rank: float
    """Lower is better."""
    system: tuple[str, str] | None = None
    """The system message under which it alone was written, and where that stands."""


class Answers(Protocol):
    """One way of saying which answer is better."""

    def found(self, fields: Fields) -> bool:
        """Whether a record says it so."""

    def read(self, fields: Fields) -> list[Answer]:
        """The answers. Raises RecordError where one is missing or the record says nothing of them."""


@dataclass(frozen=True)
class Sides:
    """Two fields, named for what they are."""

    chosen: str
    rejected: str
    others: Sequence[tuple[str, str]] = ()
    """Other names for the two."""

    def found(self, fields: Fields) -> bool:
        """Whether both are there."""
        return all(fields.has(path) for path in self._names(fields))

    def _names(self, fields: Fields) -> tuple[str, str]:
        own = (self.chosen, self.rejected)
        return next((two for two in (own, *self.others) if all(map(fields.has, two))), own)

    def read(self, fields: Fields) -> list[Answer]:
        """Both, or where they are lists of texts (RewardBench 2) all of each."""
        answers = []
        for rank, path in enumerate(self._names(fields)):
            value = fields.take(path)
            if value in (None, "", [], {}):
                raise RecordError(path, "empty" if _is_there(fields, path) else "missing")
            several = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
            texts = [(f"{path}[{at}]", one) for at, one in enumerate(value)] if several else [(path, value)]
            answers += [Answer(text, place, rank) for place, text in texts]
        return answers


@dataclass(frozen=True)
class LastOf:
    """Messages that end with the better answer, and a field with the other one (ms-swift)."""

    messages: str
    rejected: str

    def found(self, fields: Fields) -> bool:
        """Whether both are there."""
        return fields.has(self.messages) and fields.has(self.rejected)

    def read(self, fields: Fields) -> list[Answer]:
        """The whole conversation, and the other answer, which takes the place of its last message."""
        whole = parse_messages(fields.take(self.messages), self.messages)
        given = fields.take(self.rejected)
        several = isinstance(given, list) and all(isinstance(one, str) for one in given)
        found = [Answer(whole, self.messages, 0)]
        for value in given if several else [given]:
            other = text_or_messages(value, self.rejected)
            said = ({"role": "assistant", "content": other},) if isinstance(other, str) else other
            own = (*whole[:-1], *said) if said[0]["role"] == "assistant" else said
            found.append(Answer(own, self.rejected, 1))
        return found


@dataclass(frozen=True)
class InOrder:
    """A list of answers, the best one first (LLaMA-Factory's older ranking files)."""

    answers: str

    def found(self, fields: Fields) -> bool:
        """Whether there is a list of at least two texts."""
        value = fields.value.get(self.answers)
        return isinstance(value, (list, tuple)) and len(value) > 1 and all(isinstance(one, str) for one in value)

    def read(self, fields: Fields) -> list[Answer]:
        """All of them."""
        return [Answer(one, f"{self.answers}[{at}]", at) for at, one in enumerate(fields.take(self.answers))]


@dataclass(frozen=True)
class Verdict:
    """What a field says of two answers: takes its value and the two answers' own names, gives -1, 0 (a tie) or 1.

    -1 says that the first one is better. None where the value cannot be understood.
    """

    field: str
    read: Callable[[Any, tuple[str, str], Mapping[str, Any]], int | None]


@dataclass(frozen=True)
class Judged:
    """Two answers, and fields that say which is better, or how good each is."""

    stems: Sequence[str]
    suffixes: Sequence[tuple[str, str]]
    verdicts: Sequence[Verdict]
    scores: Sequence[str] = ()
    """Patterns of fields with a score each; `{}` is the answer's suffix, higher is better."""
    turn: str | None = None
    """Field with the number of the turn that was judged (MT-bench); what comes after it is no part of the answer."""
    asked: str | None = None
    """Field with a list of questions, to each of which the answers, lists too, have one text (LMSYS's 55k battles)."""

    def found(self, fields: Fields) -> bool:
        """Whether two answers are there, and something by which they are judged."""
        names = self._names(fields)
        return names is not None and bool(self._by(fields, names))

    def read(self, fields: Fields) -> list[Answer]:
        """Both, the better one first. Raises RecordError for a tie, and where two verdicts contradict each other."""
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
            raise RecordError(next(iter(said)), "a tie: neither answer is better")
        ranks = (0, 1) if verdict < 0 else (1, 0)
        return [Answer(self._said(fields, name), name, rank) for name, rank in zip(names[:2], ranks, strict=True)]

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
        """The two answers' fields, and their suffixes."""
        for stem in self.stems:
            for first, second in self.suffixes:
                pair = f"{stem}{first}", f"{stem}{second}"
                if all(fields.has(name) for name in pair):
                    return pair[0], pair[1], _word_of(first), _word_of(second)
        return None

    def _by(self, fields: Fields, names: tuple[str, str, str, str]) -> list[str]:
        own = fields.names.preference
        if own is not None:
            return [own] if fields.has(own) else []
        told = [one.field for one in self.verdicts if fields.has(one.field)]
        return told or [f"{pattern}" for pattern in self.scores if self._scores(fields, pattern, names) is not None][:1]

    def _says(self, fields: Fields, path: str, names: tuple[str, str, str, str]) -> int | None:
        if "{}" in path:
            scores = self._scores(fields, path, names)
            assert scores is not None
            return (scores[0] < scores[1]) - (scores[0] > scores[1])
        value = fields.take(path)
        if fields.names.first_is_better:
            return -1 if plainly(value) in map(plainly, fields.names.first_is_better) else 1
        reader = next((one.read for one in self.verdicts if one.field == path), by_name)
        return reader(value, (names[2], names[3]), fields.value)

    def _scores(self, fields: Fields, pattern: str, names: tuple[str, str, str, str]) -> tuple[float, float] | None:
        own = {f"{pattern}".replace("{}", form(suffix)) for suffix in names[2:] for form in (str.lower, str.upper)}
        there = sorted(name for name in own if name in fields.value)
        values = [as_number(fields.take(name)) for name in there]
        return (values[0], values[1]) if len(values) == 2 and None not in values else None  # type: ignore[return-value]


@dataclass(frozen=True)
class Ranked:
    """A list of answers, each an object with its text and its rank or score; or a list of texts beside scores."""

    lists: Sequence[str]
    text: Sequence[str] = ()
    """Fields of an object; none for a list of texts."""
    ranks: Sequence[str] = ()
    """Fields of an object, or of the record, of which lower is better."""
    scores: Sequence[str] = ()
    """Of which higher is better."""

    def found(self, fields: Fields) -> bool:
        """Whether there is such a list, with ranks or scores."""
        return any(self._by(fields, name) is not None for name in self.lists if fields.has(name))

    def read(self, fields: Fields) -> list[Answer]:
        """All of them that have a rank or a score."""
        there = [(name, by) for name in self.lists if fields.has(name) and (by := self._by(fields, name)) is not None]
        if len(there) > 1:
            raise RecordError(
                there[0][0],
                f"{' and '.join(name for name, _ in there)} both have ranked answers: --ignore-field leaves one out",
            )
        name, by = there[0]
        sign = -1.0 if self._is_score(by) else 1.0
        rows = rows_of(fields.take(name), name)
        if self.text:
            fields.read[f"{name}.{by}"] = None
            given = [(row, lookup(row, by)) for row in rows if isinstance(row, Mapping)]
        else:
            given = list(zip(rows, rows_of(fields.take(by), by), strict=False))
            if len(rows) != len(rows_of(fields.value[by], by)):
                raise RecordError(by, f"as many as there are {name} are needed")
        return [
            answer
            for at, (row, value) in enumerate(given)
            if (rank := as_number(value)) is not None
            and (answer := self._answer(fields, row, f"{name}[{at}]", sign * rank)) is not None
        ]

    def _answer(self, fields: Fields, row: Any, place: str, rank: float) -> Answer | None:
        if not self.text:
            return None if is_empty(row) else Answer(row, place, rank)
        path = next((path for path in self.text if not is_empty(lookup(row, path))), None)
        if path is None:
            return None
        name = place.partition("[")[0]
        own = next((one for one in SYSTEM if isinstance(row.get(one), str) and not is_empty(row[one])), None)
        system = None
        if own is not None and not fields.ignored(own) and not fields.ignored(f"{name}.{own}"):
            fields.read[f"{name}.{own}"] = None
            system = (f"{place}.{own}", str(row[own]))
        return Answer(lookup(row, path), f"{place}.{path}", rank, system)

    def _by(self, fields: Fields, name: str) -> str | None:
        """What the answers in a list are ranked by: a path in each of them, or a field of the record."""
        own = fields.names.preference
        wanted = (own,) if own is not None else (*self.ranks, *self.scores)
        try:
            rows = rows_of(fields.value[name], name)
        except RecordError:
            return None
        if not self.text:
            if not all(row is None or isinstance(row, (str, list)) for row in rows):
                return None
            return next((one for one in wanted if one != name and _is_list(fields.value.get(one))), None)
        objects = [row for row in rows if isinstance(row, Mapping)]
        if not objects or not any(not is_empty(lookup(row, path)) for row in objects for path in self.text):
            return None
        return next((one for one in wanted if any(as_number(lookup(row, one)) is not None for row in objects)), None)

    def _is_score(self, by: str) -> bool:
        return by in self.scores or (by not in self.ranks and "rank" not in by.lower())


def _word_of(suffix: str) -> str:
    """What a verdict calls an answer whose field ends so."""
    return suffix.strip("_").partition(".")[0].lower()


def texts_of(value: Any, path: str) -> list[str]:
    """A list of texts, JSON text of one, or one text alone."""
    found = rows_of(value, path) if _is_list(value) else [value]
    return [text_of("" if one is None else one, path) for one in found]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, str) and value.lstrip().startswith("["))


def _is_there(fields: Fields, path: str) -> bool:
    return path in fields.value or lookup(fields.value, path) is not None


def plainly(value: Any) -> str:
    """A value as a word to be compared: 1, 1.0 and "1" are one, as are true and True."""
    if isinstance(value, bool):
        return str(value).lower()
    number = as_number(value)
    if number is not None:
        return f"{number:g}"
    return str(value).strip().lower()


def as_number(value: Any) -> float | None:
    """A number, or text that spells one; true is 1. None for anything else."""
    if isinstance(value, bool) or value is None:
        return float(value) if isinstance(value, bool) else None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == number and abs(number) != float("inf") else None


TIES = ("tie", "same", "equal", "both", "bothbad", "neither", "none", "draw")


def by_name(value: Any, names: tuple[str, str], record: Mapping[str, Any]) -> int | None:
    """A value that names the better answer: 0 or 1, 1 or 2, A or B, model_a, response_1, `A>B`, or the model's name."""
    word = plainly(value).strip("[]")
    if re.split(r"[^a-z]", word)[0] in TIES:
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
    """Whether a word such as model_a, response1 or assistant_b ends in a suffix that stands apart."""
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
    """A strength of preference: below 0 for the first answer, above 0 for the second (HelpSteer)."""
    number = as_number(value)
    return None if number is None else (number > 0) - (number < 0)


def first_if_one(value: Any, _names: tuple[str, str], _record: Mapping[str, Any]) -> int | None:
    """1 where the first answer is better, 0 where the second is (SHP)."""
    number = as_number(value)
    return {1.0: -1, 0.0: 1}.get(number) if number is not None else None


def by_flags(_value: Any, _names: tuple[str, str], record: Mapping[str, Any]) -> int | None:
    """One column for each outcome, 1 in that which holds (LMSYS's 55k battles)."""
    flags = [as_number(record.get(f"winner_{name}")) for name in ("model_a", "model_b", "tie")]
    return (-1, 1, 0)[flags.index(1.0)] if flags.count(1.0) == 1 else None
