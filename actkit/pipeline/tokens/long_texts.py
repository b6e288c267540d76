"""Tokenize a text of any length in windows, with the same tokens as in one piece.

A tokenizer takes some 200 bytes of memory for each character of a text. So a long text is tokenized in overlapping
windows, each begun at the start of a token of the window before. Where two windows have a run of equal tokens at equal
characters, the tokens before its middle come from the first window and those after it from the second: nearby text
decides the tokens there, and both windows contain it. (For BPE that is exact: tokens are a text's encoding if every two
neighbours are the encoding of their text.) Without such a run the window grows; a text without any is a bad record.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actkit.errors import RecordError, in_short
from actkit.pipeline.data import Bools, Ints
from actkit.pipeline.tokens.spans import counted, forward

WINDOW, OVERLAP, LARGEST = 1 << 16, 1 << 12, 1 << 20
"""Characters of a window, of the overlap of two windows, and of the largest window that is tried."""
AGREE = 16
"""Fewest consecutive tokens in which two windows must agree."""
SHIFTS = 4
"""Most alignments of two windows that are tried."""


@dataclass(frozen=True)
class Tokens:
    """Some tokens of a text, [n] each; spans are as the tokenizer gives them."""

    ids: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Ints]:
        return iter((self.ids, self.start, self.end))

    def part(self, first: int, last: int | None = None) -> "Tokens":
        """Return the tokens [first, last)."""
        return Tokens(*(array[first:last] for array in self))

    @classmethod
    def joined(cls, parts: Sequence["Tokens"]) -> "Tokens":
        """Join several parts, one after another."""
        filled = [part for part in parts if len(part)]
        if len(filled) == 1:
            return filled[0]
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    @classmethod
    def none(cls) -> "Tokens":
        """Return no tokens."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in range(3)))


def tokens_in(tokenizer: Any, text: str, special: bool, hold: int) -> tuple[Tokens, int]:
    """Return at least the first `hold` tokens of a text, and the number of its tokens after these.

    With `special` the tokenizer adds its special tokens. Raises RecordError for a long text that cannot be tokenized in
    windows.
    """
    if len(text) <= 2 * WINDOW:
        return _called(tokenizer, text, special), 0
    before, after = _added(tokenizer) if special else (Tokens.none(), Tokens.none())
    held, n, beyond = [before], len(before), 0
    for part in parts_of(tokenizer, text):
        if n <= hold:
            held.append(part)
            n += len(part)
        else:
            beyond += len(part)
    if beyond:
        beyond += len(after)
    else:
        held.append(after)
    return Tokens.joined(held), beyond


def parts_of(tokenizer: Any, text: str) -> Iterator[Tokens]:
    """Yield the tokens of a text part by part, without adding special tokens; a short text is one part.

    Raises RecordError for a long text that cannot be tokenized in windows.
    """
    if len(text) <= 2 * WINDOW:
        yield _called(tokenizer, text, False)
    else:
        yield from _windows(lambda first, last: _called(tokenizer, text[first:last], False, first), len(text))


def covered(parts: Iterable[Tokens], length: int) -> Iterator[Tokens]:
    """Yield the tokens of a text of `length` characters, with spans that cover it: see `spans.covering`.

    The last token with text, and those after it, may get the rest of the text, so they wait for the next one with text.
    """
    before, waiting, begun = (0, 0), Tokens.none(), False
    for part in (part for part in parts if len(part)):
        start, end, has_text = forward(part.start, part.end, before)
        before = int(start[-1]), int(end[-1])
        last = int(np.flatnonzero(has_text)[-1]) if has_text.any() else None
        if last is None:
            waiting = Tokens.joined([waiting, Tokens(part.ids, start, end)])
            continue
        found = Tokens(part.ids, start, end)
        yield Tokens.joined([waiting, found.part(0, last)])
        waiting, begun = found.part(last), True
    if begun and waiting.end[-1] < length:
        waiting.end[:] = length
        waiting.start[1:] = length
    yield waiting


def _windows(tokenized: Callable[[int, int], Tokens], length: int) -> Iterator[Tokens]:
    """Yield the tokens of a text of `length` characters, part by part; `tokenized` gives those of [first, last)."""
    first, size = 0, WINDOW
    current = tokenized(first, size)
    while first + size < length:
        at = int(np.searchsorted(current.start, first + size - OVERLAP))
        joint = None
        if at < len(current) and int(current.start[at]) > first:
            begin = int(current.start[at])
            following = tokenized(begin, min(begin + WINDOW, length))
            joint = _joint(current.part(at), following)
        if joint is None:
            if size >= LARGEST:
                raise RecordError(
                    None, f"of {length:,} characters, {size:,} have no place where the tokenizer could begin anew"
                )
            # Tokens before `first` are not made again: they have been yielded.
            size *= 2
            own = tokenized(first, min(first + size, length))
            current = own.part(int(np.searchsorted(own.start, current.start[0])) if len(current) else 0)
            continue
        yield current.part(0, at + joint[0])
        current, first, size = following.part(joint[1]), begin, WINDOW
    yield current


def _joint(current: Tokens, following: Tokens) -> tuple[int, int] | None:
    """Return where the first window's tokens end and the second's begin: the middle of their longest common run.

    Tokens of one character stay together. None where there is no such run.
    """
    starts, mine, theirs = np.intersect1d(current.start, following.start, return_indices=True)
    if not len(starts):
        return None
    shifts, times = np.unique(mine - theirs, return_counts=True)
    best: tuple[int, int, int] | None = None
    for shift in shifts[np.argsort(-times, kind="stable")][:SHIFTS].tolist():
        low, high = max(shift, 0), min(len(current), len(following) + shift)
        before, other = current.part(low, high), following.part(low - shift, high - shift)
        alike = (before.ids == other.ids) & (before.start == other.start) & (before.end == other.end)
        begin, n = _longest(alike)
        whole = begin + 1 + np.flatnonzero(np.diff(before.start[begin : begin + n]) > 0)
        if n >= AGREE and len(whole) and (best is None or n > best[0]):
            middle = low + int(whole[len(whole) // 2])
            best = (n, middle, middle - shift)
    return None if best is None else best[1:]


def _longest(flags: Bools) -> tuple[int, int]:
    """Return the beginning and the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    best = int(np.argmax(lengths))
    return int(edges[2 * best]), int(lengths[best])


def _called(tokenizer: Any, text: str, special: bool, at: int = 0) -> Tokens:
    """Call the tokenizer for a text that begins at character `at`. Raises RecordError where it fails."""
    try:
        fields = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    except BaseException as error:
        # Rust's panics are no `Exception`s; a vocabulary without the unknown token that it names raises `Exception`.
        if type(error).__name__ != "PanicException" and type(error) is not Exception:
            raise
        raise RecordError(None, f"the model's tokenizer fails at the text: {in_short(str(error))}") from error
    ids = list(fields["input_ids"])
    offsets = counted(tokenizer, ids, [tuple(span) for span in fields["offset_mapping"]], text)
    spans = np.array(offsets, dtype=np.int64).reshape(len(ids), 2) + at
    return Tokens(np.array(ids, dtype=np.int64), spans[:, 0].copy(), spans[:, 1].copy())


def _added(tokenizer: Any) -> tuple[Tokens, Tokens]:
    """Return the special tokens that the tokenizer adds before and after a text."""
    bare, full = _called(tokenizer, "a", False), _called(tokenizer, "a", True)
    n = len(bare)
    first = next(at for at in range(len(full) - n + 1) if full.ids[at : at + n].tolist() == bare.ids.tolist())
    before, after = (Tokens(ids, ids * 0, ids * 0) for ids in (full.ids[:first], full.ids[first + n :]))
    return before, after
