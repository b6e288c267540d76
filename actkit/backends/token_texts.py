"""Texts of single tokens."""

from collections.abc import Sequence
from typing import Any

SPACE = "▁"
"""How SentencePiece's vocabularies write a space."""


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token by itself, with the spaces that it begins with; part of a character is U+FFFD.

    Tokenizers that put a space before each text (Llama 2, Mistral, T5) take it away when they decode, also where a
    token is decoded alone: `▁the` would read as `the` does, and `▁` would be empty.
    """
    alone = tokenizer.batch_decode([[token] for token in ids], clean_up_tokenization_spaces=False)
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    return [_with_spaces(text, piece or "") for text, piece in zip(alone, pieces, strict=True)]


def _with_spaces(text: str, piece: str) -> str:
    n = len(piece) - len(piece.lstrip(SPACE))
    if not n or text.startswith(SPACE):  # a vocabulary in which the sign is itself
        return text
    return " " * n + text.lstrip(" ")
