"""How much memory weights take, said before they are loaded, is what they then take."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actkit.backends import describe, load, weight_bytes
from actkit.backends.footprint import BLOCK, CODES, whole_bytes
from actkit.config import ModelSpec
from actkit.hooks import HookPoint


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize(("layer", "dtype"), [(0, "float32"), (2, "bfloat16")])
def test_weights_take_what_was_said(architecture: str, layer: int, dtype: str, model_dir: object) -> None:
    """Blocks above the last one that is read are neither counted nor loaded, where the others stand alone."""
    directory: Path = model_dir(architecture)  # type: ignore[operator]
    description = describe(ModelSpec(str(directory), device="cpu", dtype=dtype))
    points = [HookPoint(layer, "hook_resid_post")]
    said = weight_bytes(description, points)
    module = load(description, points).module
    held = {parameter.data_ptr(): parameter.numel() * parameter.element_size() for parameter in module.parameters()}
    # The output layer is counted, and need not be loaded: nothing reads it.
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    spare = 0 if head is None else head.weight.numel() * head.weight.element_size()
    vocabulary = description.vocabulary or 0
    assert sum(held.values()) <= said <= sum(held.values()) + spare + vocabulary * description.d_model * 4


def test_a_model_in_memory_takes_what_it_takes(model_dir: object) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = model_dir("llama")  # type: ignore[operator]
    module, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    description = describe(ModelSpec("x", device="cpu", loaded=(module, tokenizer)))
    assert weight_bytes(description, []) == sum(4 * parameter.numel() for parameter in module.parameters())
    assert torch.get_default_dtype() == torch.float32


def test_fewer_bits_take_less(model_dir: object) -> None:
    """A byte, and half a byte, for each weight of the blocks' matrices, besides scales; the rest stays as it is."""
    directory = model_dir("llama")  # type: ignore[operator]
    description = describe(ModelSpec(str(directory), device="cpu", dtype="float32"))
    points = [HookPoint(2, "hook_resid_post")]
    with_bits = {
        bits: weight_bytes(replace(description, spec=replace(description.spec, quantize=bits)), points)  # type: ignore[arg-type]
        for bits in (None, "8bit", "4bit")
    }
    n = sum(
        module.weight.numel()
        for name, module in load(description, points).module.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name
    )
    assert with_bits[None] - 4 * n < with_bits["4bit"] < with_bits["8bit"] < with_bits[None]
    assert with_bits[None] - with_bits["8bit"] == pytest.approx(3 * n, rel=0.05)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_bits_of_each_matrix_to_the_byte(architecture: str, model_dir: object) -> None:
    """GPT-2's matrices are transposed; its output layer, and whatever is no matrix, stays as it is."""
    from transformers.pytorch_utils import Conv1D

    description = describe(ModelSpec(str(model_dir(architecture)), device="cpu", dtype="bfloat16"))  # type: ignore[operator]
    whole = weight_bytes(description, [HookPoint(description.n_layers - 1, "hook_resid_post")])
    module = load(description, [HookPoint(description.n_layers - 1, "hook_resid_post")]).module
    assert whole == whole_bytes(description)
    matrices = [
        inner.weight.T if isinstance(inner, Conv1D) else inner.weight
        for name, inner in module.named_modules()
        if isinstance(inner, (torch.nn.Linear, Conv1D)) and "lm_head" not in name
    ]
    assert len(matrices) > description.n_layers
    eight = sum(2 * matrix.numel() - (matrix.numel() + 4 * matrix.shape[0]) for matrix in matrices)
    four = sum(
        2 * m.numel() - ((m.numel() + 1) // 2 + 4 * ((m.numel() + BLOCK - 1) // BLOCK) + CODES) for m in matrices
    )
    for bits, less in (("8bit", eight), ("4bit", four)):
        packed = replace(description, spec=replace(description.spec, quantize=bits))  # type: ignore[arg-type]
        assert weight_bytes(packed, [HookPoint(description.n_layers - 1, "hook_resid_post")]) == whole - less
