r"""Read dialogues that are written as one text.

Their forms: `\n\nHuman: …\n\nAssistant: …` (hh-rlhf), `### Human: …### Assistant: …` (guanaco), and a question with
`<extra_id_1>Assistant` and `<extra_id_1>User` on lines of their own below it (HelpSteer2, SteerLM).
"""

import re

from actkit.errors import RecordError

HH = re.compile(r"(?:\r?\n){2}(Human|Assistant):(?: |(?=\r?\n)|$)")
HASHES = re.compile(r"(?:\r?\n)*### (Human|Assistant):(?: |(?=\r?\n)|$)")
EXTRA = re.compile(r"\n*<extra_id_[01]>(System|User|Assistant)(?:\r?\n|$)")
BEGINS = re.compile(r"\s*(?:Human|Assistant):(?: |\r?\n|$)")
ENDS = re.compile(r"(?:\r?\n){2}Assistant:\s*$")
RENDERED = re.compile(
    r"\s*(?:<s>|<\|begin_of_text\|>|<bos>)?\s*"
    r"(?P<mark>\[INST\]|<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|prompter\|>|<\|(?:user|system)\|>\n)"
)
"""The beginning of a prompt that a chat template has rendered already."""
TALK = re.compile(r"(?:^|.*\s)USER:\s.*?\s(ASSISTANT:)(?:\s|\Z)", re.DOTALL)
"""A text with Vicuna's turns, which may stand within a line."""
ASKS = re.compile(r"(?:^|\n)(### (?:Response|Assistant|Output|Answer):?|(?:Assistant|AI|Bot):)\Z|(?<!\w)(ASSISTANT:)\Z")
"""The end of a prompt that a template of plain text, such as Alpaca's or Vicuna's, has rendered already."""
ASKED = re.compile(r"(?:^|\n)(?:### \w|(?:Human|HUMAN|User): )|(?:^|\s)USER: ")
"""An earlier part of such a prompt."""
LONGEST_END = 40
SPOKEN = re.compile(
    r"\s*(?:\*\*)?(?:User|USER|Human|HUMAN)(?:\*\*)?:.*?\n\s*(?:\*\*)?((?:Assistant|ASSISTANT|AI|Bot|ChatGPT)(?:\*\*)?:)",
    re.DOTALL,
)
"""The beginning of a text that is a whole conversation, in any form: a user's line, and the assistant's below it."""
ROLES = {"Human": "user", "User": "user", "Assistant": "assistant", "System": "system"}


def is_dialogue(text: str) -> bool:
    """Whether a whole text is a dialogue: it begins with a turn, or ends where the assistant's turn would begin.

    `Human:` at the beginning of a text without a blank line before it, and without a further turn, is not enough.
    """
    if (text.lstrip().startswith("### ") and HASHES.match(text.lstrip())) or EXTRA.search(text):
        return True
    if BEGINS.match(text):
        return bool(HH.match(text)) or len(HH.findall(text)) > 0
    return bool(ENDS.search(text)) and HH.search(text) is not None


def rendered_by(prompt: str, alone: bool = False) -> str | None:
    """Return the mark of the template, for chats or plain text, that has rendered a prompt already; None for none.

    A prompt that is the only turn, `alone`, may also be a whole conversation; among other turns a user pasted it.
    """
    mark = begins_rendered(prompt)
    if mark is not None:
        return mark
    spoken = (SPOKEN.match(prompt) or TALK.match(prompt)) if alone else None
    if spoken is not None:
        return spoken[1]
    end = ASKS.search(prompt.rstrip()[-LONGEST_END:])
    return (end[1] or end[2]) if end is not None and ASKED.search(prompt) else None


def begins_rendered(text: str) -> str | None:
    """Return the mark of a chat template with which a text begins; None for none."""
    found = RENDERED.match(text)
    return None if found is None else found["mark"].strip()


def turns_in(text: str, field: str) -> list[dict[str, str]]:
    """Return the messages of a dialogue; of each turn only the one space after the colon is removed.

    Raises RecordError for a text without turns, or with text before them.
    """
    pattern = EXTRA if EXTRA.search(text) else HASHES if HASHES.match(text.lstrip()) else HH
    if pattern is EXTRA and not EXTRA.match(text.lstrip()):
        text = f"<extra_id_1>User\n{text}"
    elif pattern is HH and HH.match(text) is None and BEGINS.match(text):
        text = f"\n\n{text.lstrip()}"
    before, *turns = pattern.split(text)
    if not turns:
        raise RecordError(field, "no turn begins with Human: or Assistant:")
    if before.strip():
        raise RecordError(field, "text before the first turn")
    return [{"role": ROLES[speaker], "content": said} for speaker, said in zip(turns[::2], turns[1::2], strict=True)]


def open_turns(text: str, field: str) -> list[dict[str, str]]:
    """Return the messages of a dialogue that asks for an answer, without an empty turn of the assistant at its end."""
    found = turns_in(text, field)
    if len(found) > 1 and found[-1]["role"] == "assistant" and not found[-1]["content"].strip():
        found.pop()
    return found
