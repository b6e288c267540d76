"""Labelled texts, the input of `reward-detect`: read from records, and made into sequences whose answers are pooled.

{"text", "feedback"}                 a text, on its own
{"prompt", "text", "feedback"}       after a prompt, which is run but not pooled
{"messages": […], "label"}           a conversation; its last message, the assistant's, is pooled
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actkit.config import Bos
from actkit.errors import RecordError
from actkit.pipeline.data import Ints, TokenSequence
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.conversations.fields import FieldNames, is_empty, lookup, object_of, top_of
from actkit.recipes.conversations.messages import Message
from actkit.recipes.conversations.pairs import Pair
from actkit.recipes.conversations.prompts import Conversation, read_answered
from actkit.recipes.label_words import Label
from actkit.recipes.labels import FeedbackFields, Labels, name_of
from actkit.recipes.prompt_response import PromptResponse, encode_conversation, encode_messages
from actkit.recipes.shared_prefix import Branch, branches, key_of

GROUP_FIELDS = ("group", "question_id")
"""Fields looked for, in this order, when none is given. A weight is read from a named field alone: `score` is as often
the grade."""


@dataclass(frozen=True)
class Feedback:
    """One labelled text."""

    label: Label
    said: Conversation
    """The text, or the answer that ends a conversation."""
    group: str | None = None
    score: float | None = None


def parse_feedback(value: Any, fields: FeedbackFields, labels: Labels, names: FieldNames | None = None) -> Feedback:
    """Parse the labelled text in one record. Raises RecordError, with the field, for a part that cannot be used."""
    object_of(value)
    label, label_fields = labels.of_record(value)
    group_name, score_name = name_of(value, fields.group, GROUP_FIELDS), name_of(value, fields.score, ())
    group = lookup(value, group_name) if group_name else None
    group = None if is_empty(group) else named(group, group_name)  # CSV has empty text where there is none
    score = _score(lookup(value, score_name), score_name) if score_name else None
    said = read_answered(value, names or FieldNames(fields.prompt), fields.text)
    both = next((name for name in label_fields if name in said.read), None)
    if both is not None:
        raise RecordError(both, "read as the text and as its label: --text-field names the text")
    names_used = dict.fromkeys((*label_fields, group_name, score_name))
    used = [name for name in names_used if name is not None and name not in said.read]
    left = tuple(name for name in said.left if name not in {*used, *(top_of(path) for path in used)})
    return Feedback(label, replace(said, read=(*said.read, *used), left=left), group, score)


def spelled(value: Any) -> str:
    """A name as text; 1.0, which a table with gaps makes of 1, is 1."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def named(value: Any, field: str | None) -> str:
    """The name of a group or a template, as text. Raises RecordError for one that no table can hold."""
    try:
        name = spelled(value)
        name.encode()
    except UnicodeEncodeError as error:
        raise RecordError(field, "half a character (a lone surrogate)") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(field, "no name") from error
    return name


def _score(value: Any, field: str | None) -> float | None:
    """Read a weight: a number, not negative. A number spelled as text counts, since CSV has nothing else."""
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError) as error:
        raise RecordError(field, "not a number") from error
    except OverflowError as error:
        raise RecordError(field, "a number that is too large") from error
    if not 0 <= score < float("inf"):
        raise RecordError(field, "a weight must be a number from 0 on")
    return score


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
    """Make the sequence of one labelled text. Raises RecordError where none of its tokens can be pooled."""
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
    """Encode a text, alone or after the prompt that it answers."""
    alone = said.plain is not None and said.plain[0] is None
    if not (alone and how.plain_chat) or said.answered:
        return encode_conversation(how.tokenizer, said, how.plain_chat, how.bos)
    assert said.plain is not None
    words = [{"role": "user", "content": said.plain[1]}]
    asked = encode_messages(how.tokenizer, words, chat=True)
    own = np.flatnonzero([role == "user" for role in asked.encoding.role])
    return replace(asked, response=(int(own[0]), int(own[-1]) + 1))  # the template's text is not pooled


def of_pair(record_id: int, pair: Pair, how: SampleRendering) -> list[TokenSequence]:
    """Return a prompt, run once, and the two answers after it. Raises RecordError for a pair that cannot be used."""
    sides = []
    for number, (name, label) in enumerate((("chosen", "positive"), ("rejected", "negative"))):
        messages = getattr(pair, name)
        answered = encode_messages(how.tokenizer, messages, how.chat, how.bos, pair.plain_of(number), pair.template)
        sides.append(Branch(name, answered, _pooled(answered, len(answered.encoding), how.limit), label))
    return branches(record_id, sides, how.limit, key_of(_written(pair.chosen[:-1])))


def _pooled(answered: PromptResponse, length: int, limit: int) -> Ints:
    """Return the positions to pool: the answer's, or all without a prompt; special tokens are skipped later."""
    first, last = answered.response or (0, length)
    keep = np.arange(first, min(last, length), dtype=np.int64)
    if answered.response and first >= length:
        raise RecordError("prompt", f"the prompt alone is longer than {limit} tokens")
    if answered.encoding.is_special[keep].all():
        raise RecordError("text", "no token but special ones")
    return keep


def _written(messages: Sequence[Message]) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
