"""Labelled texts and preference pairs as sequences of which the answer's tokens are pooled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actkit.config import Bos
from actkit.errors import RecordError
from actkit.pipeline.data import Ints, TokenSequence
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.conversations.messages import Message
from actkit.recipes.conversations.pairs import Pair
from actkit.recipes.conversations.prompts import Conversation
from actkit.recipes.feedback import Feedback
from actkit.recipes.prompt_response import PromptResponse, encode_conversation, encode_messages
from actkit.recipes.shared_prefix import Branch, branches, key_of


@dataclass(frozen=True)
class SampleRendering:
    """Settings by which texts become tokens."""

    tokenizer: Tokenizer
    bos: Bos
    limit: int
    """Most tokens of a sequence."""
    chat: bool
    """Whether messages and pairs go into the chat template."""
    plain_chat: bool
    """Whether plain texts do, as the user's words."""


def of_text(record_id: int, feedback: Feedback, how: SampleRendering) -> TokenSequence:
    """The sequence of one labelled text. Raises RecordError where none of its tokens can be pooled."""
    said = feedback.said
    if said.plain is None and said.turns_of is None:
        answered = encode_messages(how.tokenizer, said.messages, how.chat, how.bos, told=said.template)
    else:
        answered = _of_plain(said, how)
    group = feedback.group
    asked = said.plain[0] if said.plain is not None else _written(said.messages[:-1])
    if group is None and asked:
        group = key_of(asked)
    encoding, cut = truncate(answered.encoding, how.limit)
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


def _of_plain(said: Conversation, how: SampleRendering) -> PromptResponse:
    """A text, alone or after the prompt that it answers."""
    alone = said.plain is not None and said.plain[0] is None
    if not (alone and how.plain_chat) or said.answered:
        return encode_conversation(how.tokenizer, said, how.plain_chat, how.bos)
    assert said.plain is not None
    words = [{"role": "user", "content": said.plain[1]}]
    asked = encode_messages(how.tokenizer, words, chat=True)
    own = np.flatnonzero([role == "user" for role in asked.encoding.role])
    return replace(asked, response=(int(own[0]), int(own[-1]) + 1))  # of the template's text nothing is pooled


def of_pair(record_id: int, pair: Pair, how: SampleRendering) -> list[TokenSequence]:
    """A prompt, run once, and the two answers that continue it. Raises RecordError for a pair that cannot be used."""
    sides = []
    for number, (name, label) in enumerate((("chosen", "positive"), ("rejected", "negative"))):
        messages = getattr(pair, name)
        answered = encode_messages(how.tokenizer, messages, how.chat, how.bos, pair.plain_of(number), pair.template)
        sides.append(Branch(name, answered, _pooled(answered, len(answered.encoding), how.limit), label))
    return branches(record_id, sides, how.limit, key_of(_written(pair.chosen[:-1])))


def _pooled(answered: PromptResponse, length: int, limit: int) -> Ints:
    """The positions that are pooled: the answer's, or all without a prompt; special tokens are skipped later."""
    first, last = answered.response or (0, length)
    keep = np.arange(first, min(last, length), dtype=np.int64)
    if answered.response and first >= length:
        raise RecordError("prompt", f"the prompt alone is longer than {limit} tokens")
    if answered.encoding.is_special[keep].all():
        raise RecordError("text", "no token but special ones")
    return keep


def _written(messages: Sequence[Message]) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
