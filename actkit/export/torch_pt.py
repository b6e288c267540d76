"""pt: a capture run as one dictionary that `torch.load(weights_only=True)` reads, with statistics beside it.

    activations      {layer: [batch, rows, width]}; where a layer has several hook points, {hook point: …} for all
    positions        [batch, rows]: the position of each row; -1 where there is none, and the row is zeros
    input_ids        [batch, tokens], attention_mask [batch, tokens]: 0 on the right where a sequence has ended
    tokens           a list of texts, and prompt a text; lists of them where there are several sequences
    num_layers       of the model; captured_layers: those that are here

With every position kept, rows are tokens.
"""

import json
from pathlib import Path
from typing import Any

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.export.padded import batch_of, sequences_of, tensors_of
from actkit.export.torch_file import save
from actkit.export.vectors import Held, even, span
from actkit.runs.part import read_part
from actkit.runs.reader import part_of, parts

MB = 10**6


def write(job: ExportJob, max_mb: int = 2000) -> None:
    """Write the tensors, and beside them the statistics of each layer as JSON.

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
    """Hook point → its key in `activations`: its layer, or for all of them their names where one layer has several."""
    layers = [vectors.layer for vectors in held]
    alone = len(set(layers)) == len(layers)
    return {vectors.hook_point: vectors.layer if alone else vectors.hook_point for vectors in held}


def _texts(run: Path) -> dict[str, list[Any]]:
    """`tokens`, a list of texts a sequence, and `prompt`, a text a sequence."""
    tokens: list[list[str]] = []
    prompts: list[str] = []
    known: dict[str, str] = {}  # equal tokens are one object, in memory and in the file
    for part, sequence_ids in sequences_of(run):
        prompts += part_of(run, "sequences", part, ["text"])["text"].to_pylist()
        table = part_of(run, "tokens", part, ["sequence_id", "token"])
        owners = table["sequence_id"].to_numpy()
        for sequence_id in sequence_ids:
            own = span(owners, int(sequence_id))
            texts = table["token"].slice(own.start, own.stop - own.start).to_pylist()
            tokens.append([known.setdefault(text, text) for text in texts])
    return {"tokens": tokens, "prompt": prompts}


def _statistics(run: Path, keys: dict[str, int | str]) -> dict[str, Any]:
    """Key in `activations` → what `layer_stats` says of it; `norm` is the mean Euclidean norm of its vectors."""
    found: dict[str, Any] = {}
    for part in parts(run, "layer_stats"):
        for row in read_part(part).to_pylist():
            if row["hook_point"] not in keys:
                continue
            figures = {
                "n_positions": row["n_positions"],
                **{name: row[column] for name, column in (("mean", "mean"), ("std", "std"), ("norm", "mean_norm"))},
            }
            own = found.setdefault(str(keys[row["hook_point"]]), {})
            if row["special_tokens"]:
                own.update({"hook_point": row["hook_point"], **figures})
            else:
                own["without_special_tokens"] = figures
    return found
