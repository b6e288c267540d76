"""Split two texts with a common beginning into three sequences: the shared one, run once, and two that continue it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actkit.errors import RecordError
from actkit.pipeline.data import Encoding, Ints, TokenSequence
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import TEMPLATE, divergence
from actkit.recipes.prompt_response import PromptResponse


@dataclass(frozen=True)
class Branch:
    """One of the two texts, and which of its positions are read."""

    side: str
    answered: PromptResponse
    keep: Ints
    label: str | None = None


def branches(
    record_id: int, sides: Sequence[Branch], limit: int, group: str | None, template: str | None = None
) -> list[TokenSequence]:
    """Make the sequences of one record: `shared`, from which nothing is read, and one a side.

    The shared part ends before the first position that is read, so that every side holds its own. Raises RecordError
    for a side longer than `limit` tokens.
    """
    for side in sides:
        if len(side.answered.encoding) > limit:
            raise RecordError(side.side, f"longer than the context of {limit} tokens")
    first, second = (side.answered.encoding for side in sides)
    start = min(divergence(first.token_ids, second.token_ids), *(int(side.keep[0]) for side in sides))
    shared = []
    if start:
        shared.append(TokenSequence(record_id, beginning(first, second, start), np.arange(0), "shared"))
    return shared + [
        TokenSequence(
            record_id,
            side.answered.encoding,
            side.keep,
            side.side,
            parent=0 if start else None,
            start=start,
            response_start=side.answered.response[0] if side.answered.response else None,
            group=group,
            label=side.label,
            template=template,
            boundary_merged=side.answered.boundary_merged,
        )
        for side in sides
    ]


def beginning(first: Encoding, second: Encoding, length: int) -> Encoding:
    """Return the encoding of the `length` tokens that two encodings begin with, with the text of these.

    A character that is only partly in these tokens may differ on the other side: it becomes U+FFFD, as in a token that
    is a part of a character. A token keeps a role that it has on both sides; where the sides differ, as where an answer
    ends on one side alone, its role is `template`.
    """
    head, _ = truncate(first, length)
    # A next token that begins before their end continues their last character.
    end = int(head.char_end[-1])
    whole = min(end, int(first.char_start[length])) if length < len(first) else end
    role = tuple(
        mine if mine == other else TEMPLATE for mine, other in zip(head.role, second.role[:length], strict=True)
    )
    return replace(head, text=head.text[:whole] + "\ufffd" * (end - whole), role=role)


def key_of(prompt: str) -> str:
    """Name the group of a prompt: answers to equal prompts belong together."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
