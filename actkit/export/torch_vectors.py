"""Concept directions as torch files: for steering-vectors, and in the layout of persona vectors.

steering-vectors: `{"layer_activations": {layer: [d_model]}, "layer_type": "decoder_block"}`, the arguments of that
library's `SteeringVector`, so that `SteeringVector(**torch.load(path))` is it. By default the layer that the run chose;
several get equal shares, as in a control vector.

persona: one tensor [n_layers + 1, d_model], row l + 1 for the output of block l: rows count as `hidden_states` do, with
the embedding in row 0. Layers that the run does not have are zero. Every row is as long as the difference measured
at its layer: use one of them, not all.
"""

from actkit.errors import RunError
from actkit.export.directions import SITE, StoredDirection, at_blocks, chosen_layer, named_layers, share_of
from actkit.export.job import ExportJob


def write_steering_vectors(job: ExportJob, method: str | None = None, layers: str | None = None) -> None:
    """Write the file of steering-vectors. Raises as `write_persona` does, and UsageError for layers not there."""
    import torch  # which no other format needs

    found = _some_at_blocks(job, method)
    kept = named_layers(job, layers, found) if layers is not None else [chosen_layer(job, method, found)]
    share = share_of(job, len(kept))
    vectors = {layer: torch.from_numpy(found[layer].measured * share) for layer in kept}
    torch.save({"layer_activations": vectors, "layer_type": "decoder_block"}, job.out)


def write_persona(job: ExportJob, method: str | None = None) -> None:
    """Write the file of a persona vector. Raises as `directions_of`, and RunError without one at a block's output."""
    import torch

    found = _some_at_blocks(job, method)
    rows = torch.zeros(int(job.facts["model"]["n_layers"]) + 1, len(next(iter(found.values())).unit))
    for layer, direction in found.items():
        rows[layer + 1] = torch.from_numpy(direction.measured)
    lacking = len(rows) - 1 - len(found)
    if lacking:
        job.note(f"{lacking} layers of the model are not in the run: their rows are zero")
    torch.save(rows, job.out)


def _some_at_blocks(job: ExportJob, method: str | None) -> dict[int, StoredDirection]:
    found = at_blocks(job, method)
    if not found:
        raise RunError(f"{job.run} has no direction of {SITE}", "these files move the output of blocks")
    return found
