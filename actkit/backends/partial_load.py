"""Shorten a model to the blocks that are read, for architectures in which these do not depend on later ones."""

import copy
from contextlib import suppress
from typing import Any

LAYERS_STAND_ALONE = frozenset(
    (
        "bloom falcon gemma gemma2 gemma3_text gpt2 gpt_neox gptj granite llama mistral mixtral olmo2 opt phi phi3 "
        "qwen2 qwen3 qwen3_moe smollm3 stablelm"
    ).split()
)
"""`model_type`s of which a test shows that blocks compute the same in a shortened model. In others they may not: some
scale by the number of layers, or share keys between the last ones."""


def shortened(config: Any, n_layers: int) -> Any:
    """Copy a configuration, with the first `n_layers` blocks only."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = n_layers
    if getattr(text, "num_kv_shared_layers", None):
        text.num_kv_shared_layers = 0  # it counts from the end
    if getattr(text, "layer_types", None):
        with suppress(AttributeError):  # some configurations compute it from the number of layers
            text.layer_types = text.layer_types[:n_layers]
    return config
