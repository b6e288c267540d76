"""`sae-extract`: prompts and their responses under teacher forcing → the largest SAE features.

By default only the last token of the prompt is read, and then nothing after it is run; the response is tokenized with
the prompt all the same, so that the boundary is where the model would see it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from actkit.analysis.entry_chunk import temporary_bytes
from actkit.analysis.feature_positions import feature_positions
from actkit.config import ExportFormat, ReadSpec, TokenSpec
from actkit.errors import RecordError
from actkit.export.merged_json import document_of, variations
from actkit.pipeline.data import Record, TokenSequence
from actkit.pipeline.input.reader import left_of, read_records, records_about
from actkit.pipeline.input.records import Records
from actkit.pipeline.recipe import Finished, Prepared, Recipe, Rules
from actkit.pipeline.reducers.features import KEPT_BYTES
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.conversations.fields import ContextFields, is_empty, names_of, object_of
from actkit.recipes.conversations.named_fields import with_fields
from actkit.recipes.conversations.names import HISTORY, SYSTEM, TEMPLATE_OPTIONS, TOOLS
from actkit.recipes.conversations.prompts import Conversation, read_prompt
from actkit.recipes.feedback import spelled
from actkit.recipes.prompt_response import encode_conversation, template_token, touching
from actkit.recipes.runner import Ingredients, run, with_features
from actkit.recipes.specs import SparseSpec
from actkit.runs.progress import OnProgress
from actkit.runs.writer import Groups


@dataclass(frozen=True)
class SaeExtractSpec:
    """The options of `sae-extract`."""

    command: ClassVar[str] = "sae-extract"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("json", "saedashboard")
    path: str = field(metadata={"reads": True, "option": "samples"})
    prompt_field: str | None = None
    """None looks for the usual names, and so do the fields of `context`."""
    response_field: str = "response"
    save_all_tokens: bool = False
    top_k: int | None = field(default=50, metadata={"none": 0, "least": 1})
    """Most features of a token; None keeps all."""
    chat: bool = False
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    context: ContextFields = field(default_factory=ContextFields)


def run_sae_extract(
    spec: SaeExtractSpec, sparse: SparseSpec, on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Run `sae-extract` and return the finished run. Errors: see `runner.run`."""
    return run(spec, sparse, recipe, on_progress)


def recipe(spec: SaeExtractSpec, made: Ingredients) -> Recipe:
    """Make the recipe. Sequences beyond the limit are cut where all tokens are read, rejected where the prompt is cut.

    Reading its records raises InputError where none has the field that was named for responses.
    """
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)
    names = names_of(spec.prompt_field, spec.context)

    def prepare(record: Record) -> Prepared:
        said = read_prompt(object_of(_fields_of(record.value)), names, spec.response_field)
        sequence = _sequence(record, said, spec, tokenizer, limit)
        last = {} if spec.save_all_tokens else template_token(sequence)
        return Prepared([sequence], said={**said.said, **last, **touching(said.plain, spec.chat)})

    def finish(run: Path) -> Iterator[tuple[str, Groups]]:
        for sae in made.saes:
            for groups in feature_positions(run, sae.name, sae.d_sae, run):
                yield "feature_positions", groups

    usual = SaeExtractSpec.response_field  # records need not have it
    own = [*names.given(), *([spec.response_field] if spec.response_field != usual else [])]
    plain = Recipe(
        spec.command,
        lambda: with_fields(_records(spec), own, _fields_of),
        prepare,
        made.reducers,
        finish,
        detected=left_of(spec.path, spec.read),
        found=lambda: {"positions": "all" if spec.save_all_tokens else "prompt-last"},
        kept_bytes=KEPT_BYTES * len(made.saes),
        temporary=lambda _sequences, kept: None if spec.top_k is None else temporary_bytes(kept, spec.top_k),
        n_records=records_about(spec.path, spec.read),
        rules=Rules(spec.tokens.bos),
    )
    return with_features(plain, replace(made, top_k=spec.top_k))


BEFORE = (*SYSTEM, *HISTORY, *TOOLS, TEMPLATE_OPTIONS)
"""Fields that a result may have once for all its variations."""


def _records(spec: SaeExtractSpec) -> Records:
    number = 0
    for record in read_records(spec.path, "jsonl", spec.read):
        document = document_of(record.value) if isinstance(record, Record) else None
        # A record of its own may have a field `results` too.
        if isinstance(record, Record) and document and (spec.prompt_field or "prompt") not in record.value:
            for result, variation in variations(document):
                shared = {name: result[name] for name in BEFORE if name in result}
                fields = {**shared, **variation} if isinstance(variation, Mapping) else variation
                yield replace(record, record_id=number, value=_Variation(fields, result.get("question_id")))
                number += 1
        else:
            yield replace(record, record_id=number)
            number += 1


@dataclass(frozen=True)
class _Variation:
    fields: Any
    group: Any


def _fields_of(value: Any) -> Any:
    return value.fields if isinstance(value, _Variation) else value


def _sequence(
    record: Record, said: Conversation, spec: SaeExtractSpec, tokenizer: Tokenizer, limit: int
) -> TokenSequence:
    fields = object_of(_fields_of(record.value))
    group = record.value.group if isinstance(record.value, _Variation) else None
    answered = encode_conversation(tokenizer, said, spec.chat, spec.tokens.bos)
    encoding, start = answered.encoding, answered.response_start
    if start == 0:
        raise RecordError(spec.prompt_field or "prompt", "the prompt has no token of its own")
    cut, n_truncated = truncate(encoding, limit)
    if start > len(cut):
        raise RecordError(spec.prompt_field or "prompt", f"the prompt alone is longer than {limit} tokens")
    keep = np.arange(len(cut), dtype=np.int64) if spec.save_all_tokens else np.array([start - 1], dtype=np.int64)
    group = fields.get("question_id", group)
    return TokenSequence(
        record.record_id,
        cut if spec.save_all_tokens else encoding,
        keep,
        response_start=start if answered.response else None,
        n_truncated=n_truncated if spec.save_all_tokens else encoding.n_beyond,
        group=None if is_empty(group) else spelled(group),
        label=None if is_empty(fields.get("template_type")) else str(fields["template_type"]),
        boundary_merged=answered.boundary_merged,
    )
