"""Make the shell line that writes a question and its passage or choices, from several fields, as one prompt."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actkit.errors import own_python
from actkit.pipeline.input.class_names import ClassName
from actkit.recipes.conversations.fields import lookup
from actkit.recipes.conversations.names import (
    ANSWER_STEMS,
    CHOICES,
    STEMS,
    UNREADABLE,
    choices_of,
    fields_of_choices,
    tells_context,
)
from actkit.recipes.conversations.pair_records import pandas_call
from actkit.recipes.peeking.columns import FileColumn

ASKED = ("question", "question_stem", "query", "prompt", "instruction", "ctx")
PASSAGES = ("context", *(name for name in UNREADABLE if name not in ("images", "image", "videos", "video", "audios")))
WITHIN = ("text", "sentences", "contexts", "search_context", "wiki_context", "summary.text")
"""Paths of the text in a passage or question that is an object."""
ANSWERED = ("answer", "answers", "answerKey", "response", "correct_answer", "answers_spans")
RIGHT = "correct_answer"
WITHIN_ANSWERS = ("text", "value", "spans")
MADE = "QUESTIONS.jsonl"


def whole_questions(path: str, values: Sequence[Any]) -> str | None:
    """Return the line for the first record's fields; None where it has no question with a passage or choices.

    The line gives choices letters. The answer is the record's own: a letter, a text, or yes or no.
    """
    record = next((value for value in values if isinstance(value, Mapping)), {})
    asked = next((name for name in ASKED if name in record), None)
    parts = [*_passages(record, asked), *([] if asked is None else [_strings(asked, record)]), *_choices(record)]
    if asked is None or len(parts) == 1:
        return None
    answer = next((made for name in ANSWERED if name in record and (made := _answer(name, record))), None)
    fields = f'{{prompt: ([{", ".join(parts)}] | map(select(length > 0)) | join("\\n"))' + (
        f", response: ({answer})}}" if answer else "}"
    )
    return f"{_lines(path)} jq -c {shlex.quote(fields)} > {MADE}"


def without_passages(texts: Sequence[str], columns: Sequence[FileColumn]) -> list[str]:
    """Return the columns of text without the passages that questions of the same records are about."""
    is_asked = any(column.name in ASKED for column in columns)
    return [text for text in texts if not (is_asked and text in PASSAGES)]


def _passages(record: Mapping[str, Any], asked: str | None) -> Iterator[str]:
    for name in dict.fromkeys((*PASSAGES, *filter(tells_context, map(str, record)))):
        if name != asked and isinstance(record.get(name), (str, list, Mapping)) and record[name]:
            yield _strings(name, record)


def _strings(name: str, record: Mapping[str, Any]) -> str:
    """Return jq's expression for all texts of a field, one below the other."""
    value = record[name]
    inner = next((f"{name}.{path}" for path in WITHIN if isinstance(value, Mapping) and lookup(value, path)), name)
    return _at(inner) if isinstance(lookup(record, inner), str) else f'([{_at(inner)} | .. | strings] | join("\\n"))'


def _choices(record: Mapping[str, Any]) -> Iterator[str]:
    name = next((name for name in CHOICES if choices_of(record.get(name))), None)
    value = [] if name is None else record[name]
    each = fields_of_choices(record, (*STEMS, *ANSWER_STEMS)) if name is None else []
    if each and RIGHT in record:  # the right choice has its own field: sorted, so that the order does not tell it
        field = f"[{', '.join(map(_at, (RIGHT, *each)))}] | sort"
    elif each:
        field = f"[{', '.join(map(_at, each))}]"
    elif name is not None:
        field = _at(name)
    else:
        return
    if isinstance(value, list):
        pairs = f"{field} | to_entries | map([([.key + 65] | implode), .value])"
    elif "label" in value and "text" in value:
        pairs = f"[{field}.label, {field}.text] | transpose"
    else:
        pairs = f"{field} | to_entries | map([.key, .value])"
    yield f'({pairs} | map("\\(.[0]). \\(.[1])") | join("\\n"))'


def _answer(name: str, record: Mapping[str, Any]) -> str | None:
    value, field = record[name], _at(name)
    value = value.number if isinstance(value, ClassName) else value  # as pandas reads it
    if isinstance(value, bool):
        return f'if {field} then "yes" else "no" end'
    if isinstance(value, int):  # the number of a choice
        return f"[{field} + 65] | implode" if any(choices_of(record.get(name)) for name in CHOICES) else None
    if isinstance(value, Mapping):
        inner = next((f"{name}.{part}" for part in WITHIN_ANSWERS if part in value), None)
        return None if inner is None else f'{_at(inner)} | if type == "array" then .[0] else . end'
    return f'{field}[0] | if type == "object" then .text else . end' if isinstance(value, list) else field


def _at(path: str) -> str:
    """Write a path as jq does."""
    parts = path.split(".")
    return "".join(f".{part}" if re.fullmatch(r"[A-Za-z_]\w*", part) else f".[{json.dumps(part)}]" for part in parts)


def _lines(path: str) -> str:
    """Return the beginning of a pipe that writes a file's records as lines of JSON."""
    plain = path.lower().removesuffix(".gz")
    name = shlex.quote(path)
    if plain.endswith((".jsonl", ".ndjson")):
        return f"gzip -dc < {name} |" if plain != path.lower() else f"cat {name} |"
    line = f'import pandas, sys; pandas.{pandas_call(path)}.to_json(sys.stdout, orient="records", lines=True)'
    return f"{own_python()} -c {shlex.quote(line)} |"
