"""Labelled texts and preference pairs as sequences of which the answer's tokens are pooled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actkit.config import Bos, PairFormat
from actkit.errors import RecordError
from actkit.pipeline.data import Ints, Record, TokenSequence
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.feedback import Feedback
from actkit.recipes.messages import Message
from actkit.recipes.preferences import parse
from actkit.recipes.prompt_response import PromptResponse, conversation, encode_messages, encode_plain
from actkit.recipes.shared_prefix import Branch, branches, key_of


@dataclass(frozen=True)
class SampleRendering:
    """How texts become tokens."""

    tokenizer: Tokenizer
    bos: Bos
    limit: int | None
    """Most tokens of a sequence."""
    chat: bool
    """Whether messages and pairs go into the chat template."""
    plain_chat: bool
    """Whether plain texts do, as the user's words."""


def of_text(record_id: int, feedback: Feedback, how: SampleRendering) -> TokenSequence:
    """The sequence of one labelled text. Raises RecordError where none of its tokens can be pooled."""
    group, asked = feedback.group, feedback.prompt
    if feedback.messages is not None:
        answered = encode_messages(how.tokenizer, feedback.messages, how.chat, how.bos)
        asked = _written(feedback.messages[:-1])
    else:
        assert feedback.text is not None
        answered = _plain(feedback.text, feedback.prompt, how)
    if group is None and asked:
        group = key_of(asked)
    encoding, cut = truncate(answered.encoding, how.limit if how.limit is not None else len(answered.encoding))
    return TokenSequence(
        record_id,
        encoding,
        _pooled(answered, len(encoding), how.limit),
        response_start=answered.response[0] if answered.response else None,
        n_truncated=cut,
        group=group,
        label=feedback.label,
        score=feedback.score,
        boundary_merged=answered.boundary_merged,
    )


def _plain(text: str, prompt: str | None, how: SampleRendering) -> PromptResponse:
    if prompt is not None:
        if how.plain_chat:
            return encode_messages(how.tokenizer, conversation(prompt, text), chat=True)
        return encode_plain(how.tokenizer, prompt, text, how.bos)
    if not how.plain_chat:
        return encode_plain(how.tokenizer, text, None, how.bos)
    asked = encode_messages(how.tokenizer, conversation(text, None), chat=True)
    own = np.flatnonzero([role == "user" for role in asked.encoding.role])
    return replace(asked, response=(int(own[0]), int(own[-1]) + 1))  # of the template's text nothing is pooled


def of_pair(record: Record, form: PairFormat, how: SampleRendering) -> list[TokenSequence]:
    """A prompt, run once, and the two answers that continue it. Raises RecordError for a pair that cannot be used."""
    pair = parse(record.value, form)
    sides = []
    for name, label in (("chosen", "positive"), ("rejected", "negative")):
        answered = encode_messages(how.tokenizer, getattr(pair, name), how.chat, how.bos, pair.verbatim)
        sides.append(Branch(name, answered, _pooled(answered, len(answered.encoding), how.limit), label))
    return branches(record.record_id, sides, how.limit, key_of(_written(pair.chosen[:-1])))


def _pooled(answered: PromptResponse, length: int, limit: int | None) -> Ints:
    """The positions that are pooled: the answer's, or all without a prompt; special tokens are skipped later."""
    first, last = answered.response or (0, length)
    keep = np.arange(first, min(last, length), dtype=np.int64)
    if answered.response and first >= length:
        raise RecordError("prompt", f"the prompt alone is longer than {limit} tokens")
    if answered.encoding.is_special[keep].all():
        raise RecordError("text", "no token but special ones")
    return keep


def _written(messages: Sequence[Message]) -> str:
    return "\n".join(f"{one['role']}: {one['content']}" for one in messages)
