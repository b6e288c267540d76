"""pt: a capture run as one dictionary that `torch.load(weights_only=True)` reads, and statistics in a second file.

    activations      {layer: [batch, rows, width]}; where a layer has several hook points, {hook point: …} for all
    positions        [batch, rows]: the position of each row; -1 where there is none, and the row is zeros
    input_ids        [batch, tokens], attention_mask [batch, tokens]: 0 on the right where a sequence has ended
    tokens           a list of texts, and prompt a text; lists of them where there are several sequences
    num_layers       of the model; captured_layers: those that are here

With every position kept, rows are tokens.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.errors import RunError
from actkit.export.arrays import Array, Pieces
from actkit.export.job import ExportJob
from actkit.export.torch_file import save
from actkit.export.vectors import Held, even, kept_rows
from actkit.runs.reader import Ints, part_of, parts, rows_of, rows_of_table, span

MB = 10**6


def write(job: ExportJob, max_mb: int = 2000) -> None:
    """Write the tensors, and a second file with the statistics of each layer as JSON.

    Raises RunError for a run without activations, or when the padded tensors would be larger than `max_mb` MB: they
    are read into memory as a whole.
    """
    held = even(job)
    keys = _keys(held)
    if any(isinstance(key, str) for key in keys.values()):
        job.note("a layer has several hook points, so `activations` has hook points for keys, not layers")
    batch = batch_of(job.run)
    tensors = tensors_of(batch, held)
    size = sum(tensor.nbytes for tensor in tensors) / MB
    if size > max_mb:
        raise RunError(
            f"padded to {batch.rows} rows for each of {batch.size} sequences, it would be {size:,.0f} MB, "
            f"more than --max-mb {max_mb}",
            "--to safetensors pads nothing; or raise --max-mb",
        )
    layers = sorted({vectors.layer for vectors in held})
    about = {"num_layers": job.facts["model"]["n_layers"], "captured_layers": layers}
    texts = _texts(job.run)
    named = {tensor.name: tensor for tensor in tensors}
    document = {
        "activations": {key: named.pop(name) for name, key in keys.items()},
        **named,
        **(texts if batch.size > 1 else {name: value[0] for name, value in texts.items()}),
        **about,
    }
    save(document, tensors, job)
    statistics = {"model": job.facts["model"]["name"], **about, "statistics": _statistics(job.run, keys)}
    text = json.dumps(statistics, indent=2, ensure_ascii=False) + "\n"
    job.out.with_suffix(".json").write_text(text, encoding="utf-8")


def _keys(held: list[Held]) -> dict[str, int | str]:
    """Hook point → its key in `activations`: its layer, or its name if any layer has several hook points."""
    layers = [vectors.layer for vectors in held]
    alone = len(set(layers)) == len(layers)
    return {vectors.hook_point: vectors.layer if alone else vectors.hook_point for vectors in held}


def _texts(run: Path) -> dict[str, list[Any]]:
    """Return `tokens`, a list of texts a sequence, and `prompt`, a text a sequence."""
    tokens: list[list[str]] = []
    prompts: list[str] = []
    known: dict[str, str] = {}  # equal tokens are one object, in memory and in the file
    for part, sequence_ids in sequences_of(run):
        prompts += part_of(run, "sequences", part, ["text"])["text"].to_pylist()
        table = part_of(run, "tokens", part, ["sequence_id", "token"])
        owners = table["sequence_id"].to_numpy()
        for sequence_id in sequence_ids:
            own = span(owners, int(sequence_id))
            texts = table["token"][own].to_pylist()
            tokens.append([known.setdefault(text, text) for text in texts])
    return {"tokens": tokens, "prompt": prompts}


def _statistics(run: Path, keys: dict[str, int | str]) -> dict[str, Any]:
    """Key in `activations` → its figures of `layer_stats`; `norm` is the mean Euclidean norm of its vectors."""
    found: dict[str, Any] = {}
    for row in rows_of_table(run, "layer_stats"):
        if row["hook_point"] in keys:
            figures = {name: row[name] for name in ("n_positions", "mean", "std")} | {"norm": row["mean_norm"]}
            own = found.setdefault(str(keys[row["hook_point"]]), {})
            if row["special_tokens"]:
                own.update({"hook_point": row["hook_point"], **figures})
            else:
                own["without_special_tokens"] = figures
    return found


@dataclass(frozen=True)
class PaddedBatch:
    """The run's sequences as one padded batch."""

    run: Path
    size: int
    tokens: int
    """Tokens of the longest sequence."""
    rows: int
    """Most kept positions of a sequence."""


def batch_of(run: Path) -> PaddedBatch:
    """Measure the batch of all sequences of a run."""
    size = tokens = rows = 0
    for part in parts(run, "sequences"):
        lengths = part_of(run, "sequences", part, ["n_tokens"])["n_tokens"].to_numpy()
        size, tokens = size + len(lengths), max(tokens, int(lengths.max(initial=0)))
    for part in parts(run, "activations"):
        _, counts = np.unique(kept_rows(part)[0], return_counts=True)
        rows = max(rows, int(counts.max(initial=0)))
    return PaddedBatch(run, size, tokens, rows)


ValuesOf = Callable[[Path], tuple[Ints, npt.NDArray[Any]]]
"""Takes a part of `sequences`; returns the sequence of each value [n], in order, and the shard's values [n, …]."""


def tensors_of(batch: PaddedBatch, held: list[Held]) -> list[Array]:
    """Return the batch's arrays, padded right: one a hook point of `held`, positions, input_ids, attention_mask."""

    def array(name: str, dtype: Any, width: int, values_of: Any, fill: Any = 0, *shape: int) -> Array:
        pieces = partial(_padded, batch, width, fill, values_of)
        return Array(name, np.dtype(dtype), (batch.size, width, *shape), pieces)

    run, rows, tokens = batch.run, batch.rows, batch.tokens
    return [
        *(array(of.hook_point, of.dtype, rows, partial(_vectors, run, of), 0, of.width or 0) for of in held),
        array("positions", np.int64, rows, partial(_positions, run), -1),
        array("input_ids", np.int64, tokens, partial(_token_ids, run)),
        array("attention_mask", np.int64, tokens, partial(_mask, run)),
    ]


def sequences_of(run: Path) -> Iterator[tuple[Path, Ints]]:
    """Yield each part with the ids of its sequences, in order."""
    for part in parts(run, "sequences"):
        yield part, part_of(run, "sequences", part, ["sequence_id"])["sequence_id"].to_numpy()


def _padded(batch: PaddedBatch, width: int, fill: Any, values_of: ValuesOf) -> Pieces:
    """Yield a piece a sequence: its values, then `fill` up to `width`."""
    for part, sequence_ids in sequences_of(batch.run):
        owners, values = values_of(part)
        for sequence_id in sequence_ids:
            own = values[span(owners, int(sequence_id))]
            padded = np.full((width, *values.shape[1:]), fill, dtype=values.dtype)
            padded[: len(own)] = own
            yield padded


def _vectors(run: Path, held: Held, part: Path) -> tuple[Ints, npt.NDArray[Any]]:
    where = run / "activations" / part.name
    rows = next(rows_of(where, held.hook_point, as_stored=True), None) if where.exists() else None
    if rows is None:
        return np.zeros(0, dtype=np.int64), np.zeros((0, held.width or 0), dtype=held.dtype)
    return rows.sequence_ids, rows.activations


def _positions(run: Path, part: Path) -> tuple[Ints, npt.NDArray[Any]]:
    where = run / "activations" / part.name
    none = np.zeros(0, dtype=np.int64)
    return kept_rows(where) if where.exists() else (none, none)


def _token_ids(run: Path, part: Path) -> tuple[Ints, npt.NDArray[Any]]:
    table = part_of(run, "tokens", part, ["sequence_id", "token_id"])
    return table["sequence_id"].to_numpy(), table["token_id"].to_numpy().astype(np.int64)


def _mask(run: Path, part: Path) -> tuple[Ints, npt.NDArray[Any]]:
    owners, token_ids = _token_ids(run, part)
    return owners, np.ones_like(token_ids)
