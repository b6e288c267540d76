"""Token ids, character spans, roles and boundaries are right on text that breaks tools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.bundled import TINY
from actkit.errors import ModelError, RecordError
from actkit.pipeline.tokens.chat import encode_chat
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import divergence, encode_pieces, encode_text, first_token_of, tokens_of
from tests.conftest import small_tokenizer

DATA = Path(__file__).parents[2] / "data"
NAUGHTY = [text for text in json.loads((DATA / "naughty_strings.json").read_text(encoding="utf-8")) if text]
SCRIPTS = sorted((DATA / "udhr").glob("*.txt"))
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4."},
    {"role": "user", "content": "And twice that?"},
    {"role": "assistant", "content": "8, as 4 + 4 = 8."},
]


@pytest.fixture(scope="module")
def tiny() -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.model_max_length = 10**9
    return tokenizer


def check_spans(encoding: Any, text: str) -> None:
    """Spans cover the text, never run backwards, and each holds its token's text (TRAPS 15)."""
    start, end = encoding.char_start, encoding.char_end
    assert (np.diff(start) >= 0).all() and (np.diff(end) >= 0).all() and (end >= start).all()
    covered = 0
    for first, last in zip(start, end, strict=True):
        assert first <= covered
        covered = max(covered, last)
    assert covered == len(text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_spans_cover_text_in_six_scripts(path: Path, tiny: Any) -> None:
    text = path.read_text(encoding="utf-8")
    check_spans(encode_text(tiny, text), text)


def test_spans_cover_naughty_strings(tiny: Any) -> None:
    for text in NAUGHTY:
        encoding = encode_text(tiny, text)
        check_spans(encoding, text)
        pieces = [text[a:b] for a, b in zip(encoding.char_start, encoding.char_end, strict=True)]
        decoded = [tiny.decode([number]) for number in encoding.token_ids]
        for piece, token, special in zip(pieces, decoded, encoding.is_special, strict=True):
            assert special or "\ufffd" in token or piece == token


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_spans_cover_any_text(text: str) -> None:
    tokenizer = small_tokenizer()
    try:
        encoding = encode_text(tokenizer, text)
    except RecordError as error:
        assert "surrogate" in error.reason
        return
    if text:
        check_spans(encoding, text)


def test_several_tokens_share_one_character(tiny: Any) -> None:
    """An emoji is several tokens; each has the whole emoji as its span."""
    encoding = encode_text(tiny, "x😀y")
    emoji = [(int(a), int(b)) for a, b in zip(encoding.char_start, encoding.char_end, strict=True)][2:-1]
    assert len(emoji) > 1
    assert set(emoji) == {(1, 2)}


def test_white_space_that_a_tokenizer_leaves_out_goes_to_the_next_token() -> None:
    """Some tokenizers trim spans (Llama 3, GPT-2); the gap must not vanish."""

    class Trimming:
        bos_token_id, all_special_ids, chat_template = 1, [1], None

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [1, 5, 6], "offset_mapping": [(0, 0), (0, 5), (6, 11)]}

    encoding = encode_text(Trimming(), "hello world  ")  # type: ignore[arg-type]
    assert encoding.char_start.tolist() == [0, 0, 5]
    assert encoding.char_end.tolist() == [0, 5, 13]


@pytest.mark.parametrize("trims", [True, False])
def test_a_token_of_spaces_alone_has_them_as_its_span(trims: bool) -> None:
    """Pythia's and OPT's tokenizers give it an empty span at its end: an answer that begins with it would lose it."""
    from tokenizers import processors

    tokenizer = small_tokenizer(adds_bos=False)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=trims)
    encoding, spans = encode_pieces(tokenizer, [("user", "if x:"), ("assistant", "  y ")])
    assert encoding.char_start.tolist() == list(range(9)) and encoding.char_end.tolist() == list(range(1, 10))
    assert first_token_of(encoding, spans[1][0]) == (5, False)
    assert encoding.role == ("user",) * 5 + ("assistant",) * 4


def test_at_most_one_leading_bos(tiny: Any) -> None:
    """A chat template that writes BOS, and a tokenizer that adds it, make one BOS together (TRAPS 9)."""
    for encoding in (
        encode_chat(tiny, CHAT, False)[0],
        encode_text(tiny, "Hi", "auto"),
        encode_text(tiny, "Hi", "always"),
    ):
        assert (encoding.token_ids == tiny.bos_token_id).sum() == 1
        assert encoding.token_ids[0] == tiny.bos_token_id
    assert tiny.bos_token_id not in encode_text(tiny, "Hi", "never").token_ids
    for bos in ("auto", "always", "never"):  # it has one already, as chats have that somebody rendered
        typed = encode_text(tiny, f"{tiny.bos_token}Hi", bos)  # type: ignore[arg-type]
        assert typed.token_ids.tolist() == [tiny.bos_token_id, *encode_text(tiny, "Hi", "never").token_ids]
        assert typed.char_start.tolist()[:2] == [0, len(tiny.bos_token)] and typed.special_in_text == 1
    without = small_tokenizer(adds_bos=False)
    assert encode_text(without, "Hi", "auto").token_ids[0] != without.bos_token_id
    assert encode_text(without, "Hi", "always").token_ids[0] == without.bos_token_id


def test_bos_always_needs_a_bos() -> None:
    with pytest.raises(ModelError, match="no BOS"):
        encode_text(small_tokenizer(adds_bos=False, bos_token=None), "Hi", "always")


@pytest.mark.parametrize("generation_prompt", [True, False])
def test_roles_and_spans_of_a_chat(generation_prompt: bool, tiny: Any) -> None:
    """Each message's content is found where it stands, and its tokens carry its role (TRAPS 10, 11)."""
    encoding, spans = encode_chat(tiny, CHAT, generation_prompt)
    assert [encoding.text[a:b] for a, b in spans] == [message["content"] for message in CHAT]
    for message, span in zip(CHAT, spans, strict=True):
        first, last = tokens_of(encoding, span)
        assert set(encoding.role[first:last]) == {message["role"]}
        assert tiny.decode(encoding.token_ids[first:last].tolist()) == message["content"]
    assert {encoding.role[index] for index in np.flatnonzero(encoding.is_special)} == {"template"}


TRIMS = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}"
THINKS = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and not loop.last and '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<end>{% endfor %}"
)
REFUSES = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{% endfor %}"
)
NOTHING_MARKS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def with_template(template: str, **options: Any) -> Any:
    tokenizer = small_tokenizer(**options)
    tokenizer.chat_template = template
    return tokenizer


def test_a_template_that_trims_contents() -> None:
    messages = [{"role": "user", "content": "  padded \n"}, {"role": "assistant", "content": " yes "}]
    encoding, spans = encode_chat(with_template(TRIMS), messages, False)
    assert [encoding.text[a:b] for a, b in spans] == ["padded", "yes"]


def test_a_content_that_looks_like_the_template_is_not_confused_with_it() -> None:
    """The content `user` stands in the template's own text as well."""
    messages = [{"role": "user", "content": "user"}, {"role": "assistant", "content": "assistant"}]
    encoding, spans = encode_chat(with_template(NOTHING_MARKS), messages, False)
    assert spans == [(6, 10), (22, 31)]
    assert [encoding.text[a:b] for a, b in spans] == ["user", "assistant"]


def test_a_template_that_drops_earlier_thoughts_leaves_their_answers_to_be_found() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<think>x</think>b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "<think>y</think>d"},
    ]
    encoding, spans = encode_chat(with_template(THINKS), messages, False)
    assert "x" not in encoding.text
    assert [encoding.text[slice(*span)] for span in spans] == ["a", "b", "c", "<think>y</think>d"]
    encoding, spans = encode_chat(with_template(THINKS), messages[2:], False)
    assert encoding.text[slice(*spans[-1])] == "<think>y</think>d"


def test_a_template_with_generation_tags_needs_none_of_them() -> None:
    """`{% generation %}` marks answers for other tools, whose masks are all zeros without it; spans here do not use it
    (TRAPS 11)."""
    marked = (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>"
        "{% endgeneration %}{% else %}{{ m.content }}<end>{% endif %}{% endfor %}"
    )
    plain = marked.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    found = [encode_chat(with_template(template), CHAT[1:3], False) for template in (marked, plain)]
    assert found[0][1] == found[1][1]
    assert found[0][0].role == found[1][0].role
    assert found[0][0].role.count("assistant") == len(CHAT[2]["content"])


def test_what_a_template_refuses_is_a_reason() -> None:
    with pytest.raises(RecordError, match="no system role"):
        encode_chat(with_template(REFUSES), [{"role": "system", "content": "x"}], False)
    with pytest.raises(ModelError, match="no chat template"):
        encode_chat(small_tokenizer(), CHAT, False)


def test_a_merged_boundary_is_told() -> None:
    """Without a marker between prompt and response one token may hold the end of one and the start of the other."""
    tokenizer = _merging()
    encoding, spans = encode_pieces(tokenizer, [("prompt", "xa"), ("response", "by")])
    position, merged = first_token_of(encoding, spans[1][0])
    assert merged
    assert encoding.text[encoding.char_start[position] : encoding.char_end[position]] == "ab"
    apart, apart_spans = encode_pieces(tokenizer, [("prompt", "xa "), ("response", "by")])
    assert not first_token_of(apart, apart_spans[1][0])[1]


def _merging() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(
        models.BPE(vocab={letter: index for index, letter in enumerate([*letters, "ab"])}, merges=[("a", "b")])
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe)


def test_special_tokens_typed_in_a_text_are_flagged(tiny: Any) -> None:
    """`<|assistant|>` in a user's text becomes a control token: it is counted and marked (TRAPS 16)."""
    encoding = encode_text(tiny, "say <|assistant|> now")
    assert encoding.special_in_text == 1
    chat, spans = encode_chat(tiny, [{"role": "user", "content": "say <|assistant|> now"}], True)
    assert chat.special_in_text == 1
    first, last = tokens_of(chat, spans[0])
    assert chat.is_special[first:last].sum() == 1
    assert encode_chat(tiny, CHAT, True)[0].special_in_text == 0
    assert encode_text(tiny, "plain").special_in_text == 0


def test_added_tokens_without_a_name_are_special_too(tiny: Any) -> None:
    """Llama 3 marks the role headers special but names BOS and EOS alone, so that `all_special_ids` lacks them."""
    unnamed = small_tokenizer()
    unnamed.extra_special_tokens = []
    unnamed.chat_template = tiny.chat_template.replace("<|", "<").replace("|>", ">")
    assert set(unnamed.all_special_tokens) == {"<bos>", "<end>", "<pad>"}
    messages = [{"role": "user", "content": "say <assistant> now"}]
    chat, _ = encode_chat(unnamed, messages, True)
    marks = [chat.text[chat.char_start[at] : chat.char_end[at]] for at in np.flatnonzero(chat.is_special)]
    assert marks == ["<bos>", "<user>", "<assistant>", "<end>", "<assistant>"]
    assert chat.special_in_text == 1
    assert encode_text(unnamed, "say <assistant> now").special_in_text == 1


def test_divergence_is_the_first_differing_id() -> None:
    def ids(*numbers: int) -> Any:
        return np.array(numbers, dtype=np.int64)

    assert divergence(ids(1, 2, 3), ids(1, 2, 4)) == 2
    assert divergence(ids(1, 2, 3), ids(1, 2, 3)) == 3
    assert divergence(ids(1, 2), ids(1, 2, 4)) == 2
    assert divergence(ids(5), ids(6)) == 0


def test_truncate_says_how_much_it_cut(tiny: Any) -> None:
    encoding = encode_text(tiny, "one two three four")
    cut, n = truncate(encoding, 3)
    assert len(cut) == 3 and n == len(encoding) - 3
    assert truncate(encoding, 100) == (encoding, 0)


def test_half_a_character_is_a_reason_not_a_crash(tiny: Any) -> None:
    with pytest.raises(RecordError, match="surrogate"):
        encode_text(tiny, "\ud83d alone")
    with pytest.raises(RecordError, match="surrogate"):
        encode_chat(tiny, [{"role": "user", "content": "\udc00"}], True)
