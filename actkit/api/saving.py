"""Captured activations in a file that `torch.load(weights_only=True)` reads, with their figures beside it as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from actkit.api.contrasts import SIDES, ContrastiveActivations
from actkit.api.statistics import compute_activation_stats, listed
from actkit.errors import RunError, UsageError, writing
from actkit.remote.path import local_path
from actkit.runs.atomic_files import write_whole

OTHER_SUFFIXES = (".json", ".jsonl", ".pth", ".bin", ".npz", ".npy", ".h5", ".hdf5", ".safetensors", ".parquet")


def save_activations(activations: Any, path: Path | str) -> Path:
    """Write captured activations to `path`, which gets the ending .pt, and their statistics to one that ends in .json.

    `activations` are a result of `capture_activations` or `capture_contrastive_activations`, or a dictionary of the
    same shape.

    The file holds the same dictionary as `actkit export --to pt` writes, and `special_tokens_mask`; for a pair, one
    dictionary each under `positive` and `negative`, and `differences`. The statistics are those of
    `compute_activation_stats`, with special tokens and without. Files that are there are replaced, when the new ones
    are whole. Returns the path.

    Raises UsageError for the ending of another format or values that are no activations, RunError when the files cannot
    be written.

        found = actkit.capture_activations("tiny", "Good morning.")
        torch.load(actkit.save_activations(found, "morning"), weights_only=True)["activations"][2]
    """
    path = local_path(path)
    if path.suffix in OTHER_SUFFIXES:
        raise UsageError(f"{path} does not end in .pt", f"name it {path.with_suffix('.pt').name}")
    path = path if path.suffix == ".pt" else path.with_name(f"{path.name}.pt")
    if isinstance(activations, ContrastiveActivations):
        sides = {"positive": activations.positive, "negative": activations.negative}
        document: dict[str, Any] = {name: dict(side) for name, side in sides.items()}
        document["differences"] = dict(activations.differences)
        figures: dict[str, Any] = {name: _figures(side) for name, side in sides.items()}
    elif isinstance(activations, Mapping) and {*SIDES} <= {*activations}:
        figures = {side: [_figures(batch) for batch in listed(activations[side])] for side in SIDES}
        document = {side: [_plain(batch) for batch in listed(activations[side])] for side in SIDES}
    else:
        figures = _figures(activations)
        document = _plain(activations)
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path.with_suffix(".json"), lambda file: file.write(text.encode()))
    try:
        write_whole(path, lambda file: torch.save(document, file))
    except RuntimeError as error:  # torch raises it where the disk is full
        raise RunError(f"cannot write {path}: {error}", "is the disk full?") from error
    return path


def _plain(batch: Any) -> dict[str, Any]:
    """Return a batch as a dictionary that `torch.load(weights_only=True)` reads."""
    return {name: dict(value) if name == "activations" else value for name, value in batch.items()}


def _figures(activations: Any) -> dict[str, Any]:
    found = {
        str(key): figures | {"without_special_tokens": None}
        for key, figures in compute_activation_stats(activations, special_tokens=True).items()
    }
    if "special_tokens_mask" in activations:
        for key, figures in compute_activation_stats(activations).items():
            found[str(key)]["without_special_tokens"] = figures
    facts = getattr(activations, "facts", None)
    return {
        "model": facts["model"]["name"] if facts else None,
        "num_layers": activations.get("num_layers"),
        "captured_layers": activations.get("captured_layers", list(activations["activations"])),
        "statistics": found,
    }
