"""pt of contrasts: both sides as dictionaries that `torch.load(weights_only=True)` reads, and a file of statistics.

positive, negative   each as the `pt` of a capture run has it, one row a pair
concept, num_layers, captured_layers

A side is a padded batch of whole texts: each begins with the tokens that both sides share.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.export.torch_pt import MB
from actkit.hooks import HookPoint
from actkit.runs.reader import Ints, left_out, span
from actkit.runs.run import Run

TOKEN = ["sequence_id", "position", "token_id", "token"]


def side_of(run: Run, side: str) -> dict[str, Any]:
    """Return the `positive` or `negative` texts of a run of contrasts, in the order of the pairs, as tensors and lists.

    `activations` {layer: [n_pairs, rows, width]}, `positions` [n_pairs, rows], `input_ids`, `attention_mask` and
    `special_tokens_mask` [n_pairs, tokens], `tokens`, `prompt`, `num_layers`, `captured_layers`, `n_truncated`.
    """
    sequences = run.table("sequences", ["sequence_id", "side", "parent_id", "start", "n_tokens", "n_truncated", "text"])
    own = sequences.filter(pc.equal(sequences["side"], side)).to_pylist()
    tokens = _tokens(run, own)
    lengths = [len(token["token_id"]) for token in tokens]
    ids, mask, special = (torch.zeros((len(own), max(lengths)), dtype=torch.int64) for _ in range(3))
    for row, (table, length) in enumerate(zip(tokens, lengths, strict=True)):
        ids[row, :length] = torch.from_numpy(table["token_id"].astype(np.int64))
        special[row, :length] = torch.from_numpy(table["left_out"].astype(np.int64))
        mask[row, :length] = 1
    points = [HookPoint.of(name) for name in run.hook_points]
    alone = len({point.layer for point in points}) == len(points)
    order = np.array([row["sequence_id"] for row in own], dtype=np.int64)
    at, positions = _places(run, side, order)
    texts, prompts = [token["token"].tolist() for token in tokens], [row["text"] for row in own]
    single = len(own) == 1
    return {
        "activations": {
            point.layer if alone else str(point): _padded(run.activations(str(point), side), at, positions)
            for point in points
        },
        "positions": positions,
        "input_ids": ids,
        "attention_mask": mask,
        "special_tokens_mask": special,
        "tokens": texts[0] if single else texts,
        "prompt": prompts[0] if single else prompts,
        "num_layers": run.facts["model"]["n_layers"],
        "captured_layers": sorted({point.layer for point in points}),
        "n_truncated": [row["n_truncated"] for row in own],
    }


def _tokens(run: Run, own: list[dict[str, Any]]) -> list[dict[str, npt.NDArray[Any]]]:
    """Return the token columns of each sequence: its parent's tokens before `start`, then its own."""
    table = run.table("tokens", [*TOKEN, "is_special", "is_sink"])
    columns = {name: table[name].to_numpy() for name in TOKEN} | {"left_out": left_out(table).to_numpy()}
    owners = columns["sequence_id"]
    found = []
    for row in own:
        parent = span(owners, row["parent_id"]) if row["parent_id"] is not None else slice(0, 0)
        parts = (slice(parent.start, parent.start + row["start"]), span(owners, row["sequence_id"]))
        whole = {name: np.concatenate([column[part] for part in parts]) for name, column in columns.items()}
        assert whole["position"].tolist() == list(range(row["n_tokens"]))
        found.append(whole)
    return found


def _places(run: Run, side: str, order: Ints) -> tuple[tuple[Ints, Ints], torch.Tensor]:
    """Return row and column in the batch of each stored vector, and the positions [batch, rows]; -1 is padding."""
    frame = run.positions(run.hook_points[0], side)
    owners = frame["sequence_id"].to_numpy()
    rows = np.searchsorted(order, owners)
    columns = np.arange(len(owners)) - np.searchsorted(owners, owners)
    positions = torch.full((len(order), int(columns.max()) + 1), -1, dtype=torch.int64)
    positions[torch.from_numpy(rows), torch.from_numpy(columns)] = torch.from_numpy(frame["position"].to_numpy().copy())
    return (rows, columns), positions


def _padded(vectors: npt.NDArray[np.float32], at: tuple[Ints, Ints], positions: torch.Tensor) -> torch.Tensor:
    padded = torch.zeros((*positions.shape, vectors.shape[1]), dtype=torch.float32)
    padded[torch.from_numpy(at[0]), torch.from_numpy(at[1])] = torch.from_numpy(np.array(vectors))
    return padded


SIDES = ("positive", "negative")


def write(job: ExportJob, max_mb: int = 2000) -> None:
    """Write both sides, and a second file with statistics of each layer's differences as JSON.

    Raises RunError when the tensors would be larger than `max_mb` MB: they are in memory as a whole.
    """
    run = Run(job.run)
    size = 2 * run.facts["tables"].get("activations", {}).get("bytes", 0) / MB
    if size > max_mb:
        what = f"padded, both sides would be about {size:,.0f} MB, more than --max-mb {max_mb}"
        raise RunError(what, "raise --max-mb")
    document: dict[str, Any] = {}
    for done, side in enumerate(SIDES, 1):
        document[side] = side_of(run, side)
        job.progress(done / len(SIDES))
    about = {name: document["positive"][name] for name in ("num_layers", "captured_layers")}
    about["concept"] = run.facts["options"].get("what")
    torch.save({**document, **about}, job.out)
    rows = run.table("pair_stats").to_pylist()
    text = json.dumps({"model": run.facts["model"]["name"], **about, "statistics": rows}, indent=2, ensure_ascii=False)
    job.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
