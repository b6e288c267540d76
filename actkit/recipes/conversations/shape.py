"""`Shape`: what a record of preference pairs looks like, and how it is read; and what tells some shapes apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actkit.recipes.conversations.answers import Answers, NamedSides
from actkit.recipes.conversations.context import Context, read_context
from actkit.recipes.conversations.dialogues import is_dialogue
from actkit.recipes.conversations.fields import Fields

CHOSEN = NamedSides("chosen", "rejected")
OBJECT_TEXT = ("response", "answer", "text", "content", "completion", "output", "generation")
"""Fields that hold the text of an answer that is an object."""


@dataclass(frozen=True)
class Shape:
    """One shape of records."""

    name: str
    """As `--input-format` and run.json call it."""
    record: str
    """A sketch of such a record."""
    seen_in: Sequence[str]
    """Data sets, and tools whose files are so."""
    answers: Answers
    prompt: str | None = None
    """Where the question stands, if not under one of the usual names."""
    needs: Sequence[str] = ()
    """Fields of which a record has one at least."""
    also: Callable[[Fields], bool] = lambda _fields: True
    """A further condition on the record."""
    context: Callable[[Fields], Context] | None = None
    """How what stands before the answers is read, if not by `read_context`."""

    def context_of(self, fields: Fields, listed: bool = True) -> Context:
        """What stands before the answers of a record of this shape; see `read_context`."""
        return read_context(fields, self.prompt, listed) if self.context is None else self.context(fields)

    def found(self, fields: Fields) -> bool:
        """Whether a record is of this shape."""
        needed = not self.needs or fields.first(self.needs) is not None
        return needed and self.answers.found(fields) and self.also(fields)


def is_dialogue_pair(fields: Fields) -> bool:
    """Whether a side is one text with turns in it."""
    sides = fields.value.get("chosen"), fields.value.get("rejected")
    return any(isinstance(side, str) and is_dialogue(side) for side in sides)


def is_not_text(fields: Fields) -> bool:
    """Messages, or JSON text or a Python list of them, which is told apart where it is read."""
    chosen = fields.value.get("chosen")
    return isinstance(chosen, (list, dict)) or (isinstance(chosen, str) and chosen.lstrip()[:1] in ("[", "{"))


def post_of(fields: Fields) -> Context:
    """The context of a summary: a post with its title and subreddit, or an article (OpenAI's TL;DR)."""
    parts = [("subreddit", "SUBREDDIT: r/"), ("title", "TITLE: "), ("post", "POST: ")]
    there = [(name, label) for name, label in parts if fields.has(f"info.{name}")]
    if "post" not in dict(there):
        return read_context(fields, "info.article", listed=False)
    if len(there) == 1:
        return read_context(fields, "info.post", listed=False)
    text = "\n\n".join(f"{label}{fields.take(f'info.{name}')}" for name, label in there) + "\n\nTL;DR:"
    return Context(({"role": "user", "content": text},), plain=text)
