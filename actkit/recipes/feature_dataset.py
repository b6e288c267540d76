"""`feature-dataset`: a corpus of documents → the active SAE features of every token.

A document is tokenized whole. One that is longer than the context is cut into chunks, each a sequence of its own that
begins as the SAE's training contexts did; nothing of it is left out. Characters are counted in the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.backends.saes.sae import Sae
from actkit.config import ExportFormat, ReadSpec, TokenSpec
from actkit.errors import RecordError, UsageError
from actkit.pipeline.data import Encoding, Record, TokenSequence
from actkit.pipeline.input.corpus import find_corpus, is_document, read_documents
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.input.reader import about_file
from actkit.pipeline.input.sources import Source, opened
from actkit.pipeline.recipe import Finished, Prepared, Recipe
from actkit.pipeline.reducers.activations import Reducer
from actkit.pipeline.reducers.features import KEPT_BYTES, top_features
from actkit.pipeline.reducers.table_sizes import features_stored
from actkit.pipeline.resume.session import is_complete
from actkit.pipeline.rules import Rules
from actkit.pipeline.tokens.chunks import chunks
from actkit.pipeline.tokens.tokenize import Tokenizer, encode_text, leading_bos
from actkit.recipes.conversations.context import check_unused, read_context
from actkit.recipes.conversations.fields import ContextFields, Fields, names_of
from actkit.recipes.conversations.messages import text_or_messages
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.prompts import read_answered
from actkit.recipes.prompt_response import encode_messages
from actkit.recipes.runner import Ingredients, run
from actkit.recipes.specs import SparseSpec
from actkit.runs.progress import OnProgress
from actkit.runs.reader import parts
from actkit.runs.writer import Groups

MOST_OF_DOCUMENT = 1 << 22
"""Tokens of one document, some 15 MB of text: its chunks are in memory together."""
FIELDS = ("text", "content", "document", "story", "body")
"""Fields looked for, in this order, when `text_field` is not given."""


@dataclass(frozen=True)
class FeatureDatasetSpec:
    """What `feature-dataset` is asked for."""

    command: ClassVar[str] = "feature-dataset"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("jsonl", "saedashboard")
    dataset: str = field(metadata={"reads": True})
    """A file, `-`, a directory, a glob, or a dataset's id on the Hugging Face hub."""
    text_field: str | None = None
    """None looks for `FIELDS`."""
    by_line: bool = False
    """Each line of a text file is a document, not the whole file."""
    context_size: int | None = None
    """Most tokens a sequence; None is what the SAEs were trained on, where they say it."""
    top_k: int | None = None
    """Most features of a token; None keeps all."""
    threshold: float = field(default=0.0, metadata={"option": "activation_threshold"})
    """Only features above it are kept; 0 keeps all that are active."""
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    context: ContextFields = field(default_factory=ContextFields)
    """Which fields of a chat record what stands before its messages is in; None looks for the usual ones."""


def run_feature_dataset(
    spec: FeatureDatasetSpec, sparse: SparseSpec, on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Run `feature-dataset` and return the finished run. Errors: see `runner.run`.

    Raises InputError for a corpus that is not there, before anything is loaded.
    """
    corpus = find_corpus(spec.dataset, spec.read.split)
    if not is_complete(sparse.output):  # then nothing is read, and the hub need not be there
        corpus = opened(corpus, spec.read.split)
    return run(spec, sparse, partial(recipe, corpus=corpus), on_progress)


def recipe(spec: FeatureDatasetSpec, made: Ingredients, corpus: Source | None = None) -> Recipe:
    """The recipe. `corpus` is that of `spec`, where it is known.

    Raises InputError for a corpus that is not there, UsageError for a context that leaves no room for text.
    """
    tokenizer, saes, found = made.tokenizer, made.saes, made.report
    bos = leading_bos(tokenizer, spec.tokens.bos)
    size = _context(spec, saes, made.context_length, bos is not None)
    corpus = corpus or find_corpus(spec.dataset, spec.read.split)
    counts: dict[str, int | None] = {"context_size": size}

    def prepare(record: Record) -> Prepared:
        whole, said = _document(record.value, spec, tokenizer, bos)
        if whole.n_beyond:
            raise RecordError(None, f"more than {MOST_OF_DOCUMENT:,} tokens: cut it into several documents")
        pieces = list(chunks(whole, size or len(whole) + 1, bos))
        return Prepared(
            [
                TokenSequence(
                    record.record_id,
                    piece,
                    np.arange(len(piece), dtype=np.int64),
                    chunk=number,
                    char_offset=at,
                )
                for number, (piece, at) in enumerate(pieces)
            ],
            said=said,
        )

    def finish(run: Path) -> Iterator[tuple[str, pa.Table | Groups]]:
        counts.update(_chunks(run))
        for sae in saes:
            for table in feature_stats(run, sae.name, sae.d_sae, sae.feature_url, scratch=run):
                yield "feature_stats", table
            for groups in feature_positions(run, sae.name, sae.d_sae, run):
                yield "feature_positions", groups

    reducers: dict[str, Reducer] = {"features": top_features(saes, spec.top_k, spec.threshold, found.health)}
    return Recipe(
        spec.command,
        lambda: read_documents(corpus, spec.read, spec.by_line),
        prepare,
        reducers,
        finish,
        detected={**corpus.facts(), **_read_as(corpus, spec.by_line)},
        found=lambda: {"documents": dict(counts), **found()},
        kept_bytes=KEPT_BYTES * len(saes),
        stored={"features": features_stored(saes, spec.top_k)},
        n_records=_about(corpus, spec.by_line),
        health=found.health,
        rules=Rules(spec.tokens.bos, top_k=spec.top_k, threshold=spec.threshold),
    )


def _read_as(corpus: Source, by_line: bool) -> dict[str, str]:
    """What a text file is taken for, which `capture` takes otherwise."""
    texts = [file for file in corpus.files if format_of(file) == "text"]
    each = "each line of a text file is" if by_line else "each text file is"
    return {"read_as": f"{each} a document{'' if by_line else '; --by-line: each line'}"} if texts else {}


def _about(corpus: Source, by_line: bool) -> int | None:
    """About how many documents there are; None where that is not known before they are read."""
    counts = [1 if is_document(file, by_line) else about_file(file) for file in corpus.files]
    return None if None in counts or not counts else sum(filter(None, counts))


def _chunks(run: Path) -> dict[str, int]:
    """How many sequences the documents became, and how many of them were cut: counted from what was written."""
    found = {"chunked_documents": 0, "chunks": 0}
    for part in parts(run, "sequences"):
        chunk = pq.read_table(part, columns=["chunk"], partitioning=None)["chunk"].to_numpy()
        found["chunks"] += len(chunk)
        found["chunked_documents"] += int((chunk == 1).sum())  # each has one second chunk
    return found


def _context(spec: FeatureDatasetSpec, saes: Sequence[Sae], context_length: int | None, with_bos: bool) -> int | None:
    """Most tokens a sequence, BOS included; None where nothing limits it."""
    most = spec.tokens.limit(context_length)
    if spec.context_size is not None:
        if context_length is not None and spec.context_size > context_length:
            raise UsageError(
                f"--context-size {spec.context_size} is beyond the model's context of {context_length} tokens",
                f"--context-size {context_length} or less",
            )
        wanted: int | None = spec.context_size
    else:
        wanted = min((sae.context_size for sae in saes if sae.context_size is not None), default=None)
    size = min((one for one in (most, wanted) if one is not None), default=None)
    if size is not None and size <= with_bos:
        raise UsageError(f"contexts of {size} tokens leave no room for text after BOS", "--context-size 2 or more")
    return size


def _document(
    value: Any, spec: FeatureDatasetSpec, tokenizer: Tokenizer, bos: int | None
) -> tuple[Encoding, dict[str, tuple[str, ...]]]:
    """A document's tokens without the BOS that each chunk gets, and what a run counts of its record.

    A record of messages alone is a document too: the whole chat, as the model's template writes it.
    """
    if isinstance(value, str):
        return encode_text(tokenizer, _whole_text(value, None), bos="never", hold=MOST_OF_DOCUMENT), {
            "shapes": ("text",)
        }
    if not isinstance(value, Mapping):
        raise RecordError(None, "not text")
    fields = Fields(value, names_of(None, spec.context))
    name = spec.text_field or next((one for one in FIELDS if one in value and not fields.ignored(one)), None)
    if name is None:
        name = fields.first(MESSAGES)
        if name is None:
            return _answered(value, spec, tokenizer, bos)
    given = fields.take(name)
    if given is None and name not in value:
        raise RecordError(name, f"no field {name}")
    if isinstance(given, str) and isinstance(text_or_messages(given, name), str):
        return encode_text(tokenizer, _whole_text(given, name), bos="never", hold=MOST_OF_DOCUMENT), _said(
            "text", fields
        )
    if not isinstance(given, (list, Mapping, str)):
        raise RecordError(name, "missing" if given is None else "not text")
    context = read_context(fields, name)
    check_unused(fields, [context.messages])
    chat = bool(tokenizer.chat_template)
    encoding = encode_messages(tokenizer, context.messages, chat, "never", told=context.template).encoding
    return _without(encoding, bos), _said("messages", fields)


def _answered(
    value: Mapping[str, Any], spec: FeatureDatasetSpec, tokenizer: Tokenizer, bos: int | None
) -> tuple[Encoding, dict[str, tuple[str, ...]]]:
    """The document of a question and its answer in fields of their own (Alpaca), as a chat."""
    try:
        found = read_answered(value, names_of(None, spec.context))
    except RecordError:
        found = None
    if found is None or not found.answered:
        raise RecordError(None, f"no field {' or '.join((*FIELDS, *MESSAGES[:2]))}")
    chat = bool(tokenizer.chat_template)
    encoding = encode_messages(tokenizer, found.messages, chat, "never", told=found.template).encoding
    return _without(encoding, bos), found.said


def _said(shape: str, fields: Fields) -> dict[str, tuple[str, ...]]:
    return {"shapes": (shape,), "fields_read": tuple(fields.read), "fields_left": tuple(fields.left)}


def _without(encoding: Encoding, bos: int | None) -> Encoding:
    """An encoding without the BOS that a chat template began it with: there is one a chunk, and no other."""
    if bos is None or encoding.token_ids[0] != bos:
        return encoding
    at = int(encoding.char_end[0])
    return replace(
        encoding,
        text=encoding.text[at:],
        token_ids=encoding.token_ids[1:],
        char_start=encoding.char_start[1:] - at,
        char_end=encoding.char_end[1:] - at,
        is_special=encoding.is_special[1:],
        role=encoding.role[1:],
    )


def _whole_text(text: str, name: str | None) -> str:
    if not text.strip():
        raise RecordError(name, "empty")
    return text
