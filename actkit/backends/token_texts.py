"""Texts of single tokens."""

from collections.abc import Sequence
from typing import Any

SPACE = "▁"
"""The sign for a space in SentencePiece's vocabularies."""


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token by itself, with its leading spaces; U+FFFD for part of a character.

    Tokenizers that add a space before each text (Llama 2, Mistral, T5) remove it when they decode, even a single token:
    `▁the` would become `the`, and `▁` would be empty.
    """
    alone = tokenizer.batch_decode([[token] for token in ids], clean_up_tokenization_spaces=False)
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    return [_with_spaces(text, piece or "") for text, piece in zip(alone, pieces, strict=True)]


def _with_spaces(text: str, piece: str) -> str:
    n = len(piece) - len(piece.lstrip(SPACE))
    if not n or text.startswith(SPACE):  # the sign stands for itself in this vocabulary
        return text
    return " " * n + text.lstrip(" ")
