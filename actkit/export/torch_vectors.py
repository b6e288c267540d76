"""Concept directions as torch files: for steering-vectors, and in the layout of persona vectors.

steering-vectors: `{"layer_activations": {layer: [d_model]}, "layer_type": "decoder_block"}`, the arguments of that
library's `SteeringVector`, so that `SteeringVector(**torch.load(path))` is it. By default the layer that the run chose;
several get equal shares, as in a control vector.

persona: one tensor [n_layers + 1, d_model], row l + 1 for the output of block l: rows count as `hidden_states` do, with
the embedding in row 0. Layers that the run does not have are zero. Every row is as long as the difference measured
at its layer: one of them is used, not all.
"""

import torch

from actkit.errors import RunError, UsageError
from actkit.export.directions import METHOD, StoredDirection, directions_of
from actkit.export.job import ExportJob
from actkit.hooks import parse_layers

SITE = "hook_resid_post"


def write_steering_vectors(job: ExportJob, method: str | None = None, layers: str | None = None) -> None:
    """Write the file of steering-vectors. Raises what `directions_of` raises, and UsageError for layers not there."""
    found = _at_blocks(job, method)
    kept = _wanted(job, method, layers, found)
    share = 1 / len(kept)
    if len(kept) > 1:
        job.note(f"{len(kept)} layers: each adds {share:.3g} of its own measured difference, together one")
    vectors = {direction.layer: torch.from_numpy(direction.measured * share) for direction in kept}
    torch.save({"layer_activations": vectors, "layer_type": "decoder_block"}, job.out)


def write_persona(job: ExportJob, method: str | None = None) -> None:
    """Write the file of a persona vector. Raises what `directions_of` raises."""
    found = _at_blocks(job, method)
    rows = torch.zeros(int(job.facts["model"]["n_layers"]) + 1, len(next(iter(found.values())).unit))
    for layer, direction in found.items():
        rows[layer + 1] = torch.from_numpy(direction.measured)
    lacking = len(rows) - 1 - len(found)
    if lacking:
        job.note(f"{lacking} layers of the model are not in the run: their rows are zero")
    torch.save(rows, job.out)


def _at_blocks(job: ExportJob, method: str | None) -> dict[int, StoredDirection]:
    found = {
        direction.layer: direction
        for direction in directions_of(job.run, method)
        if direction.hook_point.endswith(f".{SITE}")
    }
    if not found:
        raise RunError(f"{job.run} has no direction of {SITE}", "these files move the output of blocks")
    return found


def _wanted(
    job: ExportJob, method: str | None, layers: str | None, found: dict[int, StoredDirection]
) -> list[StoredDirection]:
    there = ",".join(map(str, sorted(found)))
    if layers is not None:
        named = sorted(found) if layers == "all" else parse_layers(layers, int(job.facts["model"]["n_layers"]))
        missing = [layer for layer in named if layer not in found]
        if missing:
            raise UsageError(f"{job.run} has no direction of {SITE} at layer {missing[0]}", f"it has {there}")
        return [found[layer] for layer in named]
    row = job.facts.get("concept", {}).get("chosen", {}).get(method or METHOD)
    if row is not None and row["layer"] in found:
        return [found[row["layer"]]]
    if len(found) == 1:
        return list(found.values())
    raise UsageError(f"{job.run} chose no layer", f"name layers: --layers {there}")
