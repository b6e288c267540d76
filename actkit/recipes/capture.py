"""`capture`: prompts → activations at all positions, the last one, the response, or positions by number."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from actkit.analysis.concepts.projections import projections
from actkit.analysis.layer_stats import layer_stats
from actkit.config import ExportFormat, ReadSpec, TokenSpec
from actkit.errors import RecordError, UsageError
from actkit.pipeline.data import Ints, Record, Rejected, TokenSequence
from actkit.pipeline.input.files import STDIN
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.input.lines import as_json, spread
from actkit.pipeline.input.reader import left_of, look_ahead, read_records, records_about
from actkit.pipeline.input.records import Records
from actkit.pipeline.recipe import Finished, Prepared, Recipe, Rules
from actkit.pipeline.tokens.chunks import truncate
from actkit.recipes.conversations.fields import ContextFields, names_of
from actkit.recipes.conversations.messages import is_turn
from actkit.recipes.conversations.named_fields import with_fields
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.prompts import PROMPTS, read_prompt
from actkit.recipes.prompt_response import PromptResponse, encode_conversation, template_token, touching
from actkit.recipes.run_directions import RunDirections, directions_of
from actkit.recipes.runner import Ingredients, run, with_features
from actkit.recipes.specs import DenseSpec
from actkit.runs.progress import OnProgress


@dataclass(frozen=True)
class CaptureSpec:
    """The options of `capture`."""

    command: ClassVar[str] = "capture"
    exports: ClassVar[tuple[ExportFormat, ...]] = (
        "pt",
        "npz",
        "safetensors",
    )
    prompts: tuple[str, ...] = field(default=(), metadata={"option": "prompt"})
    path: str | None = field(default=None, metadata={"reads": True, "option": "prompts"})
    """A file of prompts; `-` is standard input. Read after `prompts`."""
    prompt_field: str | None = None
    """None looks for the usual names, and so do the fields of `context`."""
    response_field: str = "response"
    positions: str = "all"
    """all, last, response, or numbers such as 0,5,-1."""
    chat: bool = False
    system: str | None = None
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    context: ContextFields = field(default_factory=ContextFields)
    directions: str | None = None
    """A run of `concept`: activations are projected on its chosen directions. None projects on none."""


def run_capture(spec: CaptureSpec, dense: DenseSpec, on_progress: OnProgress = lambda _progress: None) -> Finished:
    """Run `capture` and return the finished run. Errors: see `runner.run`, and UsageError for unknown positions."""
    return run(spec, dense, recipe, on_progress)


def recipe(spec: CaptureSpec, made: Ingredients) -> Recipe:
    """Make the recipe. Raises UsageError for unknown positions, InputError for a file that is not there."""
    if spec.positions not in ("all", "last", "response"):
        _numbers(spec.positions)
    # The file is opened here, not with the first record: a missing one is found before the weights are loaded.
    names = names_of(spec.prompt_field, spec.context)
    usual = CaptureSpec.response_field  # records need not have it
    own = [*names.given(), *([spec.response_field] if spec.response_field != usual else [])]
    more, about = (None, {}) if spec.path is None else _read(spec.path, own, spec.read)
    about = {**about, **left_of(spec.path, spec.read)}
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)

    def prepare(record: Record) -> Prepared:
        found = read_prompt(record.value, names, spec.response_field).under(spec.system)
        prompt = encode_conversation(tokenizer, found, spec.chat, spec.tokens.bos)
        encoding, cut = truncate(prompt.encoding, limit)
        keep = _positions(spec.positions, prompt, len(encoding))
        start = prompt.response[0] if prompt.response else None
        sequence = TokenSequence(
            record.record_id,
            encoding,
            keep,
            response_start=start if start is not None and start < len(encoding) else None,
            n_truncated=cut,
            boundary_merged=prompt.boundary_merged,
        )
        last = template_token(sequence) if spec.positions == "last" else {}
        return Prepared([sequence], said={**found.said, **last, **touching(found.plain, spec.chat)})

    of_file = 0 if spec.path is None else records_about(spec.path, spec.read)
    n_records = None if of_file is None else len(spec.prompts) + of_file
    records = partial(_records, spec.prompts, more)
    rules = Rules(spec.tokens.bos)  # messages are put into a template whether or not texts are
    onto = None
    if spec.directions is not None:
        onto = directions_of(Path(spec.directions), [str(point) for point in made.points], made.d_model)
    plain = Recipe(
        spec.command,
        records,
        prepare,
        made.reducers,
        partial(finish, onto),
        n_records=n_records,
        rules=rules,
        detected=about if onto is None else {**about, "directions": onto.digest},
        statistics={} if onto is None else {"projections": {"chosen": onto.chosen}},
    )
    return with_features(plain, made)


def finish(onto: RunDirections | None, run: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables over a finished run: statistics per layer, and projections on directions `onto`."""
    yield "layer_stats", layer_stats(run)
    if onto is not None:
        yield "directions", onto.table
        for table in projections(run, onto.chosen):
            yield "projections", table


def _read(path: str, named: Sequence[str], read: ReadSpec) -> tuple[Records, dict[str, str]]:
    """Read a file or standard input. Also return an entry for `run.json`, where each line of a text is a prompt.

    Where no suffix tells the format, lines are JSON if a field is named, or if the first line is an object that has a
    prompt. Read as text, the object itself would be run, braces and all.
    """
    known = None if path == STDIN else format_of(path)
    if named and known is None:
        return with_fields(read_records(path, "jsonl", read), named), {}
    records = with_fields(read_records(path, read=read), named)
    if known not in (None, "text"):
        return records, {}
    first, records, _ = look_ahead(records, 1)
    known = None if path == STDIN or not first else format_of(first[0].source)
    if known is None and first and _has_prompt(first[0]):
        return spread(as_json(records)), {}
    is_line = known in (None, "text") and first and (isinstance(first[0], Rejected) or isinstance(first[0].value, str))
    of_what = "" if path == STDIN else " of a text file"
    return records, {"read_as": f"each line{of_what} is a prompt"} if is_line else {}


def _has_prompt(record: Record | Rejected) -> bool:
    try:
        value = json.loads(record.value) if isinstance(record, Record) and isinstance(record.value, str) else None
    except (ValueError, RecursionError):
        return False
    value = value[0] if isinstance(value, list) and value else value
    return is_turn(value) or (
        isinstance(value, dict) and any(name in value for name in (*PROMPTS, *MESSAGES, "chosen"))
    )


def _records(prompts: Sequence[str], more: Records | None) -> Records:
    for index, prompt in enumerate(prompts):
        yield Record(index, "--prompt", index + 1, prompt)
    for record in more or ():
        yield replace(record, record_id=len(prompts) + record.record_id)


def _positions(positions: str, prompt: PromptResponse, length: int) -> Ints:
    """Return the positions to keep. Raises RecordError where `length` cuts one off: none is dropped in silence."""
    whole = prompt.encoding.n_whole
    if positions == "all":
        return np.arange(length, dtype=np.int64)
    if positions == "response":
        if prompt.response is None:
            raise RecordError(
                None, "no response, so --positions response has nothing to read: --response-field names what answers"
            )
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
        raise RecordError(None, f"position {outside[0]} is not among its tokens")
    return [number % length for number in numbers]


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"-?\d+(,-?\d+)*", text.replace(" ", "")):
        raise UsageError(f"--positions {text} is not understood", "use all, last, response, or numbers such as 0,5,-1")
    return tuple(int(number) for number in text.replace(" ", "").split(","))
