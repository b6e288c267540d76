"""Placeholders for the contents of a chat: what a template leaves around them, and where contents then stand in a text.

Models that think before they answer begin with a thought, `<think>…</think>`. Templates leave the thoughts of earlier
turns out, or all of them, and set white space of their own around those that they keep. So a thought and the answer
after it each get a placeholder, between the tags as they were written.
"""

from collections.abc import Sequence

Piece = tuple[str, str]
"""A placeholder, and the text that it stands for."""

OPENS, CLOSES = "<think>", "</think>"


def with_marks(content: str, mark: str) -> tuple[str, list[Piece]]:
    """A content with placeholders in it, and what they stand for: a thought and its answer, or all of the content.

    A content without an answer, with more than one thought, or with text before it has one placeholder.
    """
    before, tag, after = content.partition(CLOSES)
    # Models whose prompt ends with the first tag write the second one alone: what comes before it is the thought.
    inside = before.lstrip().removeprefix(OPENS)
    thought, answer = inside.strip(), after.lstrip()
    if not (tag and answer) or OPENS in inside + answer or CLOSES in answer:
        return mark, [(mark, content)]
    ahead = before[: len(before) - len(inside.lstrip())]
    behind = content[len(ahead) + len(thought) : len(content) - len(answer)]
    if not thought:
        return ahead + behind + mark, [(mark, answer)]
    inner = f"{mark[0]}thought{mark[1:]}"
    return ahead + inner + behind + mark, [(inner, thought), (mark, answer)]


def with_tag(text: str, start: int) -> int:
    """The start of a thought with the tag before it, if there is one; without a tag, its `start` in `text`."""
    before = text[:start].rstrip()
    return len(before) - len(OPENS) if before.endswith(OPENS) else start


def between(shape: str, pieces: Sequence[Piece], text: str) -> dict[str, tuple[int, int]] | None:
    """Placeholder → span, if `text` is `shape` with each one's text, whole or trimmed, in its place; else None."""
    if any(shape.count(mark) != 1 for mark, _ in pieces):
        return None
    spans: dict[str, tuple[int, int]] = {}
    at = read = 0
    # Not every template keeps the order: some move the system message into the last question.
    for mark, content in sorted(pieces, key=lambda piece: shape.index(piece[0])):
        piece = shape[read : shape.index(mark)]
        start, read = at + len(piece), read + len(piece) + len(mark)
        following = min((found for other, _ in pieces if (found := shape.find(other, read)) >= 0), default=len(shape))
        after = shape[read:following]
        form = next((form for form in forms_of(content) if text.startswith(form + after, start)), None)
        if form is None or not text.startswith(piece, at):
            return None
        spans[mark] = (start, start + len(form))
        at = start + len(form)
    return spans if text[at:] == shape[read:] else None


def forms_of(content: str) -> tuple[str, ...]:
    """A content as templates write it: whole, or trimmed at either end."""
    return content, content.strip(), content.lstrip(), content.rstrip()
