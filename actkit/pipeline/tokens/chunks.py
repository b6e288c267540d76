"""Cut an encoding to a length, or a document into chunks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from actkit.errors import RecordError
from actkit.pipeline.data import Bools, Encoding
from actkit.pipeline.tokens.long_texts import Tokens, covered, parts_of
from actkit.pipeline.tokens.tokenize import TEMPLATE, Tokenizer, are_among, check_text, special_ids


def truncate(encoding: Encoding, length: int) -> tuple[Encoding, int]:
    """Return the first `length` tokens, and the number of tokens cut off."""
    cut = max(encoding.n_whole - length, 0)
    if not cut:
        return encoding, 0
    # Typed special tokens have the role of a message, or none, and have characters; an added BOS has none.
    ours = np.array([role != TEMPLATE for role in encoding.role]) & (encoding.char_end > encoding.char_start)
    typed = int((encoding.is_special & ours)[:length].sum()) if encoding.special_in_text else 0
    kept = replace(
        encoding,
        special_in_text=typed,
        n_beyond=0,
        token_ids=encoding.token_ids[:length],
        char_start=encoding.char_start[:length],
        char_end=encoding.char_end[:length],
        is_special=encoding.is_special[:length],
        role=encoding.role[:length],
    )
    return kept, cut


def chunks(encoding: Encoding, size: int, bos: int | None = None) -> Iterator[tuple[Encoding, int]]:
    """Cut a document's encoding, made without BOS, into pieces of at most `size` tokens, each after a `bos` if given.

    Yields each piece, with its part of the document's text, and the character at which that part begins. A character
    that is split between two pieces is in both. A BOS with which the document itself begins is not in a piece's text.
    """
    step = size - (bos is not None)
    whole = Tokens(encoding.token_ids, encoding.char_start, encoding.char_end)
    own = int(len(encoding) > 0 and encoding.token_ids[0] == bos)  # the text's own BOS is that of its first piece
    for first in range(own, len(encoding), step):
        part = slice(first, min(first + step, len(encoding)))
        tokens = whole.part(part.start, part.stop)
        about = encoding.is_special[part], encoding.role[part], encoding.unknown_id
        yield _piece(encoding.text, tokens, *about, bos)


def chunks_of_text(
    tokenizer: Tokenizer, text: str, size: int, bos: int | None = None
) -> Iterator[tuple[Encoding, int]]:
    """Yield the pieces that `chunks` gives for a plain text's encoding, with only a window and a piece in memory.

    Raises RecordError for a text without tokens, for a text that cannot be stored, and for a long text that cannot be
    tokenized in windows.
    """
    check_text(text)
    special, unknown = special_ids(tokenizer)
    step, n, begun = size - (bos is not None), 0, False
    left = Tokens.none()
    for part in covered(parts_of(tokenizer, text), len(text)):
        left = Tokens.joined([left, part])
        if len(left) and not begun:  # the text's own BOS is that of its first piece
            left, begun = left.part(int(left.ids[0] == bos)), True
        whole = len(left) // step * step
        for first in range(0, whole, step):
            piece = left.part(first, first + step)
            yield _piece(text, piece, are_among(piece.ids, special), (None,) * step, unknown, bos)
        left, n = left.part(whole), n + whole
    if len(left):
        yield _piece(text, left, are_among(left.ids, special), (None,) * len(left), unknown, bos)
    elif not n:
        raise RecordError(None, "no tokens")


def _piece(
    text: str, tokens: Tokens, is_special: Bools, role: tuple[str | None, ...], unknown: int | None, bos: int | None
) -> tuple[Encoding, int]:
    at, end = int(tokens.start[0]), int(tokens.end[-1])
    typed = is_special & np.array([name != TEMPLATE for name in role])

    def with_bos(values: Any, begin: Any) -> Any:
        return values if bos is None else np.concatenate([[begin], values])

    encoding = Encoding(
        text[at:end],
        with_bos(tokens.ids, bos),
        with_bos(tokens.start - at, 0),
        with_bos(tokens.end - at, 0),
        with_bos(is_special, True),
        role if bos is None else (TEMPLATE if any(role) else None, *role),
        int(typed.sum()),
        unknown,
    )
    return encoding, at
