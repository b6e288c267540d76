"""Character spans of tokens: together they cover the text, and tokens that were given one span divide it."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from actkit.pipeline.data import Bools, Ints

Span = tuple[int, int]
TOGETHER = 64
"""Most characters that are normalized together: a letter may have any number of accents."""


def counted(tokenizer: Any, ids: Sequence[int], offsets: Sequence[Span], text: str) -> Sequence[Span]:
    """Offsets in which each byte token has the character of `text` that its byte is of.

    Unigram models with byte fallback give every byte of a run of unknown characters the span of the whole run
    (tokenizers 0.23): a boundary inside of it could not be seen. A byte token is one byte, so the run's bytes say which
    characters they are. Where a normalizer made others of them, it is asked what is normalized together; where that is
    not what the bytes say, or may be in several places, the offsets stay as they are.
    """
    byte_of = byte_tokens(tokenizer)
    if not byte_of:
        return offsets
    found = list(offsets)
    last = 0
    for (is_byte, (begin, end)), run in groupby(zip((number in byte_of for number in ids), offsets, strict=True)):
        first, last = last, last + sum(1 for _ in run)
        if not is_byte or end - begin < 2:
            continue
        try:
            characters = bytes(byte_of[number] for number in ids[first:last]).decode()
        except UnicodeDecodeError:
            continue
        if len(characters) == end - begin:
            each: Sequence[Span] = [(at, at + 1) for at in range(begin, end)]
        else:
            each = _normalized(tokenizer, text, begin, end, characters)
        found[first:last] = [span for span, character in zip(each, characters, strict=True) for _ in character.encode()]
    return found


def _normalized(tokenizer: Any, text: str, begin: int, end: int, characters: str) -> Sequence[Span]:
    """For each character that a normalizer made of text[begin:end], or of a part of it, the characters it was made of.

    What is normalized together, such as a letter and its accent, has one span.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    pieces: list[tuple[int, int, str]] = []
    for at in range(begin, end) if normalizer is not None else ():
        own = normalizer.normalize_str(text[at])
        if pieces:
            start, _, before = pieces[-1]
            if at - start >= TOGETHER:
                break
            both = normalizer.normalize_str(text[start : at + 1])
            if both != before + own:
                pieces[-1] = (start, at + 1, both)
                continue
        pieces.append((at, at + 1, own))
    spans = [(start, last) for start, last, piece in pieces for _ in piece]
    made = "".join(piece for _, _, piece in pieces)
    # A character of which several are made may be cut at the run's ends: others of them are in the vocabulary.
    places = [at for at in range(len(made)) if made.startswith(characters, at)]
    if len(places) != 1:
        return [(begin, end)] * len(characters)
    return spans[places[0] : places[0] + len(characters)]


@lru_cache(maxsize=1)
def byte_tokens(tokenizer: Any) -> dict[int, int]:
    """Token id → byte, of a vocabulary that spells what it does not know in bytes; empty for any other."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {}
    ids = [backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    return {number: byte for byte, number in enumerate(ids) if number is not None}


def covering(start: Ints, end: Ints, length: int | None) -> tuple[Ints, Ints]:
    """Spans [n] that never run backwards and leave no character out, up to `length` (None: to the last token's end).

    Tokenizers leave white space out of spans or give added tokens the span (0, 0); a gap goes to the token after it,
    and what remains at the end to the last token. A token of nothing but spaces, left out by those that trim (Pythia,
    OPT), has an empty span at its end: that end is kept.
    """
    starts, ends, has_text = forward(start, end)
    text = np.flatnonzero(has_text)
    if length is not None and len(text) and ends[-1] < length:
        ends[text[-1] :] = length
        starts[text[-1] + 1 :] = length
    return starts, ends


def forward(start: Ints, end: Ints, before: Span = (0, 0)) -> tuple[Ints, Ints, Bools]:
    """Spans [n] that never run backwards and have no gaps, and which of them are of text; see `covering`.

    `before` is the span of the token before them, as it was made here.
    """
    ends = np.maximum(np.maximum.accumulate(end), before[1]) if len(end) else end
    covered = np.concatenate([[before[1]], ends[:-1]])
    empty = (start == end) & (start <= covered)
    starts = np.where(empty, covered, np.minimum(start, covered)) if len(end) else start
    starts = np.maximum(np.maximum.accumulate(starts), before[0]) if len(end) else start
    return starts, ends, ~empty
