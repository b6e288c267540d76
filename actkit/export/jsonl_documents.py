"""jsonl: the active SAE features of a corpus, one line a document, and where there are several SAEs one line for each.

    {"record_id", "sae", "text", "tokens": [id, …], "offsets": [start, …], "offset_ends": [end, …],
     "token_texts": […], "active_features": [[id, …], …], "activations": [[…], …]}

The chunks of a document are put together again: offsets count characters of `text`, the whole document.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.export.job import ExportJob
from actkit.export.vectors import span
from actkit.runs.reader import Ints, keys_of, part_of, parts, sae_groups

SEQUENCE = ["sequence_id", "record_id", "chunk", "char_offset", "text"]
TOKEN = ["sequence_id", "position", "token_id", "token", "char_start", "char_end", "is_special"]


def write(job: ExportJob, special: bool = False) -> None:
    """Write the documents of a `feature-dataset` run, one at a time.

    Each chunk begins with a BOS that is not in the document; it has a row only with `special`.
    """
    saes = [str(sae["name"]) for sae in job.facts["saes"]]
    files = parts(job.run, "sequences")
    with job.out.open("w", encoding="utf-8", newline="\n") as file:
        for done, part in enumerate(files, 1):
            for line in _lines(job.run, part, saes, special):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            job.progress(done / len(files))


def _lines(run: Path, part: Path, saes: Sequence[str], special: bool) -> Iterator[dict[str, Any]]:
    sequences = part_of(run, "sequences", part, SEQUENCE).to_pylist()
    tokens = part_of(run, "tokens", part, TOKEN)
    features = {sae: _features(run, part, sae) for sae in saes}
    owners = tokens["sequence_id"].to_numpy()
    for record_id, chunks in groupby(sequences, key=lambda row: row["record_id"]):
        pieces = list(chunks)
        own = pa.concat_tables([_slice(tokens, span(owners, one["sequence_id"])) for one in pieces])
        own = own if special else own.filter(pa.array(~_added(own)))
        text = _text(pieces)
        for sae in saes:
            yield {"record_id": record_id, "sae": sae, "text": text, **_tokens(own), **_active(own, features[sae])}


@dataclass(frozen=True)
class FeatureRows:
    """The rows of one SAE in one shard."""

    rows: pa.Table
    keys: Ints
    """[n] sequence and position of each, rising."""


def _features(run: Path, part: Path, sae: str) -> FeatureRows | None:
    groups = list(sae_groups(run / "features" / part.name, sae))
    if not groups:
        return None
    rows = pa.concat_tables(groups).combine_chunks()
    return FeatureRows(rows, keys_of(rows["sequence_id"].to_numpy(), rows["position"].to_numpy()))


def _slice(table: pa.Table, rows: slice) -> pa.Table:
    return table.slice(rows.start, rows.stop - rows.start)


def _added(tokens: pa.Table) -> npt.NDArray[np.bool_]:
    """[n] whether each token was put before a chunk: special, at its beginning, and without a character of the text."""
    first = tokens["position"].to_numpy() == 0
    empty = tokens["char_start"].to_numpy() == tokens["char_end"].to_numpy()
    added: npt.NDArray[np.bool_] = tokens["is_special"].to_numpy() & first & empty
    return added


def _text(chunks: Sequence[Mapping[str, Any]]) -> str:
    """The document; a character that is split between two chunks is in both, and counts once."""
    text = ""
    for chunk in chunks:
        text = text[: chunk["char_offset"]] + chunk["text"]
    return text


def _tokens(tokens: pa.Table) -> dict[str, list[Any]]:
    starts, ends = tokens["char_start"].to_pylist(), tokens["char_end"].to_pylist()
    return {
        "tokens": tokens["token_id"].to_pylist(),
        "offsets": starts,
        "offset_ends": ends,
        "token_texts": tokens["token"].to_pylist(),
    }


def _active(tokens: pa.Table, features: FeatureRows | None) -> dict[str, list[Any]]:
    """Each token's features and activations, in the table's order; none where a token has no row."""
    wanted = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
    if features is None:
        return {"active_features": [[] for _ in wanted], "activations": [[] for _ in wanted]}
    rows = np.searchsorted(features.keys, wanted)
    there = features.keys[np.minimum(rows, len(features.keys) - 1)] == wanted
    chosen = features.rows.take(pa.array(rows, mask=~there))
    return {
        "active_features": [one or [] for one in chosen["feature_ids"].to_pylist()],
        "activations": [one or [] for one in chosen["feature_activations"].to_pylist()],
    }
