r"""Preference pairs in the five shapes that data sets come in, as two whole conversations.

chatml        {"chosen": [messages], "rejected": [messages]}
trl           {"prompt", "chosen", "rejected"}, each a string or messages
instruction   {"instruction", "input", "chosen", "rejected"}
hh            {"chosen", "rejected"}, dialogues with "\n\nHuman: " and "\n\nAssistant: " turns
sharegpt      {"conversations": [{"from", "value"}], "chosen": {"from", "value"}, "rejected": {…}}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from actkit.config import PairFormat, ReadSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.files import name_of
from actkit.pipeline.input.reader import Records, look_ahead, read_records
from actkit.recipes.messages import Message, kind_of, parse_messages, text_of

FORMATS: tuple[PairFormat, ...] = get_args(PairFormat)
LOOK_AHEAD = 100
"""Records looked at before the format is given up on."""
TURN = re.compile(r"\n\n(Human|Assistant):(?: |(?=\n)|$)")


@dataclass(frozen=True)
class Pair:
    """Two conversations that each end with an assistant's message."""

    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    verbatim: bool = False
    """Prompt and response were given as text to be joined as they are, where no chat template is used."""


def detect(value: Any) -> PairFormat | None:
    """The format of one record; None if it is none of them."""
    if not isinstance(value, Mapping) or "chosen" not in value or "rejected" not in value:
        return None
    chosen = value["chosen"]
    if "conversations" in value or (isinstance(chosen, Mapping) and "value" in chosen):
        return "sharegpt"
    if "prompt" in value:
        return "trl"
    if "instruction" in value:
        return "instruction"
    if isinstance(chosen, str):
        return "hh" if TURN.search(chosen) else None
    return "chatml" if isinstance(chosen, list) else None


def pairs_in(path: str, form: PairFormat | None = None, read: ReadSpec | None = None) -> tuple[PairFormat, Records]:
    """The format of a file of pairs, and its records; None for `form` looks at the first ones.

    Raises InputError when those are in none of the formats.
    """
    looked_at, records = look_ahead(read_records(path, "jsonl", read), LOOK_AHEAD)
    for record in looked_at if form is None else ():
        form = detect(record.value) if isinstance(record, Record) else None
        if form is not None:
            break
    if form is None:
        raise _none_found(looked_at, path)
    return form, records


def _none_found(looked_at: list[Record | Rejected], path: str) -> InputError:
    if not looked_at:
        return InputError(f"{name_of(path)}: the input has no records", "is the file, or what is piped in, empty?")
    reasons = [record for record in looked_at if not isinstance(record, Record)]
    why = f" ({reasons[0].place}: {reasons[0].reason})" if reasons else ""
    fields = [one.value for one in looked_at if isinstance(one, Record) and isinstance(one.value, dict)]
    keys = [key[:60] for key in sorted(fields[0])[:8]] if fields else []
    seen = f"; the first record has the fields {', '.join(keys)}" if keys else why
    return InputError(
        f"{path}: no preference pairs in its first {len(looked_at)} records{seen}",
        f"a record needs chosen and rejected; --input-format forces one of {', '.join(FORMATS)}",
    )


def parse(value: Any, form: PairFormat) -> Pair:
    """The pair in one record. Raises RecordError, with the field, for what is missing, empty or of a wrong type."""
    if not isinstance(value, Mapping):
        raise RecordError(None, f"not an object but {kind_of(value)}")
    for side in ("chosen", "rejected"):
        if value.get(side) in (None, "", [], {}):
            raise RecordError(side, "missing" if side not in value else "empty")
    pair = _PARSERS[form](value)
    for side, messages in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        _check_end(messages, side)
    if pair.chosen == pair.rejected:
        raise RecordError("rejected", "chosen and rejected are equal")
    return pair


def _check_end(messages: tuple[Message, ...], side: str) -> None:
    if not any(message["role"] == "assistant" for message in messages):
        raise RecordError(side, "no assistant message")
    if messages[-1]["role"] != "assistant":
        raise RecordError(side, f"ends with a {messages[-1]['role']} message, not the assistant's")
    if not messages[-1]["content"].strip():
        raise RecordError(side, "the assistant's answer is empty")
    if len(messages) == 1:
        raise RecordError(side, "no prompt before the answer")


def _chatml(value: Mapping[str, Any]) -> Pair:
    return Pair(parse_messages(value["chosen"], "chosen"), parse_messages(value["rejected"], "rejected"))


def _trl(value: Mapping[str, Any]) -> Pair:
    if "prompt" not in value:
        raise RecordError("prompt", "missing")
    prompt = value["prompt"]
    if isinstance(prompt, str):
        before: tuple[Message, ...] = ({"role": "user", "content": prompt},)
        if not prompt.strip():
            raise RecordError("prompt", "empty")
    else:
        before = parse_messages(prompt, "prompt")
    sides = []
    for side in ("chosen", "rejected"):
        answer = value[side]
        after = ({"role": "assistant", "content": answer},) if isinstance(answer, str) else parse_messages(answer, side)
        # Some data sets repeat the prompt at the head of both conversations.
        repeated = after[0]["role"] in ("system", "user") or after[: len(before)] == before
        if repeated and not _repeats(before, after):
            begins = f"begins with a {after[0]['role']} message, but not all of the prompt is in it"
            raise RecordError(side, f"{begins}: what comes first is not clear")
        sides.append(after if repeated else (*before, *after))
    verbatim = isinstance(prompt, str) and all(isinstance(value[side], str) for side in ("chosen", "rejected"))
    return Pair(sides[0], sides[1], verbatim)


def _repeats(before: tuple[Message, ...], after: tuple[Message, ...]) -> bool:
    """Whether a conversation has every message of the prompt, be it with more around it or with less."""
    said = [message["content"].strip() for message in after[:-1]]
    texts = [message["content"].strip() for message in before]
    return all(any(text in one or (one and one in text) for one in said) for text in texts)


def _instruction(value: Mapping[str, Any]) -> Pair:
    instruction = text_of(value.get("instruction"), "instruction")
    more = value.get("input") or ""
    prompt = f"{instruction}\n{text_of(more, 'input')}" if more else instruction
    system = value.get("system") or ""
    before = [{"role": "system", "content": text_of(system, "system")}] if system else []
    before.append({"role": "user", "content": prompt})
    sides = [(*before, {"role": "assistant", "content": text_of(value[side], side)}) for side in ("chosen", "rejected")]
    return Pair(sides[0], sides[1])


def _hh(value: Mapping[str, Any]) -> Pair:
    return Pair(_dialogue(value["chosen"], "chosen"), _dialogue(value["rejected"], "rejected"))


def _dialogue(text: Any, field: str) -> tuple[Message, ...]:
    before, *turns = TURN.split(text_of(text, field))
    if not turns:
        raise RecordError(field, "no turn begins with Human: or Assistant:")
    if before.strip():
        raise RecordError(field, "text before the first turn")
    return tuple(
        {"role": "user" if speaker == "Human" else "assistant", "content": said}
        for speaker, said in zip(turns[::2], turns[1::2], strict=True)
    )


def _sharegpt(value: Mapping[str, Any]) -> Pair:
    before = parse_messages(value.get("conversations"), "conversations")
    if value.get("system"):
        before = ({"role": "system", "content": text_of(value["system"], "system")}, *before)
    sides = []
    for side in ("chosen", "rejected"):
        answer = value[side]
        sides.append((*before, *parse_messages(answer if isinstance(answer, list) else [answer], side)))
    return Pair(sides[0], sides[1])


_PARSERS = {"chatml": _chatml, "trl": _trl, "instruction": _instruction, "hh": _hh, "sharegpt": _sharegpt}
