"""jsonl: the active SAE features of a corpus, one line for each document and SAE.

    {"record_id", "sae", "text", "tokens": [id, …], "offsets": [start, …], "offset_ends": [end, …],
     "token_texts": […], "active_features": [[id, …], …], "activations": [[…], …]}

The chunks of a document are put together again: offsets count characters of `text`, the whole document.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.export.job import ExportJob
from actkit.runs.by_sequence import text_of
from actkit.runs.reader import Ints, keys_of, part_of, parts, rows_of_sae, span

SEQUENCE = ["sequence_id", "record_id", "chunk", "char_offset", "text"]
OF_TOKENS = {"tokens": "token_id", "offsets": "char_start", "offset_ends": "char_end", "token_texts": "token"}
OF_FEATURES = {"active_features": "feature_ids", "activations": "feature_activations"}
LISTS = (*OF_TOKENS, *OF_FEATURES)
"""Fields with an entry a token, in their order."""
TOKEN = ["sequence_id", "position", "token_id", "token", "char_start", "char_end", "is_special"]


def write(job: ExportJob, special: bool = False) -> None:
    """Write the documents of a `feature-dataset` run, one at a time. One in several shards is written shard by shard.

    Each chunk begins with a BOS that is not in the document. Lists have an entry for it only with `special`.
    """
    saes = [str(sae["name"]) for sae in job.facts["saes"]]
    files = parts(job.run, "sequences")
    done = {part: number for number, part in enumerate(files, 1)}
    shard_of = lru_cache(maxsize=1)(partial(_shard, job.run, saes, special))
    with job.out.open("w", encoding="utf-8", newline="\n") as file:
        for document in _documents(job.run, files):
            for sae in saes:
                file.writelines(_line(document, sae, shard_of))
            job.progress(done[document[-1][0]] / len(files))


Document: TypeAlias = list[tuple[Path, list[dict[str, Any]]]]
"""Each part of `sequences` that holds the document, with the document's rows there."""


def _documents(run: Path, files: Sequence[Path]) -> Iterator[Document]:
    document: Document = []
    for part in files:
        rows = part_of(run, "sequences", part, SEQUENCE).to_pylist()
        for record_id, chunks in groupby(rows, key=lambda row: row["record_id"]):
            found = list(chunks)
            if document and not (found[0]["chunk"] and document[-1][1][-1]["record_id"] == record_id):
                yield document
                document = []
            document.append((part, found))
    if document:
        yield document


def _line(document: Document, sae: str, shard_of: "Callable[[Path], DocumentShard]") -> Iterator[str]:
    """Yield the line of one document and SAE in pieces, spelled as `json.dumps` spells it."""
    rows = [row for _, own in document for row in own]
    about = {"record_id": rows[0]["record_id"], "sae": sae, "text": text_of(rows)}
    yield json.dumps(about, ensure_ascii=False)[:-1]
    for name in LISTS:
        yield f', "{name}": ['
        some = False
        for part, own in document:
            values = json.dumps(shard_of(part).values(name, own, sae), ensure_ascii=False)[1:-1]
            yield f", {values}" if some and values else values
            some = some or bool(values)
        yield "]"
    yield "}\n"


@dataclass(frozen=True)
class DocumentFeatures:
    """The rows of one SAE in one shard."""

    rows: pa.Table
    keys: Ints
    """[n] one number for the sequence and position of each row, rising."""


@dataclass(frozen=True)
class DocumentShard:
    """The tokens and features of one shard."""

    tokens: pa.Table
    owners: Ints
    features: Mapping[str, DocumentFeatures | None]
    special: bool

    def values(self, name: str, chunks: Sequence[Mapping[str, Any]], sae: str) -> list[Any]:
        """Return one of `LISTS` for the tokens of some of the shard's chunks."""
        own = pa.concat_tables([self.tokens[span(self.owners, chunk["sequence_id"])] for chunk in chunks])
        own = own if self.special else own.filter(pa.array(~_added(own)))
        if name in OF_TOKENS:
            return list(own[OF_TOKENS[name]].to_pylist())
        return _active(own, self.features[sae], OF_FEATURES[name])


def _shard(run: Path, saes: Sequence[str], special: bool, part: Path) -> DocumentShard:
    tokens = part_of(run, "tokens", part, TOKEN)
    features = {sae: _features(run, part, sae) for sae in saes}
    return DocumentShard(tokens, tokens["sequence_id"].to_numpy(), features, special)


def _features(run: Path, part: Path, sae: str) -> DocumentFeatures | None:
    rows = rows_of_sae(run / "features" / part.name, sae)
    if rows is None:
        return None
    return DocumentFeatures(rows, keys_of(rows["sequence_id"].to_numpy(), rows["position"].to_numpy()))


def _added(tokens: pa.Table) -> npt.NDArray[np.bool_]:
    """[n] whether each token was put before a chunk: special, at position 0, and without a character of the text."""
    first = tokens["position"].to_numpy() == 0
    empty = tokens["char_start"].to_numpy() == tokens["char_end"].to_numpy()
    added: npt.NDArray[np.bool_] = tokens["is_special"].to_numpy() & first & empty
    return added


def _active(tokens: pa.Table, features: DocumentFeatures | None, column: str) -> list[Any]:
    """Return each token's features or activations in the table's order; an empty list for a token without a row."""
    wanted = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
    if features is None:
        return [[] for _ in wanted]
    rows = np.searchsorted(features.keys, wanted)
    there = features.keys[np.minimum(rows, len(features.keys) - 1)] == wanted
    chosen = features.rows[column].take(pa.array(rows, mask=~there))
    return [positions or [] for positions in chosen.to_pylist()]
