"""gguf: concept directions as a control vector of llama.cpp, in the layout that repeng writes.

`direction.L` moves the output of block L, 0-based. Its length is that of the difference that was measured, so that
scale 1 adds just that.
"""

import re

from actkit.errors import RunError
from actkit.export.directions import directions_of
from actkit.export.job import ExportJob

SITE = "hook_resid_post"
"""What a control vector moves: the residual stream after a block."""
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


def write(job: ExportJob, method: str | None = None) -> None:
    """Write the control vector; `method` chooses the directions.

    llama.cpp has no direction for block 0, so that one is left out, with a note. Raises RunError when nothing remains,
    and what `directions_of` raises.
    """
    import gguf

    kept = {}
    for one in directions_of(job.run, method):
        if not one.hook_point.endswith(f".{SITE}"):
            job.note(f"{one.hook_point}: left out, a control vector moves {SITE} only")
        elif one.layer == 0:
            job.note(f"{one.hook_point}: left out, llama.cpp moves the output of block 1 and later ones only")
        else:
            kept[one.layer] = one
    if not kept:
        raise RunError(f"{job.run} has no direction that llama.cpp can use", f"it needs {SITE} of layer 1 or later")
    architecture = "controlvector"
    writer = gguf.GGUFWriter(job.out, architecture)
    writer.add_string(f"{architecture}.model_hint", _model_hint(job))
    writer.add_uint32(f"{architecture}.layer_count", len(kept))
    for layer, direction in kept.items():
        writer.add_tensor(f"direction.{layer}", direction.measured)
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
