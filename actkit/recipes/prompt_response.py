"""A prompt and its answer as tokens, for all recipes that read answers.

Plain texts are joined as they are, conversations rendered by the model's chat template, or written out as turns where
there is none. Character spans tell which tokens are the answer's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from actkit.config import Bos
from actkit.errors import RecordError
from actkit.pipeline.data import Encoding, TokenSequence
from actkit.pipeline.tokens.chat import Message, Rendering, encode_chat, render
from actkit.pipeline.tokens.spans import Span
from actkit.pipeline.tokens.tokenize import TEMPLATE, Tokenizer, encode_pieces, encode_text, first_token_of, tokens_of
from actkit.recipes.conversations.dialogues import begins_rendered, rendered_by
from actkit.recipes.conversations.prompts import Conversation
from actkit.runs.progress import REPEATING, TEMPLATE_TOKENS, TOUCHING

PLAIN_TURNS = {
    "system": "\n\nSystem: ",
    "user": "\n\nHuman: ",
    "assistant": "\n\nAssistant: ",
    "tool": "\n\nTool: ",
}
"""Text before a message where there is no chat template: the turns of Anthropic's hh-rlhf."""


FEW_WORDS = 2
"""An answer may begin with a prompt of so few words by chance."""


@dataclass(frozen=True)
class PromptResponse:
    """One prompt, with its answer if there is one."""

    encoding: Encoding
    response: Span | None = None
    """The answer's positions, [first, last)."""
    answer_start: int | None = None
    """The answer's first character."""
    boundary_merged: bool = False
    """The answer's first token also holds text before it."""

    @property
    def response_start(self) -> int:
        """The answer's first position, or where it would begin: before an EOS that the tokenizer puts after a text."""
        return self.response[0] if self.response else self.encoding.text_end


def template_token(sequence: TokenSequence) -> dict[str, list[str]]:
    """Count a record whose last position is a token of the chat template, with that token's text.

    The same token stands there whatever the prompt is. Returns nothing for a token of the text.
    """
    if not len(sequence.keep):
        return {}
    at, encoding = int(sequence.keep[-1]), sequence.encoding
    if encoding.role[at] != TEMPLATE:
        return {}
    return {TEMPLATE_TOKENS: [encoding.text[int(encoding.char_start[at]) : int(encoding.char_end[at])]]}


def touching(plain: tuple[str | None, str | None] | None, chat: bool) -> dict[str, list[str]]:
    """Count a record whose answer begins with its whole prompt, so that the model reads the prompt twice.

    A record whose prompt and answer are joined with nothing between them counts too: `of France?Paris`.
    """
    prompt, answer = plain or (None, None)
    if prompt and answer and answer.lstrip().startswith(prompt.strip()) and len(prompt.split()) > FEW_WORDS:
        return {REPEATING: ["prompt"]}
    if chat or not prompt or not answer or prompt[-1].isspace() or answer[0].isspace():
        return {}
    return {TOUCHING: ["prompt and answer"]}


def encode_plain(tokenizer: Tokenizer, prompt: str, response: str | None, bos: Bos) -> PromptResponse:
    """Encode a prompt and, where there is one, the text that follows it, joined as they are."""
    if response is None:
        return PromptResponse(encode_text(tokenizer, prompt, bos))
    encoding, spans = encode_pieces(tokenizer, [("prompt", prompt), ("response", response)], bos)
    return _answered(encoding, spans[-1])


def conversation(prompt: str | Sequence[Message], response: str | None) -> list[Message]:
    """Join a prompt (the user's words, or messages already) and, where there is one, the assistant's answer."""
    messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*prompt]
    return messages if response is None else [*messages, {"role": "assistant", "content": response}]


def encode_messages(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    chat: bool,
    bos: Bos = "auto",
    plain: tuple[str, str] | None = None,
    told: Mapping[str, Any] | None = None,
) -> PromptResponse:
    """Encode a conversation. An assistant's message at its end is the answer; else the answer would begin after it.

    With `chat` the model's template renders it, given `told` (tools and the like). Without, turns are written out, or
    prompt and answer are joined as they were given (`plain`). Raises RecordError for an answer that calls a tool, and
    for tools where there is no template to write them.
    """
    answered = messages[-1]["role"] == "assistant"
    if messages[-1].get("tool_calls"):
        raise RecordError("messages", "the answer calls a tool; answers that are text are read")
    if not chat and any(message.get("tool_calls") for message in messages):
        raise RecordError("messages", "calls of tools need a chat template")
    if not chat and told and told.get("tools"):
        raise RecordError("tools", "tools need a chat template; --ignore-field tools does without them")
    if chat:
        _check_not_rendered(tokenizer, messages)
        options = {name: value for name, value in (told or {}).items() if name != "tools"}
        encoding, spans = encode_chat(tokenizer, messages, Rendering(not answered, (told or {}).get("tools"), options))
    elif plain is not None:
        encoding, spans = encode_pieces(tokenizer, [("user", plain[0]), ("assistant", plain[1])], bos)
    else:
        pieces: list[tuple[str | None, str]] = []
        for message in messages:
            pieces += [(None, PLAIN_TURNS[message["role"]]), (message["role"], message["content"])]
        if not answered:
            pieces.append((None, PLAIN_TURNS["assistant"].rstrip()))
        encoding, spans = encode_pieces(tokenizer, pieces, bos)
    return _answered(encoding, spans[-1]) if answered else PromptResponse(encoding)


def _check_not_rendered(tokenizer: Tokenizer, messages: Sequence[Message]) -> None:
    """Raise RecordError for a prompt that is a rendered chat, or an answer that begins with a chat's mark.

    A template around it would make two chats of it.
    """
    said = [message["content"] for message in messages if message["role"] == "user"]
    first = said[0] if said else ""
    mark = rendered_by(first, alone=len(said) == 1) or next(
        filter(first.lstrip().startswith, _marks_of(tokenizer)), None
    )
    if mark is not None:
        raise RecordError(
            "prompt", f"the prompt is written in a chat template already ({mark}); --no-chat runs it as it is"
        )
    begun = begins_rendered(messages[-1]["content"]) if messages[-1]["role"] == "assistant" else None
    if begun is not None:
        raise RecordError(
            None, f"the answer is written in a chat template already ({begun}); --no-chat runs it as it is"
        )


@lru_cache(maxsize=1)
def _marks_of(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the special tokens that the model's chat template writes around a question."""
    try:
        text = render(tokenizer, [{"role": "user", "content": "\ue000"}], Rendering(True))
    except RecordError:
        return ()
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return tuple(str(token) for token in added if token.special and str(token) in text)


def encode_conversation(tokenizer: Tokenizer, found: Conversation, chat: bool, bos: Bos) -> PromptResponse:
    """Encode a record's conversation: messages by the chat template, a prompt of one text by it only with `chat`.

    Raises RecordError for a field that makes turns of such a prompt (system, history, tools) without `chat`.
    """
    if found.turns_of is not None and not chat:
        raise RecordError(
            found.turns_of,
            f"{found.turns_of} stands in a chat template only: --chat puts the prompt into it, "
            f"--ignore-field {found.turns_of} leaves it out",
        )
    if found.plain is not None and not chat:
        prompt, response = found.plain
        return encode_plain(
            tokenizer, response or "" if prompt is None else prompt, None if prompt is None else response, bos
        )
    return encode_messages(tokenizer, found.messages, True, bos, told=found.template)


def text_in(value: object, name: str) -> str:
    """Return a field's text. Raises RecordError where it is missing, empty or no text."""
    if not isinstance(value, str):
        raise RecordError(name, "missing" if value is None else "not text")
    if not value.strip():
        raise RecordError(name, "empty")
    return value


def _answered(encoding: Encoding, span: Span) -> PromptResponse:
    start, merged = first_token_of(encoding, span[0])
    return PromptResponse(encoding, (start, max(tokens_of(encoding, span)[1], start)), span[0], merged)
