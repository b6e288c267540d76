"""`capture`: prompts → activations at all positions, the last one, the response, or positions by number."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from actkit.analysis.layer_stats import layer_stats
from actkit.config import ExportFormat, ReadSpec, TokenSpec
from actkit.errors import RecordError, UsageError
from actkit.pipeline.data import Ints, Record, Rejected, TokenSequence
from actkit.pipeline.input.files import STDIN
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.input.lines import as_json
from actkit.pipeline.input.reader import Records, look_ahead, read_records, records_about
from actkit.pipeline.recipe import Finished, Prepared, Recipe
from actkit.pipeline.rules import Rules
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.messages import check_read
from actkit.recipes.prompt_response import PromptResponse, conversation, encode_messages, encode_plain
from actkit.recipes.runner import Ingredients, run, with_features
from actkit.recipes.specs import DenseSpec
from actkit.runs.progress import OnProgress

FIELDS = ("prompt", "text", "messages", "question", "instruction", "content")
"""Fields looked for, in this order, when `--field` is not given."""


@dataclass(frozen=True)
class CaptureSpec:
    """What `capture` is asked for."""

    command: ClassVar[str] = "capture"
    exports: ClassVar[tuple[ExportFormat, ...]] = (
        "pt",
        "npz",
        "safetensors",
    )
    prompts: tuple[str, ...] = field(default=(), metadata={"option": "prompt"})
    path: str | None = field(default=None, metadata={"reads": True, "option": "prompts"})
    """A file of prompts; `-` is standard input. Read after `prompts`."""
    prompt_field: str | None = field(default=None, metadata={"option": "field"})
    """None looks for `FIELDS`."""
    response_field: str = "response"
    positions: str = "all"
    """all, last, response, or numbers such as 0,5,-1."""
    chat: bool = False
    system: str | None = None
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)


def run_capture(spec: CaptureSpec, dense: DenseSpec, on_progress: OnProgress = lambda _progress: None) -> Finished:
    """Run `capture` and return the finished run. Errors: see `runner.run`, and UsageError for unknown positions."""
    return run(spec, dense, recipe, on_progress)


def recipe(spec: CaptureSpec, made: Ingredients) -> Recipe:
    """The recipe. Raises UsageError for unknown positions, InputError for a file that is not there."""
    if spec.positions not in ("all", "last", "response"):
        _numbers(spec.positions)
    # Looked up here and not with the first record, so that a missing file is found before the weights are loaded.
    more = _read(spec.path, spec.prompt_field, spec.read) if spec.path is not None else None
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)

    def prepare(record: Record) -> Prepared:
        prompt = _encode(record.value, spec, tokenizer)
        encoding, cut = truncate(prompt.encoding, limit if limit is not None else len(prompt.encoding))
        keep = _positions(spec.positions, prompt, len(encoding))
        start = prompt.response[0] if prompt.response else None
        return Prepared(
            [
                TokenSequence(
                    record.record_id,
                    encoding,
                    keep,
                    response_start=start if start is not None and start < len(encoding) else None,
                    n_truncated=cut,
                    boundary_merged=prompt.boundary_merged,
                )
            ]
        )

    of_file = 0 if spec.path is None else records_about(spec.path, spec.read)
    n_records = None if of_file is None else len(spec.prompts) + of_file
    records = partial(_records, spec.prompts, more)
    rules = Rules(spec.tokens.bos)  # messages are put into a template whether or not texts are
    plain = Recipe(spec.command, records, prepare, made.reducers, finish, n_records=n_records, rules=rules)
    return with_features(plain, made)


def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
    """The table over a finished run: statistics per layer."""
    yield "layer_stats", layer_stats(run)


def _read(path: str, prompt_field: str | None, read: ReadSpec) -> Records:
    """The records of a file or of standard input.

    Where no suffix says what they are, lines are JSON if a field of them is asked for, or if the first is an object
    that has a prompt: the object itself would be run as text else, braces and all.
    """
    if path != STDIN and format_of(path) is not None:
        return read_records(path, read=read)
    if prompt_field is not None:
        return read_records(path, "jsonl", read)
    first, records = look_ahead(read_records(path, read=read), 1)
    return as_json(records) if first and _has_prompt(first[0]) else records


def _has_prompt(record: Record | Rejected) -> bool:
    try:
        value = json.loads(record.value) if isinstance(record, Record) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and any(name in value for name in FIELDS)


def _records(prompts: Sequence[str], more: Records | None) -> Records:
    for index, prompt in enumerate(prompts):
        yield Record(index, "--prompt", index + 1, prompt)
    for record in more or ():
        yield replace(record, record_id=len(prompts) + record.record_id)


def _encode(value: Any, spec: CaptureSpec, tokenizer: Tokenizer) -> PromptResponse:
    prompt, response = _parts(value, spec)
    if isinstance(prompt, str) and not spec.chat:
        if not prompt.strip():
            raise RecordError(spec.prompt_field, "empty")
        return encode_plain(tokenizer, prompt, response, spec.tokens.bos)
    messages = conversation(prompt, response, spec.system)
    return encode_messages(tokenizer, messages, chat=True)


def _parts(value: Any, spec: CaptureSpec) -> tuple[str | list[Mapping[str, Any]], str | None]:
    """The prompt, as text or messages, and the response if the record has one."""
    if isinstance(value, str):
        return value, None
    if not isinstance(value, Mapping):
        raise RecordError(None, "not text and not an object with fields")
    name = spec.prompt_field or next((name for name in FIELDS if name in value), None)
    if name is None or name not in value:
        raise RecordError(spec.prompt_field, f"no field {spec.prompt_field or ' or '.join(FIELDS)}")
    prompt, response = value[name], value.get(spec.response_field) if spec.response_field != name else None
    if response is not None and (not isinstance(response, str) or not response.strip()):
        raise RecordError(spec.response_field, "empty" if isinstance(response, str) else "not text")
    if isinstance(prompt, str):
        return prompt, response
    if not isinstance(prompt, list) or not prompt:
        raise RecordError(name, "neither text nor a list of messages")
    for index, message in enumerate(prompt):
        texts = isinstance(message, Mapping) and all(isinstance(message.get(key), str) for key in ("role", "content"))
        if not texts:
            raise RecordError(f"{name}[{index}]", "a message needs role and content, both text")
        check_read(message, f"{name}[{index}]")
    return prompt, response


def _positions(positions: str, prompt: PromptResponse, length: int) -> Ints:
    """The positions to keep; one that is read is never cut off, nor moved by cutting."""
    whole = len(prompt.encoding)
    if positions == "all":
        return np.arange(length, dtype=np.int64)
    if positions == "response":
        if prompt.response is None:
            raise RecordError(None, "no response, so --positions response has nothing to read")
        wanted = list(range(*prompt.response))
        if not wanted:
            raise RecordError(None, "the response is empty, so --positions response has nothing to read")
    else:
        wanted = [prompt.encoding.text_end - 1] if positions == "last" else _counted(_numbers(positions), whole)
    if max(wanted, default=0) >= length:
        raise RecordError(
            None, f"a position that is read lies beyond the maximum length: {whole} tokens, at most {length}"
        )
    return np.unique(np.array(wanted, dtype=np.int64))


def _counted(numbers: tuple[int, ...], length: int) -> list[int]:
    outside = [number for number in numbers if not -length <= number < length]
    if outside:
        raise RecordError(None, f"position {outside[0]} is not among its {length} tokens")
    return [number % length for number in numbers]


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"-?\d+(,-?\d+)*", text.replace(" ", "")):
        raise UsageError(f"--positions {text} is not understood", "use all, last, response, or numbers such as 0,5,-1")
    return tuple(int(number) for number in text.replace(" ", "").split(","))
