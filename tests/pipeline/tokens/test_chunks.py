"""Chunks: a document cut to contexts loses no token, and every character of it stays where it was."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actkit.bundled import TINY
from actkit.errors import ModelError, RecordError
from actkit.pipeline.data import Encoding, TokenSequence
from actkit.pipeline.record_tables import tokens_table
from actkit.pipeline.tokens import long_texts
from actkit.pipeline.tokens.chunks import chunks, chunks_of_text
from actkit.pipeline.tokens.tokenize import encode_text, leading_bos
from tests.conftest import small_tokenizer

KINDS = ("tiny", "bytes", "sentencepiece", "normalizing")
NASTY = [
    "naïve café e\u0301 a\u0308\u0323 ﬁ ﷺ",
    "👩‍👩‍👧‍👦🏳️‍🌈 😀😀 🇩🇪 x😀y",
    "天地玄黄，宇宙洪荒。日本語のテキスト 한국어",
    "\r\n\r\n  \t\x00\x1b[0m\x7f \u200b\u200e\u2028\ufeff \u00a0\u3000\n\n\n",
    "one  two   three    \n\n   four <|user|> <bos> five </s> \x85 six   ",
    " ",
    "\n",
]
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from([*NASTY, "The sea was calm. ", "12345 ", "\n", " "]), max_size=6).map("".join),
    st.lists(st.sampled_from("abé😀天\u0301\n\t "), max_size=40).map("".join),
)


def sentencepiece(normalizer: Any) -> Any:
    """As Llama 2 and Gemma have it: `▁` for a space, pieces of several characters, bytes for what is in no piece."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyz.,12345é天", "th", "ea", "▁t", "▁th", "▁the", "▁▁", "▁▁▁", "ab"]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("a", "b"), ("t", "h"), ("e", "a"), ("▁", "▁"), ("▁▁", "▁")]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.normalizer = normalizer
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    spaces = normalizers.Replace(" ", "▁")
    folding = [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]
    made = {
        "tiny": AutoTokenizer.from_pretrained(TINY),
        "bytes": small_tokenizer(),
        "sentencepiece": sentencepiece(normalizers.Sequence([normalizers.Prepend("▁"), spaces])),
        "normalizing": sentencepiece(normalizers.Sequence([*folding, spaces])),
    }
    for tokenizer in made.values():
        tokenizer.model_max_length = 10**9
    return made


def check_pieces(whole: Encoding, size: int, bos: int | None) -> list[tuple[Encoding, int]]:
    """What holds for the chunks of any document, its `tokens` table included."""
    document, pieces = whole.text, list(chunks(whole, size, bos))
    begin = int(bos is not None)
    assert np.concatenate([piece.token_ids[begin:] for piece, _ in pieces]).tolist() == whole.token_ids.tolist()
    for number, (piece, at) in enumerate(pieces):
        assert begin < len(piece) <= size
        assert len(piece) == size or number == len(pieces) - 1
        assert piece.text == document[at : at + len(piece.text)]
        assert {len(values) for values in vars(piece).values() if isinstance(values, (np.ndarray, tuple))} == {
            len(piece)
        }
        if bos is not None:
            first = (piece.token_ids[0], piece.char_start[0], piece.char_end[0], piece.is_special[0])
            assert first == (bos, 0, 0, True)
        assert piece.special_in_text == piece.is_special[begin:].sum()
        assert piece.char_start.min() == 0 and piece.char_end.max() == len(piece.text)
    rows = tokens_of_run(pieces)
    own = rows["position"] >= begin
    start, end, special = (rows[name][own] for name in ("char_start", "char_end", "is_special"))
    assert (start.tolist(), end.tolist()) == (whole.char_start.tolist(), whole.char_end.tolist())
    assert special.tolist() == whole.is_special.tolist()
    assert sorted({place for a, b in zip(start, end, strict=True) for place in range(a, b)}) == list(
        range(len(document))
    )
    return pieces


def tokens_of_run(pieces: list[tuple[Encoding, int]]) -> dict[str, Any]:
    """The columns of the table `tokens` that a run writes of these chunks."""
    sequences = [
        TokenSequence(0, piece, np.arange(len(piece)), sequence_id=number, chunk=number, char_offset=at)
        for number, (piece, at) in enumerate(pieces)
    ]
    table = tokens_table(sequences, lambda ids: ["?"] * len(ids))
    return {name: table[name].to_numpy() for name in ("position", "char_start", "char_end", "is_special")}


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, size=st.integers(2, 20), with_bos=st.booleans())
@example(text="".join(NASTY), size=2, with_bos=True)
@example(text="".join(NASTY), size=20, with_bos=False)
def test_no_token_and_no_character_is_lost(
    tokenizers: dict[str, Any], kind: str, text: str, size: int, with_bos: bool
) -> None:
    """Tokens are those of the whole document, and their spans what the tokenizer itself says of it."""
    tokenizer = tokenizers[kind]
    try:
        whole = encode_text(tokenizer, text, "never")
    except RecordError as error:
        assert "surrogate" in error.reason or error.reason == "no tokens"
        return
    fields = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert whole.token_ids.tolist() == fields["input_ids"]
    own = [tuple(span) for span in fields["offset_mapping"]]
    found = list(zip(whole.char_start.tolist(), whole.char_end.tolist(), strict=True))
    if kind in ("tiny", "bytes"):
        assert found == own
    else:
        check_widened(found, own)
    bos = tokenizer.bos_token_id if with_bos else None
    check_streamed(tokenizer, check_pieces(whole, size, bos), text, size, bos)


def check_streamed(
    tokenizer: Any, pieces: list[tuple[Encoding, int]], text: str, size: int, bos: int | None, window: int = 64
) -> None:
    """The chunks are the same where the whole encoding is never there, and the text is tokenized in windows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WINDOW", window), ("OVERLAP", window // 2), ("LARGEST", 1 << 20)):
            patch.setattr(long_texts, name, value)
        streamed = list(chunks_of_text(tokenizer, text, size, bos))
    assert len(streamed) == len(pieces)
    for (chunk, at), (other, where) in zip(streamed, pieces, strict=True):
        assert at == where
        for name, value in vars(other).items():
            assert np.array_equal(getattr(chunk, name), value), name


def check_widened(found: list[tuple[int, int]], own: list[tuple[int, int]]) -> None:
    """Each span holds the tokenizer's own, and besides only characters that are in no token of the tokenizer's."""
    covered = {place for start, end in own for place in range(start, end)}
    for (start, end), (first, last) in zip(found, own, strict=True):
        if first < last:
            assert start <= first and last <= end
            assert not covered & {*range(start, first), *range(last, end)}
        else:
            assert start == end


@pytest.mark.parametrize("with_bos", [False, True])
def test_a_character_of_several_tokens_is_in_both_of_the_pieces_that_share_it(
    tokenizers: dict[str, Any], with_bos: bool
) -> None:
    tokenizer = tokenizers["bytes"]
    pieces = check_pieces(encode_text(tokenizer, "a😀b", "never"), 3 + with_bos, 1 if with_bos else None)
    assert [(piece.text, at, piece.char_start.tolist()[with_bos:]) for piece, at in pieces] == [
        ("a😀", 0, [0, 1, 1]),
        ("😀b", 1, [0, 0, 1]),
    ]


def test_a_document_that_fits_is_one_piece_and_one_token_more_makes_two(tokenizers: dict[str, Any]) -> None:
    whole = encode_text(tokenizers["bytes"], "abcde", "never")
    assert [len(piece) for piece, _ in chunks(whole, 5)] == [5]
    assert [len(piece) for piece, _ in chunks(whole, 4)] == [4, 1]
    assert [len(piece) for piece, _ in chunks(whole, 6, 1)] == [6]
    assert [len(piece) for piece, _ in chunks(whole, 5, 1)] == [5, 2]
    assert [(piece.text, at) for piece, at in chunks(whole, 3, 1)] == [("ab", 0), ("cd", 2), ("e", 4)]


def test_special_tokens_typed_in_a_document_are_counted_in_their_piece(tokenizers: dict[str, Any]) -> None:
    whole = encode_text(tokenizers["bytes"], "ab<user>cd<bos>", "never")
    pieces = check_pieces(whole, 4, 1)
    assert [piece.special_in_text for piece, _ in pieces] == [1, 1]
    assert [piece.is_special.tolist() for piece, _ in pieces] == [
        [True, False, False, True],
        [True, False, False, True],
    ]
    assert [piece.text for piece, _ in pieces] == ["ab<user>", "cd<bos>"]


def test_tokens_are_those_of_the_whole_document_and_not_of_its_pieces(tokenizers: dict[str, Any]) -> None:
    """A piece tokenized alone would begin with the space that sentencepiece puts before a text."""
    tokenizer = tokenizers["sentencepiece"]
    pieces = check_pieces(encode_text(tokenizer, "the theab", "never"), 2, None)
    assert [piece.text for piece, _ in pieces] == ["the the", "ab"]
    last = pieces[-1][0]
    assert last.token_ids.tolist() != encode_text(tokenizer, last.text, "never").token_ids.tolist()


def test_leading_bos_is_what_the_tokenizer_and_the_option_say(tokenizers: dict[str, Any]) -> None:
    with_bos, without = tokenizers["bytes"], small_tokenizer(adds_bos=False)
    assert [leading_bos(with_bos, option) for option in ("auto", "always", "never")] == [1, 1, None]
    assert [leading_bos(without, option) for option in ("auto", "always", "never")] == [None, 1, None]
    assert tokenizers["tiny"].bos_token_id == leading_bos(tokenizers["tiny"], "auto")
    bare = small_tokenizer(adds_bos=False, bos_token=None)
    assert [leading_bos(bare, option) for option in ("auto", "never")] == [None, None]
    with pytest.raises(ModelError, match="no BOS"):
        leading_bos(bare, "always")
