"""Character spans of tokens: make them cover the text, and divide a span that several byte tokens share."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from actkit.pipeline.data import Bools, Ints

Span = tuple[int, int]
TOGETHER = 64
"""Most characters that are normalized together; a letter may have any number of accents."""


def counted(tokenizer: Any, ids: Sequence[int], offsets: Sequence[Span], text: str) -> Sequence[Span]:
    """Return offsets in which each byte token has the span of its own character of `text`.

    Unigram models with byte fallback give every byte of a run of unknown characters the span of the whole run
    (tokenizers 0.23), which hides boundaries inside the run. Decoding the run's bytes gives its characters. Where these
    were normalized, the normalizer is called to align them with `text`; where the alignment fails or is ambiguous, the
    offsets stay as they are.
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
    """Return, for each of `characters`, the span of text[begin:end] from which the normalizer made it.

    Characters that are normalized together, such as a letter and its accent, have one span.
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
    # The run may begin or end with some of the characters made of one: the others are in the vocabulary.
    places = [at for at in range(len(made)) if made.startswith(characters, at)]
    if len(places) != 1:
        return [(begin, end)] * len(characters)
    return spans[places[0] : places[0] + len(characters)]


@lru_cache(maxsize=1)
def byte_tokens(tokenizer: Any) -> dict[int, int]:
    """Token id → byte, for a vocabulary that spells unknown characters in bytes; empty for any other."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {}
    ids = [backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    return {number: byte for byte, number in enumerate(ids) if number is not None}


def covering(start: Ints, end: Ints, length: int | None) -> tuple[Ints, Ints]:
    """Make spans [n] that never run backwards and leave no character out, up to `length` (None: the last token's end).

    Tokenizers leave white space out of spans, and give added tokens the span (0, 0). Here a gap goes to the token after
    it, and a rest at the end to the last token. Tokenizers that trim (Pythia, OPT) give a token of spaces alone an
    empty span at its end; that end is kept.
    """
    starts, ends, has_text = forward(start, end)
    text = np.flatnonzero(has_text)
    if length is not None and len(text) and ends[-1] < length:
        ends[text[-1] :] = length
        starts[text[-1] + 1 :] = length
    return starts, ends


def forward(start: Ints, end: Ints, before: Span = (0, 0)) -> tuple[Ints, Ints, Bools]:
    """Make spans [n] that never run backwards and have no gaps; return them and whether each has text. See `covering`.

    `before` is the span that this function made for the token before them.
    """
    ends = np.maximum(np.maximum.accumulate(end), before[1]) if len(end) else end
    covered = np.concatenate([[before[1]], ends[:-1]])
    empty = (start == end) & (start <= covered)
    starts = np.where(empty, covered, np.minimum(start, covered)) if len(end) else start
    starts = np.maximum(np.maximum.accumulate(starts), before[0]) if len(end) else start
    return starts, ends, ~empty
