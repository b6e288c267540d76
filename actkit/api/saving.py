"""Captured activations in a file that `torch.load(weights_only=True)` reads, with their figures beside it as JSON."""

import json
from pathlib import Path
from typing import Any

import torch

from actkit.api.contrasts import ContrastiveActivations
from actkit.api.statistics import Captured, compute_activation_stats
from actkit.errors import RunError, UsageError, writing
from actkit.runs.atomic_files import write_whole


def save_activations(activations: Captured | ContrastiveActivations, path: Path | str) -> Path:
    """Write captured activations to `path`, which ends in .pt, and their statistics to a file of that name in .json.

    The file holds the same dictionary as `actkit export --to pt` writes, and `special_tokens_mask`; of a pair, one
    dictionary each under `positive` and `negative`, and `differences`. The statistics are those of
    `compute_activation_stats`, with special tokens and without. Files that are there are replaced, when the new ones
    are whole. Returns the path.

    Raises UsageError for another suffix or what are no activations, RunError when the files cannot be written.

        found = actkit.capture_activations("tiny", "Good morning.")
        torch.load(actkit.save_activations(found, "morning.pt"), weights_only=True)["activations"][2]
    """
    path = Path(path)
    if path.suffix != ".pt":
        raise UsageError(f"{path} does not end in .pt", f"name it {path.with_suffix('.pt').name}")
    if isinstance(activations, ContrastiveActivations):
        sides = {"positive": activations.positive, "negative": activations.negative}
        document: dict[str, Any] = {name: dict(side) for name, side in sides.items()}
        document["differences"] = dict(activations.differences)
        figures: dict[str, Any] = {name: _figures(side) for name, side in sides.items()}
    else:
        figures = _figures(activations)
        document = dict(activations)
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path.with_suffix(".json"), lambda file: file.write(text.encode()))
    try:
        write_whole(path, lambda file: torch.save(document, file))
    except RuntimeError as error:  # so torch says that the disk is full
        raise RunError(f"cannot write {path}: {error}", "is the disk full?") from error
    return path


def _figures(activations: Captured) -> dict[str, Any]:
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
        "num_layers": activations["num_layers"],
        "captured_layers": activations["captured_layers"],
        "statistics": found,
    }
