"""`Ranked`: answers in a list, with ranks or scores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import Answer, is_list
from actkit.recipes.conversations.fields import Fields, is_empty, lookup
from actkit.recipes.conversations.messages import rows_of
from actkit.recipes.conversations.names import SYSTEM
from actkit.recipes.conversations.verdicts import as_number, less_is_better


@dataclass(frozen=True)
class Ranked:
    """A list of answers, each an object with text and rank or score; or a list of texts and a list of their ranks."""

    lists: Sequence[str]
    text: Sequence[str] = ()
    """Fields of an answer's text; none for a list of texts."""
    ranks: Sequence[str] = ()
    """Fields, of an answer or of the record, of which lower is better."""
    scores: Sequence[str] = ()
    """Fields of which higher is better."""

    @property
    def needed(self) -> Sequence[Sequence[str]]:
        """The field of a list."""
        return [(name,) for name in self.lists]

    def found(self, fields: Fields) -> bool:
        """Whether the record has such a list, with ranks or scores."""
        return any(self._by(fields, name) is not None for name in self.lists if fields.has(name))

    def read(self, fields: Fields) -> list[Answer]:
        """Read all answers that have a rank or a score. Raises RecordError where ranks and scores disagree."""
        there = [(name, by) for name in self.lists if fields.has(name) and (by := self._by(fields, name)) is not None]
        if len(there) > 1:
            raise RecordError(
                there[0][0],
                f"{' and '.join(name for name, _ in there)} both have ranked answers: --ignore-field leaves one out",
            )
        name, by = there[0]
        if by in self.ranks and fields.names.preference is None:
            self._check_scores(fields, name, by)
        sign = -1.0 if self._is_score(by) else 1.0
        rows = rows_of(fields.take(name), name)
        if self.text:
            fields.read[f"{name}.{by}"] = None
            given = [(row, lookup(row, by)) for row in rows if isinstance(row, Mapping)]
        else:
            given = list(zip(rows, rows_of(fields.take(by), by), strict=False))
            if len(rows) != len(rows_of(fields.value[by], by)):
                raise RecordError(by, f"as many as there are {name} are needed")
        if any(as_number(value) is None for _, value in given):
            fields.partly[f"{name} without {by}"] = None
        return [
            answer
            for at, (row, value) in enumerate(given)
            if (rank := as_number(value)) is not None
            and (answer := self._answer(fields, row, f"{name}[{at}]", sign * rank)) is not None
        ]

    def _check_scores(self, fields: Fields, name: str, by: str) -> None:
        """Raise RecordError for scores that order the answers otherwise than the ranks do."""
        rows = rows_of(fields.value[name], name)
        for field in self.scores:
            if self.text:
                both = [(lookup(row, by), lookup(row, field)) for row in rows]
            elif is_list(fields.value.get(field)):
                both = list(zip(*(rows_of(fields.value[each], each) for each in (by, field)), strict=False))
            else:
                continue
            given = [(as_number(rank), as_number(score)) for rank, score in both]
            numbers = [(rank, score) for rank, score in given if rank is not None and score is not None]
            if any(first < other and score < more for first, score in numbers for other, more in numbers):
                raise RecordError(
                    f"{name}.{by}" if self.text else by,
                    f"{by} and {field} put the answers in other orders: --preference-field {by} or {field} says which "
                    "counts",
                )

    def _answer(self, fields: Fields, row: Any, place: str, rank: float) -> Answer | None:
        if not self.text:
            return None if is_empty(row) else Answer(row, place, rank)
        path = next((path for path in self.text if not is_empty(lookup(row, path))), None)
        if path is None:
            return None
        name = place.partition("[")[0]
        own = next((field for field in SYSTEM if isinstance(row.get(field), str) and not is_empty(row[field])), None)
        system = None
        if own is not None and not fields.ignored(own) and not fields.ignored(f"{name}.{own}"):
            fields.read[f"{name}.{own}"] = None
            system = (f"{place}.{own}", str(row[own]))
        return Answer(lookup(row, path), f"{place}.{path}", rank, system)

    def _by(self, fields: Fields, name: str) -> str | None:
        """Return the path that ranks the answers of a list, in each answer or in the record; None without one."""
        own = fields.names.preference
        wanted = (_within(own, name),) if own is not None else (*self.ranks, *self.scores)
        try:
            rows = rows_of(fields.value[name], name)
        except RecordError:
            return None
        if not self.text:
            if not all(row is None or isinstance(row, (str, list)) for row in rows):
                return None
            return next((field for field in wanted if field != name and is_list(fields.value.get(field))), None)
        objects = [row for row in rows if isinstance(row, Mapping)]
        if not objects or not any(not is_empty(lookup(row, path)) for row in objects for path in self.text):
            return None
        return next(
            (field for field in wanted if any(as_number(lookup(row, field)) is not None for row in objects)), None
        )

    def _is_score(self, by: str) -> bool:
        if by in (*self.ranks, *self.scores):
            return by in self.scores
        return not less_is_better(by)


def _within(path: str, name: str) -> str:
    """Return a path within each answer of the list `name`; it may be given as the whole path that errors list."""
    return re.sub(rf"{re.escape(name)}(\.-?\d+|\[-?\d+\])?\.", "", path, count=1) if path.startswith(name) else path
