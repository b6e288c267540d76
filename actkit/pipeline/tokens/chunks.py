"""Encodings cut: to a length, or a document's into chunks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from actkit.pipeline.data import Encoding
from actkit.pipeline.tokens.tokenize import TEMPLATE


def truncate(encoding: Encoding, length: int) -> tuple[Encoding, int]:
    """The first `length` tokens, and how many were cut off."""
    cut = max(encoding.n_whole - length, 0)
    if not cut:
        return encoding, 0
    # Typed ones have the role of a message, or none, and are characters of the text, which an added BOS is not.
    ours = np.array([role != TEMPLATE for role in encoding.role]) & (encoding.char_end > encoding.char_start)
    typed = int((encoding.is_special & ours)[:length].sum()) if encoding.special_in_text else 0
    kept = replace(
        encoding,
        special_in_text=typed,
        token_ids=encoding.token_ids[:length],
        char_start=encoding.char_start[:length],
        char_end=encoding.char_end[:length],
        is_special=encoding.is_special[:length],
        role=encoding.role[:length],
        n_beyond=0,
    )
    return kept, cut


def chunks(encoding: Encoding, size: int, bos: int | None = None) -> Iterator[tuple[Encoding, int]]:
    """A document's encoding, made without BOS, in pieces of at most `size` tokens, each begun with `bos` if given.

    Yields each piece, whose text is its part of the document's, and where in the document that part begins. Where a
    character is split between two pieces, it is in both.
    """
    step = size - (bos is not None)
    for first in range(0, len(encoding), step):
        part = slice(first, min(first + step, len(encoding)))
        at, end = int(encoding.char_start[part][0]), int(encoding.char_end[part][-1])
        role = encoding.role[part]
        typed = encoding.is_special[part] & np.array([one != TEMPLATE for one in role])

        def with_bos(values: Any, begin: Any) -> Any:
            return values if bos is None else np.concatenate([[begin], values])

        yield (
            Encoding(
                encoding.text[at:end],
                with_bos(encoding.token_ids[part], bos),
                with_bos(encoding.char_start[part] - at, 0),
                with_bos(encoding.char_end[part] - at, 0),
                with_bos(encoding.is_special[part], True),
                role if bos is None else (TEMPLATE if any(role) else None, *role),
                int(typed.sum()),
                encoding.unknown_id,
            ),
            at,
        )
