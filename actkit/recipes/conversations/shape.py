"""`Shape`: one form of records with preference pairs, and how they are read; and conditions of some shapes."""

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
    """The shape's name in `--input-format` and `run.json`."""
    record: str
    """A sketch of such a record."""
    seen_in: Sequence[str]
    """Data sets of this shape, and tools whose files have it."""
    answers: Answers
    prompt: str | None = None
    """The path of the question, if it has no usual name."""
    needs: Sequence[str] = ()
    """Fields of which a record must have at least one; empty for no such condition."""
    also: Callable[[Fields], bool] = lambda _fields: True
    """A further condition on the record."""
    context: Callable[[Fields], Context] | None = None
    """Reads the messages before the answers, in place of `read_context`."""

    def context_of(self, fields: Fields, listed: bool = True) -> Context:
        """Read the messages before the answers of a record of this shape; see `read_context`."""
        return read_context(fields, self.prompt, listed) if self.context is None else self.context(fields)

    def found(self, fields: Fields) -> bool:
        """Whether a record has this shape."""
        needed = not self.needs or fields.first(self.needs) is not None
        return needed and self.answers.found(fields) and self.also(fields)


def is_dialogue_pair(fields: Fields) -> bool:
    """Whether a side is a text that is a dialogue."""
    sides = fields.value.get("chosen"), fields.value.get("rejected")
    return any(isinstance(side, str) and is_dialogue(side) for side in sides)


def is_not_text(fields: Fields) -> bool:
    """Whether a side may be messages: a list, an object, or text that begins as one; reading it tells which."""
    chosen = fields.value.get("chosen")
    return isinstance(chosen, (list, dict)) or (isinstance(chosen, str) and chosen.lstrip()[:1] in ("[", "{"))


def post_of(fields: Fields) -> Context:
    """Read the context of a summary: a post with its title and subreddit, or an article (OpenAI's TL;DR)."""
    parts = [("subreddit", "SUBREDDIT: r/"), ("title", "TITLE: "), ("post", "POST: ")]
    there = [(name, label) for name, label in parts if fields.has(f"info.{name}")]
    if "post" not in dict(there):
        return read_context(fields, "info.article", listed=False)
    if len(there) == 1:
        return read_context(fields, "info.post", listed=False)
    text = "\n\n".join(f"{label}{fields.take(f'info.{name}')}" for name, label in there) + "\n\nTL;DR:"
    return Context(({"role": "user", "content": text},), plain=text)
