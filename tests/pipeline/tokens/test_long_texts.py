"""A long text is tokenized in windows, with the tokens and the spans that it has in one piece, in bounded memory."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actkit.bundled import TINY
from actkit.errors import RecordError
from actkit.pipeline.tokens import long_texts
from actkit.pipeline.tokens.chunks import chunks, truncate
from actkit.pipeline.tokens.tokenize import encode_text
from tests.conftest import small_tokenizer
from tests.look_alike_tokenizers import unigram, word_piece
from tests.pipeline.tokens.test_chunks import check_streamed

DATA = Path(__file__).parents[2] / "data"
SCRIPTS = [path.read_text(encoding="utf-8") for path in sorted((DATA / "udhr").glob("*.txt"))]
NAUGHTY = json.loads((DATA / "naughty_strings.json").read_text(encoding="utf-8"))
WORDS = " ".join(SCRIPTS).split()


def trained(kind: str) -> Any:
    """A tokenizer of a kind, trained on the declaration of human rights in six scripts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<unk>", "<s>", "</s>"]
    if kind == "byte-level":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(vocab_size=2000, special_tokens=specials, initial_alphabet=alphabet)
    elif kind == "sentencepiece":  # one word from the first character to the last, as Llama 2 and Gemma have it
        made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=specials)
    else:
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=1500, special_tokens=specials, unk_token="<unk>")
    made.train_from_iterator(SCRIPTS, trainer)
    if kind == "sentencepiece":
        made.pre_tokenizer = None
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from transformers import AutoTokenizer

    made = {kind: trained(kind) for kind in ("byte-level", "sentencepiece", "unigram")}
    made |= {"tiny": AutoTokenizer.from_pretrained(TINY), "bytes": small_tokenizer()}
    made |= {"word-piece": word_piece(), "byte-fallback": unigram()}
    for tokenizer in made.values():
        tokenizer.model_max_length = 10**9
    return made


KINDS = ("byte-level", "sentencepiece", "unigram", "tiny", "bytes", "word-piece", "byte-fallback")


def same(tokenizer: Any, text: str, bos: Any = "auto") -> None:
    """In windows as in one piece."""
    found = encode_text(tokenizer, text, bos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_texts, "WINDOW", len(text) + 1)
        whole = encode_text(tokenizer, text, bos)
    for name in ("token_ids", "char_start", "char_end", "is_special"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert found.n_beyond == whole.n_beyond == 0
    if bos == "never":
        check_streamed(tokenizer, list(chunks(whole, 100)), text, 100, None, window=512)


PIECES = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(
        [*NAUGHTY, " ", "\n\n", "    ", "é", "e\u0301", "天地玄黄", "😀", "</s>", "<|end|>", "a" * 50, "ab" * 40]
    ),
    st.text(max_size=12),
)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(
    pieces=st.lists(PIECES, min_size=20, max_size=60),
    between=st.sampled_from([" ", "", "\n", " "]),
    times=st.integers(1, 6),
)
@example(pieces=["a"], between="", times=3000)
@example(pieces=["ab "], between="", times=800)
@example(pieces=[" "], between="", times=3000)
@example(pieces=["ประเทศไทย"], between="", times=300)
def test_windows_change_no_token(
    kind: str, pieces: list[str], between: str, times: int, tokenizers: dict[str, Any]
) -> None:
    text = between.join(pieces * times)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WINDOW", 512), ("OVERLAP", 256), ("LARGEST", 1 << 16)):
            patch.setattr(long_texts, name, value)
        try:
            same(tokenizers[kind], text)
            same(tokenizers[kind], text, "never")
        except RecordError as error:
            assert "no tokens" in error.reason or "half a character" in error.reason


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_of_many_scripts_has_its_tokens(kind: str, tokenizers: dict[str, Any]) -> None:
    draw = random.Random(kind)
    words = draw.choices([*WORDS, *map(str, range(50)), "\n\n", "  "], k=36_000)
    text = "".join(word + draw.choice(["", " ", " ", " ", "\n"]) for word in words)
    assert len(text) > 4 * long_texts.WINDOW
    same(tokenizers[kind], text, "auto")
    same(tokenizers[kind], text, "never")


@pytest.mark.slow
def test_no_more_is_held_than_is_asked_for_and_the_rest_is_counted(tokenizers: dict[str, Any]) -> None:
    text = " ".join(WORDS * 20)
    for kind in ("tiny", "word-piece"):  # BOS before it; [CLS] before it and [SEP] after it
        whole = encode_text(tokenizers[kind], text)
        held = encode_text(tokenizers[kind], text, hold=1000)
        assert 1000 < len(held) < len(whole) and held.n_whole == len(whole)
        assert held.token_ids.tolist() == whole.token_ids[: len(held)].tolist()
        assert held.char_end.tolist() == whole.char_end[: len(held)].tolist()
        assert truncate(held, 900)[1] == truncate(whole, 900)[1] == len(whole) - 900
        assert truncate(held, 900)[0].char_end.tolist() == whole.char_end[:900].tolist()


def test_a_text_that_can_be_cut_nowhere_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tokenizers: dict[str, Any]
) -> None:
    """Of one word a WordPiece tokenizer makes one [UNK], wherever a window begins."""
    monkeypatch.setattr(long_texts, "WINDOW", 1 << 10)
    monkeypatch.setattr(long_texts, "LARGEST", 1 << 12)
    with pytest.raises(RecordError, match="no place where the tokenizer could begin anew"):
        encode_text(tokenizers["word-piece"], "a" * (1 << 14))


PEAK = """
import resource, sys
from actkit.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    print(done.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
LONG = 20_000_000
"""Bytes of the long text."""
SHORT = "a short line"


def records(command: str, text: str) -> list[dict[str, Any]]:
    """An input of a command in which one text is `text`."""
    others = range(12)
    return {
        "capture": [{"prompt": text}],
        "dpo": [  # pairs that are longer than the context are rejected
            *({"prompt": prompt, "chosen": "yes", "rejected": "no"} for prompt in (SHORT, text)),
            {"prompt": "a", "chosen": text, "rejected": "no"},
        ],
        "concept": [
            *({"positive": f"I love {n}", "negative": f"I hate {n}"} for n in others),
            {"positive": text, "negative": "no"},
        ],
        "sae-extract": [{"prompt": text, "response": "yes"}, {"prompt": "a", "response": text}],
        "feature-dataset": [{"text": text}],
        "reward-detect": [
            *({"text": f"{SHORT} {n}", "label": ("good", "bad")[n % 2]} for n in others),
            {"text": text, "label": "good"},
        ],
    }[command]


def peak(arguments: list[str]) -> int:
    """The most megabytes that a run of actkit has in memory."""
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    code, found = map(int, done.stdout.split()[-2:])
    assert code == 0, done.stderr
    return found


OPTIONS = {
    "capture": ("--layers", "1"),
    "dpo": ("--layers", "1"),
    "concept": ("--layers", "1"),
    "sae-extract": (),
    "feature-dataset": ("--top-k", "5"),
    "reward-detect": ("--draws", "100"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", OPTIONS)
def test_memory_of_one_long_text_is_bounded(command: str, tmp_path: Path) -> None:
    """20 MB in one line took 3.4 GB above what a short line takes, a document of 8 MB 1.9 GB.

    Of a document each token is run, so that one of 20 MB takes half an hour: its plan has the same chunks and shards.
    """
    words = " ".join(WORDS)
    long = (words * (LONG // len(words.encode()) + 1)).encode()[:LONG].decode(errors="ignore")
    peaks = []
    for name, text in (("short", SHORT), ("long", long)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records(command, text)))
        plan = ["--plan"] if command == "feature-dataset" else []
        peaks.append(peak([command, str(path), "-o", str(tmp_path / name), "--quiet", *OPTIONS[command], *plan]))
    sys.stdout.write(f"{command}: {peaks[0]:,} MB with a short text, {peaks[1]:,} MB with the long one\n")
    assert peaks[1] - peaks[0] < 1000


@pytest.mark.slow
def test_memory_of_one_word_without_an_end_is_bounded(tmp_path: Path) -> None:
    """No window ends between two words."""
    peaks = []
    for name, text in (("short", SHORT), ("long", "a" * LONG)):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
        peaks.append(
            peak(["capture", str(tmp_path / name), "-o", str(tmp_path / f"{name}.run"), "--quiet", "--layers", "1"])
        )
    assert peaks[1] - peaks[0] < 1000


class PanicException(BaseException):
    """What pyo3 raises where Rust panics."""


@pytest.mark.parametrize(
    "error", [PanicException("index out of bounds"), Exception("Missing [UNK] token"), MemoryError()]
)
def test_a_text_at_which_the_tokenizer_fails_is_rejected(error: BaseException) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    if isinstance(error, MemoryError):  # no fault of the text's
        with pytest.raises(MemoryError):
            long_texts.tokens_in(fails, "a", False, 9)
        return
    with pytest.raises(RecordError) as caught:
        long_texts.tokens_in(fails, "a", False, 9)
    assert caught.value.reason == f"the model's tokenizer fails at the text: {error}"
