"""Transcoders, and SAEs of a module's own output, in a whole run: features of what they read, nothing of the rest."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from actkit.backends import describe
from actkit.backends.saes import sae_lens as backend
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.errors import ModelError
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.specs import SparseSpec
from tests.backends.saes.test_kinds import saved

TEXT = "The hare slept while the tortoise walked."
D_MODEL = 192


def plain(path: str, side: str) -> torch.Tensor:
    """[token, d_model]: what goes into or comes out of a module of the plain Hugging Face model."""
    from transformers import AutoModelForCausalLM

    description = describe(ModelSpec(device="cpu"))
    model = AutoModelForCausalLM.from_pretrained(description.location, dtype=torch.float32).eval()
    found: list[torch.Tensor] = []
    module = dict(model.named_modules())[path]
    if side == "in":
        module.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    else:
        module.register_forward_hook(lambda _, __, out: found.append(out[0] if isinstance(out, tuple) else out))
    with torch.inference_mode():
        model(torch.tensor([description.tokenizer(TEXT)["input_ids"]]))
    return found[0][0]


def encoded(folder: Path, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return backend.load(SaeSpec(path=str(folder)), "cpu").encode(x)


def extracted(tmp_path: Path, folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"prompt": TEXT, "response": ""}) + "\n", encoding="utf-8")
    output = OutputSpec(tmp_path / "run")
    sparse = SparseSpec(ModelSpec(device="cpu"), [SaeSpec(path=str(folder))], output)
    finished = run_sae_extract(SaeExtractSpec(str(source), top_k=1000, save_all_tokens=True), sparse)
    return json.loads((finished.path / "run.json").read_text()), pd.read_parquet(finished.path / "features")


@pytest.mark.quick(1)
@pytest.mark.parametrize("prefix", ["JumpReLUTranscoder", "SkipTranscoder"])
def test_a_transcoder_has_features_and_no_explained_variance(prefix: str, tmp_path: Path) -> None:
    metadata = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    sizes = {"d_in": D_MODEL, "d_out": D_MODEL, "apply_b_dec_to_input": False}
    folder = saved(tmp_path / "transcoder", prefix, metadata, **sizes)
    facts, features = extracted(tmp_path, folder)
    expected = encoded(folder, plain("model.layers.1.mlp", "in"))[-1]
    row = features.iloc[-1]
    found = torch.zeros_like(expected)
    found[row["feature_ids"].tolist()] = torch.tensor(row["feature_activations"].tolist())
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4) and row["n_active"] == int((expected > 0).sum()) > 0
    assert facts["health"][0]["explained_variance"] is None
    assert facts["health"][0]["l0"] > 0
    assert facts["saes"][0]["predicts"] == "blocks.1.hook_mlp_out"
    assert any("no explained variance" in text for text in facts["warnings"])


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("hook", "module"), [("mlp.hook_out", "model.layers.1.mlp"), ("attn.hook_out", "model.layers.1.self_attn")]
)
def test_an_sae_of_a_modules_own_output(hook: str, module: str, tmp_path: Path) -> None:
    """What sparsify and dictionary_learning train on: the module's output itself, before any norm after it."""
    folder = saved(tmp_path / "sae", "Standard", {"hook_name": f"blocks.1.{hook}"}, d_in=D_MODEL)
    facts, features = extracted(tmp_path, folder)
    expected = encoded(folder, plain(module, "out"))[-1]
    row = features.iloc[-1]
    found = torch.zeros_like(expected)
    found[row["feature_ids"].tolist()] = torch.tensor(row["feature_activations"].tolist())
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4) and len(row["feature_ids"]) > 0
    assert facts["health"][0]["explained_variance"] is not None
    assert facts["saes"][0]["predicts"] is None


CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}


def test_centred_weights_are_refused_where_they_would_change_the_model(tmp_path: Path) -> None:
    """Of models with RMSNorm, such as tiny, TransformerLens leaves the weights as they are whatever it is told."""
    folder = saved(tmp_path / "sae", "Standard", CENTRED, d_in=D_MODEL)
    with pytest.raises(ModelError, match="has RMSNorm") as caught:
        extracted(tmp_path, folder)
    assert "center_writing_weights false" in caught.value.hint


@pytest.mark.parametrize(("hook", "centred"), [("hook_mlp_out", True), ("mlp.hook_out", True), ("mlp.hook_in", False)])
def test_centred_weights_leave_what_a_norm_puts_out_as_it_is(hook: str, centred: bool, tmp_path: Path) -> None:
    x, folders = torch.randn(7, D_MODEL) + 3, []
    for name, more in (("plain", {}), ("centred", CENTRED)):
        torch.manual_seed(0)  # the same SAE twice
        about = {"hook_name": f"blocks.1.{hook}", **more}
        folders.append(saved(tmp_path / name, "Standard", about, d_in=D_MODEL))
    expected = encoded(folders[0], x - x.mean(-1, keepdim=True) if centred else x)
    assert torch.allclose(encoded(folders[1], x), expected, atol=1e-4)
