"""Architectures whose layout a configuration changes, and models that must be refused rather than read wrongly."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import describe, load
from actkit.backends.model import Description
from actkit.backends.transformer_lens import block_sites
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from tests.conftest import GROUPED, IDS, SMALL, VOCABULARY, relative_error, small_tokenizer

TOLERANCE = 1e-5
PARALLEL = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z")
FALCON = {**SMALL, "new_decoder_architecture": True, "num_kv_heads": 2}
STATES = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_ssm": 32, "mamba_d_state": 8, "mamba_chunk_size": 16}
OPT = {**SMALL, "ffn_dim": 48, "max_position_embeddings": 128, "word_embed_proj_dim": 32}
GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}


def made(path: Path, prefix: str, options: dict[str, Any]) -> Description:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**{**options, **IDS})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    small_tokenizer().save_pretrained(path)
    return describe(ModelSpec(str(path), device="cpu"))


def ids(n: int = 20) -> torch.Tensor:
    return torch.randint(6, VOCABULARY - 40, (2, n), generator=torch.Generator().manual_seed(0))


def captured(description: Description, names: tuple[str, ...], layers: int = 3) -> dict[str, torch.Tensor]:
    points = [HookPoint(layer, name) for layer in range(layers) for name in names]
    found: dict[str, torch.Tensor] = {}
    taps = {str(point): (lambda tensor, name=str(point): found.update({name: tensor.clone()})) for point in points}
    load(description, points).run(ids(), torch.arange(20).expand(2, 20), None, taps)
    return found


def plain_states(description: Description) -> tuple[torch.Tensor, ...]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(description.location, dtype=torch.float32).eval()
    with torch.inference_mode():
        states: tuple[torch.Tensor, ...] = model(ids(), output_hidden_states=True).hidden_states
    return states


@pytest.mark.parametrize("norms", [1, 2])
def test_the_newer_falcon_is_read_off_its_modules(norms: int, tmp_path: Path) -> None:
    description = made(tmp_path / "falcon", "Falcon", {**FALCON, "num_ln_in_parallel_attn": norms})
    assert set(block_sites(description.config, description.architecture)) == set(PARALLEL)
    found, states = captured(description, PARALLEL), plain_states(description)
    for layer in range(3):
        pre, post, attn, mlp = (found[f"blocks.{layer}.{name}"] for name in PARALLEL[:4])
        assert relative_error(pre, states[layer]) <= TOLERANCE
        assert relative_error(pre + attn + mlp, post) <= TOLERANCE
    assert relative_error(found["blocks.0.hook_resid_post"], states[1]) <= TOLERANCE


def test_a_bridge_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    description = made(tmp_path / "falcon", "Falcon", FALCON)
    with pytest.raises(ModelError, match="cannot wrap FalconForCausalLM"):
        load(description, [HookPoint(0, "attn.hook_pattern")])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("prefix", "options", "name"),
    [
        ("OPT", {**OPT, "do_layer_norm_before": False}, "hook_resid_mid"),
        ("OpenAIGPT", GPT, "hook_resid_mid"),
        ("Bert", {**SMALL, "intermediate_size": 48, "is_decoder": True}, "hook_resid_mid"),
        ("Bert", {**SMALL, "intermediate_size": 48, "is_decoder": True}, "hook_attn_out"),
        ("FalconH1", {**GROUPED, **STATES, "head_dim": 8, "attention_out_multiplier": 0.5}, "hook_attn_out"),
    ],
)
def test_what_an_adapter_misnames_is_refused(prefix: str, options: dict[str, Any], name: str, tmp_path: Path) -> None:
    """Alone, and beside one for which everything goes through the bridge."""
    description = made(tmp_path / "model", prefix, options)
    for others in ((), (HookPoint(0, "attn.hook_pattern"),)):
        with pytest.raises(ModelError, match=f"no hook point blocks.0.{name}"):
            load(description, [HookPoint(0, name), *others])


@pytest.mark.parametrize(
    ("prefix", "options"),
    [("OPT", {**OPT, "do_layer_norm_before": False}), ("OpenAIGPT", GPT)],
)
def test_norms_after_the_parts_leave_the_stream_between_blocks(
    prefix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """The first GPT's blocks give lists."""
    description = made(tmp_path / "model", prefix, options)
    found, states = captured(description, ("hook_resid_pre", "hook_resid_post")), plain_states(description)
    for layer in range(3):
        assert relative_error(found[f"blocks.{layer}.hook_resid_pre"], states[layer]) <= TOLERANCE
        assert relative_error(found[f"blocks.{layer}.hook_resid_post"], states[layer + 1]) <= TOLERANCE


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("Gemma", {**GROUPED, "head_dim": 8, "use_bidirectional_attention": True}),
        ("Gemma3Text", {**GROUPED, "head_dim": 8, "use_bidirectional_attention": True}),
        ("Llama", {**GROUPED, "is_causal": False}),
        ("Bert", {**SMALL, "intermediate_size": 48}),
    ],
)
def test_a_model_that_sees_later_tokens_is_refused(prefix: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Padding on the right would be seen, and rows depend on their batch."""
    description = made(tmp_path / "model", prefix, options)
    with pytest.raises(ModelError, match="is not causal"):
        load(description, [HookPoint(0, "hook_resid_post")])
    with pytest.raises(ModelError, match="is not causal"):
        load(description, [HookPoint(0, "attn.hook_pattern")])


def test_a_model_with_images_is_read_without_installing_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TransformerLens would ask the hub for a processor, and then install torchvision by pip."""
    import transformers

    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {**GROUPED, **IDS, "head_dim": 8, "sliding_window": 8}
    options = {"text_config": text, "vision_config": {**vision, "image_size": 28, "patch_size": 14}}
    started: list[Any] = []

    def asked(*given: Any, **_options: Any) -> None:
        started.append(given)
        raise OSError("not to be asked for")

    monkeypatch.setattr(subprocess, "check_call", asked)
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", asked)
    description = made(tmp_path / "model", "Gemma3", {**options, "mm_tokens_per_image": 4})
    found, states = captured(description, PARALLEL), plain_states(description)
    assert not started and transformers.AutoProcessor.from_pretrained is asked  # the class is in its place again
    for layer in range(3):
        assert relative_error(found[f"blocks.{layer}.hook_resid_pre"], states[layer]) <= TOLERANCE


def test_a_model_without_a_row_of_blocks_is_refused(tmp_path: Path) -> None:
    description = made(tmp_path / "model", "HrmText", {**SMALL, "intermediate_size": 48, "num_layers_per_stack": 1})
    with pytest.raises(ModelError, match="has no blocks that follow one another, but embed, .*L_blocks"):
        load(description, [HookPoint(0, "hook_resid_post")])


def test_blocks_of_another_kind_are_named(tmp_path: Path) -> None:
    options = {**GROUPED, "layer_types": ["conv", "full_attention", "conv"]}
    description = made(tmp_path / "model", "Lfm2", options)
    with pytest.raises(ModelError, match=r"no hook point blocks\.2\.hook_attn_out: its block has no model\.layers\.2"):
        load(description, [HookPoint(1, "hook_attn_out"), HookPoint(2, "hook_attn_out")])
    found, states = captured(description, ("hook_resid_post",), layers=2), plain_states(description)
    assert relative_error(found["blocks.1.hook_resid_post"], states[2]) <= TOLERANCE


def test_layer_types_that_are_worked_out_are_left_alone(tmp_path: Path) -> None:
    options = {**GROUPED, "lru_width": 32, "attention_window_size": 8}
    description = made(tmp_path / "model", "RecurrentGemma", options)
    found, states = captured(description, ("hook_resid_post",), layers=2), plain_states(description)
    assert relative_error(found["blocks.1.hook_resid_post"], states[2]) <= TOLERANCE


def test_an_encoder_and_decoder_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, **sizes)).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a T5ForConditionalGeneration, .* no causal language model for t5"):
        describe(ModelSpec(str(tmp_path), device="cpu"))


def test_layers_that_share_keys_with_earlier_ones_are_counted_from_the_end(tmp_path: Path) -> None:
    """Cut to two blocks, a configuration of Gemma 3n that kept their number would not be valid."""
    kinds = ["sliding_attention", "full_attention"] * 2
    sizes = {"hidden_size_per_layer_input": 8, "laurel_rank": 4, "vocab_size_per_layer_input": VOCABULARY}
    shared = {"num_hidden_layers": 4, "layer_types": kinds, "num_kv_shared_layers": 1, "intermediate_size": [48] * 4}
    options = {**GROUPED, **sizes, **shared, "head_dim": 8, "activation_sparsity_pattern": [0.0] * 4}
    description = made(tmp_path / "model", "Gemma3nText", options)
    with pytest.raises(ModelError, match="TransformerLens does not map the architecture Gemma3nForCausalLM"):
        load(description, [HookPoint(0, "hook_resid_post")])
