"""Placeholders for the contents of a chat: a template renders them, and the text around them locates the contents.

Models that think before they answer begin with a thought, `<think>…</think>`. Templates leave out the thoughts of
earlier turns, or all of them, and put white space of their own around those that they keep. So a thought and the answer
after it each get a placeholder; the tags stay as they were written.
"""

from collections.abc import Sequence

Piece = tuple[str, str]
"""A placeholder, and the text in whose place it stands."""

OPENS, CLOSES = "<think>", "</think>"


def with_marks(content: str, mark: str) -> tuple[str, list[Piece]]:
    """Return a content with placeholders, and the pieces that they replace: thought and answer, or the whole content.

    A content without an answer, with more than one thought, or with text before the thought gets one placeholder.
    """
    before, tag, after = content.partition(CLOSES)
    # Models whose prompt ends with the first tag write only the second one: the text before it is the thought.
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
    """Return the start of the tag before a thought that begins at `start`; without a tag, `start` itself."""
    before = text[:start].rstrip()
    return len(before) - len(OPENS) if before.endswith(OPENS) else start


def between(shape: str, pieces: Sequence[Piece], text: str) -> dict[str, tuple[int, int]] | None:
    """Placeholder → span, if `text` is `shape` with each placeholder's text, whole or trimmed, put in; else None."""
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
    """Return the forms in which templates write a content: whole, or trimmed at one or both ends."""
    return content, content.strip(), content.lstrip(), content.rstrip()
