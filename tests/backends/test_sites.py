"""Hook points whose names mean something else in some configurations, and the names that a wrong one was meant for."""

from types import SimpleNamespace
from typing import Any

import pytest

from actkit.backends.sites import NATIVE, misnamed, nearest
from actkit.hooks import D_MODEL_WIDE, HookPoint


def config(model_type: str = "llama", **about: Any) -> Any:
    text = SimpleNamespace(model_type=model_type, **about)
    return SimpleNamespace(get_text_config=lambda: text)


@pytest.mark.parametrize(
    ("found", "architecture", "names"),
    [
        (config(), "LlamaForCausalLM", set()),
        (config(), "OpenAIGPTLMHeadModel", {"hook_resid_mid"}),
        (config("opt", do_layer_norm_before=False), "OPTForCausalLM", {"hook_resid_mid"}),
        (config("opt", do_layer_norm_before=True), "OPTForCausalLM", set()),
        (config("bert"), "BertLMHeadModel", {"hook_resid_mid", "hook_attn_out"}),
        (config("falcon_h1", attention_out_multiplier=0.5), "FalconH1ForCausalLM", {"hook_attn_out"}),
        (config("falcon_h1", attention_out_multiplier=1), "FalconH1ForCausalLM", set()),
    ],
)
def test_names_that_mean_something_else(found: Any, architecture: str, names: set[str]) -> None:
    assert misnamed(found, architecture) == names


def test_the_nearest_names() -> None:
    names = ["hook_resid_post", "hook_resid_pre", "hook_mlp_out", "attn.hook_z"]
    assert nearest(HookPoint(3, "hook_resid_pst"), names)[0] == "hook_resid_post"
    assert nearest(HookPoint(3, "zzz"), names) == list(D_MODEL_WIDE), "those that every architecture has"
    assert len(nearest(HookPoint(0, "hook_x"), [f"hook_{letter}" for letter in "abcdefgh"])) == 5
    assert set(D_MODEL_WIDE) < set(NATIVE)
