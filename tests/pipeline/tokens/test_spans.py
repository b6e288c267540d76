"""Spans of tokens that are bytes, tokens for what is unknown, and what a tokenizer puts after a text."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.pipeline.data import Encoding
from actkit.pipeline.tokens.spans import counted
from actkit.pipeline.tokens.tokenize import encode_text
from actkit.recipes.prompt_response import encode_plain
from tests.command_line import Run
from tests.conftest import small_tokenizer
from tests.look_alike_tokenizers import LETTERS, unigram, word_piece
from tests.pipeline.tokens.test_chunks import sentencepiece

ModelDir = Callable[[str], Path]


@pytest.fixture(scope="module")
def bytewise() -> Any:
    return unigram()


def pieces(encoding: Encoding) -> list[str]:
    return [encoding.text[a:b] for a, b in zip(encoding.char_start, encoding.char_end, strict=True)]


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("Name it: ประเทศ", "ไทย"),
        ("Smile 👩", "👧 yes"),
        ("a é", "ü b"),
        ("Name it:", " yes"),
        ("日本", "x"),
        ("é😀é", "天😀"),
    ],
)
def test_an_answer_begins_with_its_own_bytes(prompt: str, response: str, bytewise: Any) -> None:
    """The tokenizer gives all bytes of an unknown run the run's span: the prompt's were counted as the answer's."""
    found = encode_plain(bytewise, prompt, response, "auto")
    alone = encode_text(bytewise, prompt)
    assert not found.boundary_merged
    assert found.response is not None and found.response[0] == len(alone)
    assert found.encoding.token_ids[: len(alone)].tolist() == alone.token_ids.tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*LETTERS[:6], "é", "天", "😀", "ท", "\u0301", " "]), max_size=20).map("".join))
def test_every_byte_has_the_character_that_it_is_of(text: str) -> None:
    bytewise = unigram()
    if not text:
        return
    encoding = encode_text(bytewise, text)
    names = bytewise.convert_ids_to_tokens(encoding.token_ids.tolist())
    found: dict[int, list[int]] = {}
    for name, first, last in zip(names, encoding.char_start.tolist(), encoding.char_end.tolist(), strict=True):
        if name.startswith("<0x"):
            assert last == first + 1
            found.setdefault(first, []).append(int(name[3:5], 16))
    assert {text[at]: bytes(values).decode() for at, values in found.items()} == {text[at]: text[at] for at in found}
    assert set(found) == {at for at, letter in enumerate(text) if letter not in LETTERS and letter != " "}


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("①の天", [(0, 1), (0, 1), *[(1, 2)] * 3, *[(2, 3)] * 3]),
        ("e\u0301天", [(0, 1), *[(0, 2)] * 2, *[(2, 3)] * 3]),  # one letter of two characters
        ("ｶﾞ天", [(0, 1), *[(0, 2)] * 3, *[(2, 3)] * 3]),
        ("ﷺ天é", [*[(0, 1)] * 34, *[(1, 2)] * 3, *[(2, 3)] * 2]),  # eighteen characters of one, some in the vocabulary
        ("\u1100\u1161\u11a8天", [(0, 1), *[(0, 3)] * 3, *[(3, 4)] * 3]),
    ],
)
def test_bytes_of_a_text_that_was_normalized(text: str, spans: list[tuple[int, int]]) -> None:
    """The tokenizer gives them the span of their whole run; characters are not as many as there were."""
    from tokenizers import normalizers

    composing = unigram()
    composing.backend_tokenizer.normalizer = normalizers.NFKC()
    found = encode_text(composing, text, "never")
    assert list(zip(found.char_start.tolist(), found.char_end.tolist(), strict=True)) == spans


def test_bytes_that_nothing_explains_keep_the_span_that_they_have() -> None:
    """No normalizer, and not as many characters as the span has; or no characters at all."""
    bytewise = unigram()
    ids = [number for byte in "é".encode() if (number := bytewise.convert_tokens_to_ids(f"<0x{byte:02X}>"))]
    assert counted(bytewise, ids, [(0, 2), (0, 2)], "e\u0301") == [(0, 2), (0, 2)]
    half = [ids[0], ids[0]]
    assert counted(bytewise, half, [(0, 2), (0, 2)], "e\u0301") == [(0, 2), (0, 2)]


def bytes_in(tokenizer: Any, ids: list[int], text: str) -> list[tuple[int, int]]:
    """Spans by another way: the bytes of all tokens, one after another, are the text's, but for a space before it."""
    names = [tokenizer.backend_tokenizer.id_to_token(number) for number in ids]
    raw = [bytes([int(name[3:5], 16)]) if name.startswith("<0x") else name.replace("▁", " ").encode() for name in names]
    whole = b"".join(raw)
    before = int(whole != text.encode())
    assert whole == b" " * before + text.encode()
    owner = [at - before for at, character in enumerate(whole.decode()) for _ in character.encode()]
    ends = np.cumsum([len(piece) for piece in raw]).tolist()
    return [(max(owner[end - len(piece)], 0), max(owner[end - 1] + 1, 1)) for piece, end in zip(raw, ends, strict=True)]


LETTERS_OF_ALL = "a b é e\u0301 天 地 😀 👩\u200d👧 🏳️\u200d🌈 yes th 한국"
MIXED = [*LETTERS_OF_ALL.split(), " ", "  ", "\n", "the water"]


@pytest.mark.parametrize("kind", ["unigram", "spm with a space before", "spm"])
def test_spans_are_where_the_bytes_are(kind: str) -> None:
    """Unigram and BPE with byte fallback, characters split over tokens, on texts of many scripts."""
    from tokenizers import normalizers

    spaces = normalizers.Replace(" ", "▁")
    prepend = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    tokenizer = unigram() if kind == "unigram" else sentencepiece(spaces if kind == "spm" else prepend)
    draw = random.Random(kind)
    n_bytes = 0
    for _ in range(200):
        text = "".join(draw.choices(MIXED, k=draw.randrange(1, 14)))
        found = encode_text(tokenizer, text, "never")
        spans = list(zip(found.char_start.tolist(), found.char_end.tolist(), strict=True))
        assert spans == bytes_in(tokenizer, found.token_ids.tolist(), text), text
        n_bytes += sum(name.startswith("<0x") for name in tokenizer.convert_ids_to_tokens(found.token_ids.tolist()))
    assert n_bytes > 1000


@pytest.mark.parametrize("tokenizer", [word_piece(), unigram(byte_fallback=False)], ids=["wordpiece", "unigram"])
def test_what_is_unknown_is_text(tokenizer: Any) -> None:
    encoding = encode_text(tokenizer, "the 猫 sat on the 木")
    assert encoding.n_unknown == 2 and encoding.special_in_text == 0
    unknown = encoding.token_ids == tokenizer.unk_token_id
    assert unknown.sum() == 2 and not encoding.is_special[unknown].any()
    assert encode_text(tokenizer, "the sat").n_unknown == 0


def test_a_token_for_everything_is_a_control_token_where_it_is_one() -> None:
    """GPT-2 names one token BOS, EOS and unknown; typed, it acts as a control token."""
    one_for_all = small_tokenizer(bos_token="<end>", eos_token="<end>", unk_token="<end>", adds_bos=False)
    encoding = encode_text(one_for_all, "a<end>b")
    assert (encoding.n_unknown, encoding.special_in_text, encoding.is_special.tolist()) == (0, 1, [False, True, False])
    pads = small_tokenizer(pad_token="<pad>", unk_token="<pad>", adds_bos=False)
    assert encode_text(pads, "a<pad>b").n_unknown == 1


@pytest.mark.parametrize("ends_with", ["<end>", "<end> <end>"])
def test_the_last_token_of_a_text_is_before_what_the_tokenizer_appends(ends_with: str) -> None:
    from tokenizers import processors

    tokenizer = small_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<bos> $A {ends_with}", special_tokens=[("<bos>", 1), ("<end>", 2)]
    )
    plain = encode_plain(tokenizer, "Hi you", None, "auto")
    answered = encode_plain(tokenizer, "Hi you", " and I", "auto")
    assert plain.response_start == answered.response_start == 7  # BOS and six letters
    assert answered.response == (7, 13)
    assert pieces(plain.encoding)[plain.encoding.text_end - 1] == "u"
    assert encode_text(tokenizer, "x<end>").text_end == 3  # typed, it is the text's own


def bert_like(model: Path, to: Path) -> str:
    """A causal model with a tokenizer that puts [CLS] before a text and [SEP] after it."""
    shutil.copytree(model, to)
    word_piece().save_pretrained(to)
    return str(to)


def test_positions_of_a_run_end_where_the_text_does(model_dir: ModelDir, tmp_path: Path, actkit: Run) -> None:
    model = bert_like(model_dir("llama"), tmp_path / "model")
    (tmp_path / "two.jsonl").write_text('{"prompt": "the 猫 sat"}\n{"prompt": "the 猫 sat", "response": " on"}\n')
    done = actkit(
        "capture",
        tmp_path / "two.jsonl",
        "--model",
        model,
        "--positions",
        "last",
        "-o",
        tmp_path / "run",
        "--layers",
        1,
    )
    assert done.status == 0 and "outside the vocabulary" in done.err and "typed inside" not in done.err
    tokens = pd.read_parquet(tmp_path / "run/tokens")
    kept = pd.read_parquet(tmp_path / "run/activations")[["sequence_id", "position"]].merge(tokens)
    assert kept["token"].tolist() == ["sat", "##n"]
    sequences = pd.read_parquet(tmp_path / "run/sequences")
    assert sequences["n_unknown"].tolist() == [1, 1] and sequences["n_special_in_text"].tolist() == [0, 0]
    assert actkit("verify", tmp_path / "run").status == 0


def test_a_token_that_the_model_has_not_rejects_its_record_alone(
    model_dir: ModelDir, tmp_path: Path, actkit: Run
) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    tokenizer = small_tokenizer()
    tokenizer.add_tokens([f"<{number}>" for number in range(60)])
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "in.txt").write_text("one\ntwo <59>\nthree\n")
    call = ["capture", tmp_path / "in.txt", "--model", tmp_path / "model", "--layers", 1]
    assert actkit(*call, "-o", tmp_path / "run").status == 0
    assert len(pd.read_parquet(tmp_path / "run/sequences")) == 2
    rejected = pd.read_parquet(tmp_path / "run/rejected")
    assert rejected["line"].tolist() == [2] and "embeddings of 0 to 299 only" in rejected["reason"][0]
    failed = actkit(*call, "--on-bad-record", "fail", "-o", tmp_path / "other")
    assert failed.status == 1 and "in.txt:2: the tokenizer gives token id 321" in failed.err
    assert actkit(*call, "--plan", "--json", "-o", tmp_path / "plan").found["counts"]["rejected"] == 1
