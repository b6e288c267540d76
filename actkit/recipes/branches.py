"""Two texts with a common beginning as three sequences: what they share, run once, and what each goes on with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actkit.errors import RecordError
from actkit.pipeline.data import Ints, TokenSequence
from actkit.pipeline.tokenize import divergence, truncate
from actkit.recipes.answered import Answered


@dataclass(frozen=True)
class Branch:
    """One of the two texts, and which of its positions are read."""

    side: str
    answered: Answered
    keep: Ints
    label: str | None = None


def branches(
    record_id: int, sides: Sequence[Branch], limit: int | None, group: str | None, template: str | None = None
) -> list[TokenSequence]:
    """The sequences of one record: `shared`, from which nothing is read, and one a side.

    The shared part ends before the first position that is read, so that every side holds its own. Raises RecordError
    for a side longer than `limit` tokens.
    """
    for one in sides:
        if limit is not None and len(one.answered.encoding) > limit:
            raise RecordError(one.side, f"longer than the context of {limit} tokens")
    first, second = (one.answered.encoding for one in sides)
    start = min(divergence(first.token_ids, second.token_ids), *(int(one.keep[0]) for one in sides))
    shared = []
    if start:
        head, _ = truncate(first, start)
        head = replace(head, text=head.text[: int(head.char_end[-1])])
        shared.append(TokenSequence(record_id, head, np.arange(0), "shared"))
    return shared + [
        TokenSequence(
            record_id,
            one.answered.encoding,
            one.keep,
            one.side,
            parent=0 if start else None,
            start=start,
            response_start=one.answered.response[0] if one.answered.response else None,
            group=group,
            label=one.label,
            template=template,
            boundary_merged=one.answered.boundary_merged,
        )
        for one in sides
    ]


def key_of(prompt: str) -> str:
    """A group's name for a prompt: what answers equal prompts belongs together."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
