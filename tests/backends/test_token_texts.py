"""What a token is as text: with the spaces of its piece, which some tokenizers leave out where it is decoded alone."""

from typing import Any

import pytest

from actkit.backends import describe
from actkit.backends.token_texts import token_texts
from actkit.config import ModelSpec
from actkit.recipes.steering.run import _first_token
from tests.look_alike_tokenizers import llama2, unigram, word_piece

TEXT = "the dog  thedog, the"


def ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@pytest.mark.parametrize("made", [llama2, lambda: llama2(False), unigram], ids=["llama2", "mistral", "unigram"])
def test_a_space_that_a_piece_begins_with_is_kept(made: Any) -> None:
    """`▁the` and `the` read alike, and `▁` was empty."""
    tokenizer = made()
    ids = ids_of(tokenizer, TEXT)
    assert tokenizer.batch_decode([[token] for token in ids]) != token_texts(tokenizer, ids)
    assert "".join(token_texts(tokenizer, ids)) == f" {TEXT}"
    names = {token: tokenizer.convert_ids_to_tokens(token) for token in range(len(tokenizer))}
    spelt = [token for token, name in names.items() if not name.startswith("<")]
    assert token_texts(tokenizer, spelt) == [names[token].replace("▁", " ") for token in spelt]


def test_other_vocabularies_are_decoded_as_they_are() -> None:
    for tokenizer in (describe(ModelSpec(device="cpu")).tokenizer, word_piece()):
        ids = ids_of(tokenizer, "the sat. ▁ é")
        assert token_texts(tokenizer, ids) == tokenizer.batch_decode([[token] for token in ids])
    llama = llama2()
    assert token_texts(llama, ids_of(llama, "é")[-2:]) == ["\ufffd", "\ufffd"]
    assert token_texts(llama, [1, 2]) == ["<s>", "</s>"]


@pytest.mark.parametrize("made", [llama2, lambda: llama2(False)], ids=["llama2", "mistral"])
def test_a_word_begins_with_the_token_that_is_its_own(made: Any) -> None:
    """Llama 2 writes two spaces before it, the first a token of its own: all words began alike."""
    tokenizer = made()
    first = [token_texts(tokenizer, [_first_token(tokenizer, word)])[0].strip() for word in ("the", "dog")]
    assert first == ["the", "dog"]
