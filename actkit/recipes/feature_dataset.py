"""`feature-dataset`: a corpus of documents → the active SAE features of every token.

A document is tokenized whole. If it is longer than the context, it is cut into chunks, and nothing is left out. Each
chunk is a sequence of its own that begins as the SAE's training contexts did; its characters are counted in the
document. Chunks are made when they are needed, so that a document may be of any length and lie in several shards.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from actkit.analysis.entries_by_feature import EntriesByFeature
from actkit.analysis.entry_chunk import temporary_bytes
from actkit.analysis.feature_positions import positions_of
from actkit.analysis.feature_stats import contexts_bytes, stats_of
from actkit.backends.saes.sae import Sae
from actkit.config import ExportFormat, ReadSpec, TokenSpec
from actkit.errors import UsageError
from actkit.pipeline.data import Encoding, Record, TokenSequence
from actkit.pipeline.input.corpus import find_corpus, is_document, read_documents
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.input.reader import about_file
from actkit.pipeline.input.sources import InputSource, opened
from actkit.pipeline.recipe import Finished, Prepared, Recipe, Rules
from actkit.pipeline.reducers.features import KEPT_BYTES
from actkit.pipeline.resume.session import is_complete
from actkit.pipeline.tokens.chunks import chunks, chunks_of_text
from actkit.pipeline.tokens.tokenize import leading_bos
from actkit.recipes.conversations.fields import ContextFields
from actkit.recipes.documents import read_document
from actkit.recipes.runner import Ingredients, run, with_features
from actkit.recipes.specs import SparseSpec
from actkit.runs.part import read_part
from actkit.runs.progress import OnProgress
from actkit.runs.reader import parts
from actkit.runs.writer import Groups


@dataclass(frozen=True)
class FeatureDatasetSpec:
    """The options of `feature-dataset`."""

    command: ClassVar[str] = "feature-dataset"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("jsonl", "saedashboard")
    dataset: str = field(metadata={"reads": True})
    """A file, `-`, a directory, a glob, or a dataset's id on the Hugging Face hub."""
    text_field: str | None = None
    """None looks for `documents.FIELDS`."""
    by_line: bool = False
    """Each line of a text file is a document, not the whole file."""
    context_size: int | None = field(default=None, metadata={"least": 1})
    """Most tokens a sequence; None takes the context that the SAEs were trained on, where they state it."""
    top_k: int | None = field(default=None, metadata={"least": 1})
    """Most features of a token; None keeps all."""
    threshold: float = field(default=0.0, metadata={"option": "activation_threshold", "least": 0})
    """Only features above it are kept; 0 keeps all that are active."""
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    context: ContextFields = field(default_factory=ContextFields)
    """Fields of a chat record that hold its context, before the messages; None looks for the usual ones."""


def run_feature_dataset(
    spec: FeatureDatasetSpec, sparse: SparseSpec, on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Run `feature-dataset` and return the finished run. Errors: see `runner.run`.

    Raises InputError for a corpus that is not there, before anything is loaded.
    """
    corpus = find_corpus(spec.dataset, spec.read.split)
    if not is_complete(sparse.output):  # a complete run reads nothing, so the hub need not be there
        corpus = opened(corpus, spec.read.split)
    return run(spec, sparse, partial(recipe, corpus=corpus), on_progress)


def recipe(spec: FeatureDatasetSpec, made: Ingredients, corpus: InputSource | None = None) -> Recipe:
    """Make the recipe. `corpus` is that of `spec`, where it is known.

    Raises InputError for a corpus that is not there, UsageError for a context that leaves no room for text.
    """
    tokenizer, saes = made.tokenizer, made.saes
    bos = leading_bos(tokenizer, spec.tokens.bos)
    size = _context(spec, saes, made.context_length, bos is not None)
    corpus = corpus or find_corpus(spec.dataset, spec.read.split)
    counts = {"context_size": size}

    def prepare(record: Record) -> Prepared:
        whole, said = read_document(record.value, spec.text_field, spec.context, tokenizer, bos)
        if isinstance(whole, str):
            return Prepared(Chunks(record.record_id, lambda: chunks_of_text(tokenizer, whole, size, bos)), said=said)
        return Prepared(Chunks(record.record_id, lambda: chunks(whole, size, bos)), said=said)

    def finish(run: Path) -> Iterator[tuple[str, pa.Table | Groups]]:
        counts.update(_chunks(run))
        for sae in saes:
            with closing(EntriesByFeature(run, sae.name, sae.d_sae, run)) as entries:
                for table in stats_of(entries, sae.feature_url):
                    yield "feature_stats", table
                for groups in positions_of(entries):
                    yield "feature_positions", groups

    plain = Recipe(
        spec.command,
        lambda: read_documents(corpus, spec.read, spec.by_line),
        prepare,
        made.reducers,
        finish,
        detected={**corpus.facts(), **corpus.without_effect(spec.read.split), **_read_as(corpus, spec.by_line)},
        found=lambda: {"documents": dict(counts)},
        kept_bytes=KEPT_BYTES * len(saes),
        splits=True,
        temporary=lambda _sequences, kept: _temporary(saes, spec.top_k, kept),
        n_records=_about(corpus, spec.by_line),
        rules=Rules(spec.tokens.bos),
    )
    return with_features(plain, replace(made, top_k=spec.top_k), spec.threshold)


@dataclass(frozen=True)
class Chunks:
    """The sequences of one document, cut anew at every iteration."""

    record_id: int
    pieces: Callable[[], Iterator[tuple[Encoding, int]]]
    """Each chunk, and where in the document it begins."""

    def __iter__(self) -> Iterator[TokenSequence]:
        for number, (piece, at) in enumerate(self.pieces()):
            keep = np.arange(len(piece), dtype=np.int64)
            yield TokenSequence(self.record_id, piece, keep, chunk=number, char_offset=at)


def _read_as(corpus: InputSource, by_line: bool) -> dict[str, str]:
    """Return, for `run.json`, the unit in which a text file is read; `capture` has another."""
    texts = [file for file in corpus.files if format_of(file) == "text" or is_document(file, by_line=False)]
    each = "each line of a text file is" if by_line else "each text file is"
    return {"read_as": f"{each} a document{'' if by_line else '; --by-line: each line'}"} if texts else {}


def _temporary(saes: Sequence[Sae], top_k: int | None, kept: int) -> int | None:
    """Bytes of temporary files, one SAE at a time: entries in order of feature, and the texts of its contexts."""
    if top_k is None:
        return None
    n_entries = kept * top_k
    return temporary_bytes(kept, top_k) + max((contexts_bytes(sae.d_sae, n_entries) for sae in saes), default=0)


def _about(corpus: InputSource, by_line: bool) -> int | None:
    """About how many documents there are; None where that is not known before they are read."""
    counts = [1 if is_document(file, by_line) else about_file(file) for file in corpus.files]
    return None if None in counts or not counts else sum(filter(None, counts))


def _chunks(run: Path) -> dict[str, int]:
    """Count the sequences of the documents, and the documents that were cut, in the tables that were written."""
    found = {"chunked_documents": 0, "chunks": 0}
    for part in parts(run, "sequences"):
        chunk = read_part(part, ["chunk"])["chunk"].to_numpy()
        found["chunks"] += len(chunk)
        found["chunked_documents"] += int((chunk == 1).sum())  # each has one second chunk
    return found


def _context(spec: FeatureDatasetSpec, saes: Sequence[Sae], context_length: int | None, with_bos: bool) -> int:
    """Most tokens a sequence, BOS included."""
    if spec.context_size is not None and context_length is not None and spec.context_size > context_length:
        raise UsageError(
            f"--context-size {spec.context_size} is beyond the model's context of {context_length} tokens",
            f"--context-size {context_length} or less",
        )
    wanted = [sae.context_size for sae in saes] if spec.context_size is None else [spec.context_size]
    size = min([spec.tokens.limit(context_length), *filter(None, wanted)])
    if size <= with_bos:
        raise UsageError(f"contexts of {size} tokens leave no room for text after BOS", "--context-size 2 or more")
    return size
