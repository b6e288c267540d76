"""Stage 2, tokenize: make token ids of texts and chats, with character spans, roles and special-token flags.

1. The tokenizer gets a text unchanged, in one piece: parts tokenized apart would give other tokens.
2. Character spans are made to cover the text: characters between two tokens belong to the later one.
3. Boundaries between prompt and response are read off the token spans.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from actkit.config import MOST_TOKENS, Bos
from actkit.errors import ModelError, RecordError
from actkit.pipeline.data import Bools, Encoding, Ints
from actkit.pipeline.tokens.long_texts import Tokens, tokens_in
from actkit.pipeline.tokens.spans import Span, covering

TEMPLATE = "template"
"""The role of a chat template's own tokens."""


class Tokenizer(Protocol):
    """The parts of a Hugging Face fast tokenizer that actkit uses."""

    bos_token_id: int | None
    chat_template: Any

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens that have a name."""

    def __hash__(self) -> int:
        """Return the hash of the object, by which caches find the tokenizer."""

    def __call__(self, text: str, *, add_special_tokens: bool, return_offsets_mapping: bool) -> Mapping[str, Any]:
        """Return `input_ids` and `offset_mapping` of one text."""

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any:
        """Return the rendered text."""


def encode_text(tokenizer: Tokenizer, text: str, bos: Bos = "auto", hold: int = MOST_TOKENS) -> Encoding:
    """Tokenize plain text; `bos` decides on the leading BOS. There is never more than one.

    A text that begins with its own BOS, as rendered chats do, gets no second one. Of a long text, at least the first
    `hold` tokens are returned and the others may only be counted. Raises RecordError for a text without tokens, and for
    a long text that cannot be tokenized in windows.
    """
    check_text(text)
    tokens, beyond = tokens_in(tokenizer, text, bos != "never", hold)
    begin = leading_bos(tokenizer, bos) if bos == "always" else None
    if begin is not None and tokens.ids[:1].tolist() != [begin]:
        tokens = Tokens(*(np.concatenate([[first], array]) for first, array in zip((begin, 0, 0), tokens, strict=True)))
    if len(tokens) > 1 and (tokens.ids[:2] == tokenizer.bos_token_id).all() and tokens.end[0] == 0 < tokens.end[1]:
        tokens = tokens.part(1)
    return encoding_of(tokenizer, text, tokens, beyond, typed=((0, len(text)),))


def encode_pieces(
    tokenizer: Tokenizer, pieces: Sequence[tuple[str | None, str]], bos: Bos = "auto"
) -> tuple[Encoding, list[Span]]:
    """Tokenize pieces of text, each with a role or None, as one text: tokenizing them apart would give other tokens.

    Returns the encoding and the character spans of the pieces with a role.
    """
    encoding = encode_text(tokenizer, "".join(text for _, text in pieces), bos)
    role: list[str | None] = [TEMPLATE] * len(encoding)
    spans: list[Span] = []
    at = 0
    for name, text in pieces:
        if name is not None:
            spans.append((at, at + len(text)))
            first, last = tokens_of(encoding, spans[-1])
            role[first:last] = [name] * (last - first)
        at += len(text)
    return replace(encoding, role=tuple(role)), spans


def first_token_of(encoding: Encoding, character: int) -> tuple[int, bool]:
    """Return the first token with text at or after `character`, and whether it also has text before it (merged)."""
    position = int(np.searchsorted(encoding.char_end, character, side="right"))
    merged = position < len(encoding) and int(encoding.char_start[position]) < character
    return position, merged


def tokens_of(encoding: Encoding, span: Span) -> tuple[int, int]:
    """Return the tokens [first, last) with characters of `span`; a token across its boundary counts as inside."""
    inside = (encoding.char_end > span[0]) & (encoding.char_start < span[1])
    found = np.flatnonzero(inside)
    if len(found) == 0:
        at = int(np.searchsorted(encoding.char_end, span[0], side="right"))
        return at, at
    return int(found[0]), int(found[-1]) + 1


def divergence(first: Ints, second: Ints) -> int:
    """Return the first position at which two rows of token ids differ, or the length of the shorter row."""
    shorter = min(len(first), len(second))
    differing = np.flatnonzero(first[:shorter] != second[:shorter])
    return int(differing[0]) if len(differing) else shorter


def leading_bos(tokenizer: Tokenizer, bos: Bos) -> int | None:
    """Return the BOS that `bos` puts before a text; None for none. Raises ModelError if the tokenizer has no BOS."""
    if bos == "always":
        if tokenizer.bos_token_id is None:
            raise ModelError("the tokenizer has no BOS token", "leave out --bos always")
        return tokenizer.bos_token_id
    first = list(tokenizer("a", add_special_tokens=True, return_offsets_mapping=True)["input_ids"])[:1]
    return tokenizer.bos_token_id if bos == "auto" and first == [tokenizer.bos_token_id] else None


def check_text(text: str) -> None:
    """Raise RecordError for text that cannot be stored as UTF-8: JSON can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecordError(None, "the text holds half a character (a lone surrogate)") from error


def encoding_of(tokenizer: Tokenizer, text: str, tokens: Tokens, n_beyond: int, typed: Sequence[Span]) -> Encoding:
    """Make an encoding of a tokenizer's result; `typed` are the spans of `text` that a user wrote.

    Raises RecordError where there are no tokens.
    """
    if not len(tokens):
        raise RecordError(None, "no tokens")
    special, unknown = special_ids(tokenizer)
    is_special = are_among(tokens.ids, special)
    start, end = covering(tokens.start, tokens.end, None if n_beyond else len(text))
    in_text = sum(int((is_special & (start >= first) & (end <= last) & (end > start)).sum()) for first, last in typed)
    role: tuple[str | None, ...] = (None,) * len(tokens)
    return Encoding(text, tokens.ids, start, end, is_special, role, in_text, unknown, n_beyond)


def special_ids(tokenizer: Tokenizer) -> tuple[Ints, int | None]:
    """Return the ids of special tokens, and the id that stands for characters outside of the vocabulary.

    The first are the tokens with a name (BOS, EOS, …) and every added token that the tokenizer calls special, since
    `all_special_ids` of Llama 3 lacks the tokens around a role. The second is None where the tokenizer has no such
    token, or where it is also a control token: GPT-2 has one token for all of them, and spells everything in bytes.
    Some tokenizers pad with it, which does not matter, since no text has padding.
    """
    return _special_ids(tokenizer, tuple(tokenizer.all_special_ids))


@lru_cache(maxsize=1)  # listing 256 added tokens takes a quarter of the time that tokenizing a text does
def _special_ids(tokenizer: Tokenizer, named: tuple[int, ...]) -> tuple[Ints, int | None]:
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)
    if unknown in {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "sep", "cls", "mask")}:
        unknown = None
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {*named, *(number for number, token in added.items() if token.special)} - {unknown}
    return np.array(sorted(special), dtype=np.int64), unknown


def are_among(ids: Ints, some: Ints) -> Bools:
    """[n] Whether each id is in `some`, which ascends: np.isin takes ten times as long for a short text."""
    if not len(some):
        return np.zeros(len(ids), dtype=np.bool_)
    found: Bools = some[np.minimum(np.searchsorted(some, ids), len(some) - 1)] == ids
    return found
