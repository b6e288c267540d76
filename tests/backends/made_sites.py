"""`sites.json`: where common architectures have their hook points, by TransformerLens's adapters.

    python -m tests.backends.made_sites

writes it anew into `actkit/backends`; a test fails where it is stale.
"""

import json
from pathlib import Path

from actkit.backends import transformer_lens
from actkit.backends.transformer_lens import mapped_sites

SITES = Path(transformer_lens.__file__).with_name("sites.json")
TABLE = {
    "GPT2LMHeadModel": "gpt2",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3_text",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "PhiForCausalLM": "phi",
    "Phi3ForCausalLM": "phi3",
    "Olmo2ForCausalLM": "olmo2",
    "OPTForCausalLM": "opt",
    "GPTJForCausalLM": "gptj",
    "BloomForCausalLM": "bloom",
}
"""Architectures in `sites.json`. Not here: those whose layout a configuration decides, such as GPT-NeoX and Falcon
(parallel or not), and those that scale what they add to the residual stream, such as Granite."""


def sites_table() -> str:
    """The text of `sites.json`: hook point → module path and side, for architectures that always have one layout."""
    from transformers import AutoConfig

    table = {}
    for architecture, model_type in TABLE.items():
        config = AutoConfig.for_model(model_type, num_hidden_layers=2)
        table[architecture] = {
            name: [site.path, site.side] for name, site in mapped_sites(config, architecture).items()
        }
    return json.dumps(table, indent=1) + "\n"


if __name__ == "__main__":
    SITES.write_text(sites_table(), encoding="utf-8")
