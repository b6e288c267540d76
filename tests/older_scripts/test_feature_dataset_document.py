"""The document of the feature dataset script, statement by statement, with a small model and SAE in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit import create_feature_dataset
from actkit.bundled import SAES

SAE_ID = "blocks.2.hook_resid_post"


def in_memory() -> tuple[Any, Any, Any]:
    """A model and an SAE as transformers and SAELens have them in memory."""
    from sae_lens import SAE
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from actkit.bundled import TINY

    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(TINY), SAE.load_from_disk(SAES / SAE_ID, device="cpu")


def test_the_feature_dataset_document() -> None:
    texts = ["This is an example document.", "The river runs to the sea."]
    Path("docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    model, tokenizer, sae = in_memory()
    create_feature_dataset(
        dataset_path="docs.jsonl",
        model=model,
        sae=sae,
        output_path="feature_activations.jsonl",
        max_examples=1000,
        activation_threshold=0.1,
        batch_size=1,
    )
    with open("feature_activations.jsonl", "r") as f:  # noqa: PTH123, UP015 - as the document has it
        dataset = [json.loads(line) for line in f]
    assert [example["text"] for example in dataset] == texts
    for example in dataset:
        expected = tokenizer(example["text"], return_offsets_mapping=True, add_special_tokens=False)
        assert example["tokens"] == expected["input_ids"]
        assert example["offsets"] == [start for start, _ in expected["offset_mapping"]]
        assert len(example["active_features"]) == len(example["activations"]) == len(example["tokens"])
        pairs = zip(example["active_features"], example["activations"], strict=True)
        for features, values in pairs:
            assert len(features) == len(values) and all(abs(value) > 0.1 for value in values)
    # The numbers are those of the model and SAE that were handed over.
    ids = torch.tensor([[tokenizer.bos_token_id, *dataset[1]["tokens"]]])
    with torch.inference_mode():
        hidden = model(ids, output_hidden_states=True).hidden_states[3][0]
        encoded = sae.encode(hidden)[1:]
    for row, features, values in zip(encoded, dataset[1]["active_features"], dataset[1]["activations"], strict=True):
        assert sorted(features) == torch.nonzero(row > 0.1)[:, 0].tolist()
        assert torch.allclose(row[features], torch.tensor(values), rtol=1e-3, atol=1e-3)
    again = create_feature_dataset(
        "docs.jsonl", model, sae=sae, output_path="feature_activations.jsonl", max_examples=1
    )
    assert again.facts["counts"]["written"] == 1, "the document's program can be run twice"


@pytest.mark.slow
def test_models_of_transformer_lens_are_read_as_they_compute(tmp_path: Path) -> None:
    """A HookedTransformer has folded norms; a bridge is Hugging Face's model: each gives its own numbers."""
    from transformer_lens.model_bridge import TransformerBridge

    from actkit.bundled import TINY

    bridge = TransformerBridge.boot_transformers(str(TINY), device="cpu", dtype=torch.float32)
    texts = ["This is an example document.", "The river."]
    data = actkit.capture_activations(bridge, bridge.tokenizer, texts, layers=[1, 3])
    plain = actkit.capture_activations("tiny", texts, layers=[1, 3])
    for layer in (1, 3):
        assert torch.allclose(data.activations[layer], plain.activations[layer], atol=1e-3)
    _, cache = bridge.run_with_cache(data["input_ids"][:1])
    assert torch.allclose(cache["blocks.1.hook_resid_post"][0], data["activations"][1][0], atol=1e-4)
    *_, sae = in_memory()
    with pytest.raises(actkit.ActkitError, match=r"is not set to compute blocks.0.attn.hook_result"):
        actkit.capture_activations(bridge, texts, hook_points=["blocks.0.attn.hook_result"])
    run = create_feature_dataset(texts, bridge, sae=sae, out=tmp_path / "run")
    assert run.facts["counts"]["written"] == 2 and run.features().shape[1] == sae.cfg.d_sae


@pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated")
def test_a_hooked_transformer_gives_its_own_numbers(tmp_path: Path) -> None:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformers import AutoTokenizer

    from actkit.bundled import TINY

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    torch.manual_seed(0)
    config = HookedTransformerConfig(
        n_layers=3,
        d_model=16,
        n_ctx=64,
        d_head=8,
        n_heads=2,
        d_mlp=32,
        act_fn="gelu",
        d_vocab=len(tokenizer),
        normalization_type="LN",
        device="cpu",
        model_name="toy",
    )
    model = HookedTransformer(config, tokenizer=tokenizer)
    texts = ["The river runs to the sea.", "A hare."]
    data = actkit.capture_activations(model, texts, layers=[0, 2])
    assert data.facts["model"]["name"] == "toy"
    for row, length in enumerate(data["attention_mask"].sum(1).tolist()):
        ids = data["input_ids"][row : row + 1, :length]
        _, cache = model.run_with_cache(ids)
        for layer in (0, 2):
            expected = cache[f"blocks.{layer}.hook_resid_post"][0]
            assert torch.allclose(expected, data["activations"][layer][row, :length], atol=1e-5)
    with pytest.raises(actkit.ActkitError, match=r"no hook point blocks.0.hook_resid_pots"):
        actkit.capture_activations(model, texts, hook_points=["blocks.0.hook_resid_pots"])
