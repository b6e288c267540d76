"""gguf: concept directions as a control vector of llama.cpp, in the layout that repeng writes.

`direction.L` moves the output of block L, 0-based. By default there is one, at the layer that the run chose. It is as
long as the difference measured there, so that scale 1 adds the difference once. A vector added at an early layer is
still there at a late one: the differences of all layers together would be many times the difference at any layer.
Several layers therefore get equal shares, which add up to the difference once.
"""

import re

import numpy as np

from actkit.errors import RunError, UsageError
from actkit.export.directions import METHOD, SITE, at_blocks, chosen_layer, listed, named_layers, share_of
from actkit.export.job import ExportJob

ARCHITECTURE = "controlvector"
CLASS = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|Model)$")
NAMES = {
    "GPTNeoXForCausalLM": "gpt_neox",
    "GPTBigCodeForCausalLM": "gpt_bigcode",
    "GPTNeoForCausalLM": "gpt_neo",
    "Gemma3ForCausalLM": "gemma3_text",
    "FalconForCausalLM": "falcon",
    "Qwen2MoeForCausalLM": "qwen2_moe",
    "Qwen3MoeForCausalLM": "qwen3_moe",
}
"""Architectures whose `model_type` is not their class's name in small letters."""


def write(job: ExportJob, method: str | None = None, layers: str | None = None) -> None:
    """Write the control vector. `method` chooses the directions, `layers` (as `--layers`) their layers.

    By default the layer is the run's choice. llama.cpp has no direction for block 0. Raises as `directions_of` does,
    RunError for a run without a usable direction, UsageError for layers that cannot be used or where none was chosen.
    """
    import gguf

    found = at_blocks(job, method)
    usable = {layer: direction for layer, direction in found.items() if layer > 0}
    if not usable:
        raise RunError(f"{job.run} has no direction that llama.cpp can use", f"it needs {SITE} of layer 1 or later")
    wanted = named_layers(job, layers, found) if layers is not None else [chosen_layer(job, method, usable)]
    if 0 in wanted:
        job.note(f"blocks.0.{SITE}: left out, llama.cpp moves the output of block 1 and later ones only")
    kept = [usable[layer] for layer in wanted if layer > 0]
    if not kept:
        raise UsageError("llama.cpp moves the output of block 1 and later ones only", f"--layers {listed(usable)}")
    share = share_of(job, len(kept))
    writer = gguf.GGUFWriter(job.out, ARCHITECTURE)
    writer.add_string(f"{ARCHITECTURE}.model_hint", _model_hint(job))
    writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(kept))
    writer.add_string("actkit.run", job.run.resolve().name)
    writer.add_string("actkit.method", method or METHOD)
    writer.add_array("actkit.layers", [direction.layer for direction in kept])
    writer.add_array("actkit.shares", [share] * len(kept))
    writer.add_array("actkit.norms", [1.0 if direction.norm is None else float(direction.norm) for direction in kept])
    writer.add_float32("actkit.strength", kept[0].strength)
    scale = "1 adds each layer's share of strength times the measured difference; shares add up to 1"
    writer.add_string("actkit.scale", scale)
    for direction in kept:
        writer.add_tensor(f"direction.{direction.layer}", direction.measured * np.float32(share))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _model_hint(job: ExportJob) -> str:
    model = job.facts["model"]
    return str(model.get("model_type") or model_type(str(model["architecture"])))


def model_type(architecture: str) -> str:
    """The `model_type` of a Hugging Face architecture, by its name: `llama` of `LlamaForCausalLM`."""
    return NAMES.get(architecture, CLASS.sub("", architecture).lower())
