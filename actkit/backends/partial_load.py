"""Load a model without the blocks above the last one that is read, where no other block depends on them."""

import copy
from contextlib import suppress
from typing import Any

LAYERS_STAND_ALONE = frozenset(
    (
        "bloom falcon gemma gemma2 gemma3_text gpt2 gpt_neox gptj granite llama mistral mixtral olmo2 opt phi phi3 "
        "qwen2 qwen3 qwen3_moe smollm3 stablelm"
    ).split()
)
"""`model_type`s of which a test shows that a block computes the same in a model cut short. Elsewhere it may not: some
scale by the number of layers, or share keys between the last ones."""


def shortened(config: Any, n_layers: int) -> Any:
    """A copy of a configuration with the first `n_layers` blocks only."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = n_layers
    if getattr(text, "num_kv_shared_layers", None):
        text.num_kv_shared_layers = 0  # it counts from the end
    if getattr(text, "layer_types", None):
        with suppress(AttributeError):  # some work it out from the number of layers
            text.layer_types = text.layer_types[:n_layers]
    return config
