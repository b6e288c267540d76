"""A Hugging Face cache of look-alikes: real names, layout, classes and widths, with small random weights inside.

What their activations are means nothing. That names resolve, files are found, and the right hook point is read does.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch


def build(home: Path) -> None:
    """Fill the cache under `home`, which is to be `HF_HOME`: 330 MB in a few seconds."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    gpt2(snapshot(home, "gpt2"), snapshot(home, "jbloom/GPT2-Small-SAEs-Reformatted"))
    gemma_2_2b(snapshot(home, "google/gemma-2-2b"), snapshot(home, "google/gemma-scope-2b-pt-res"))


def revision(repository: str) -> str:
    """The commit that `build` gives a repository."""
    return hashlib.sha1(repository.encode()).hexdigest()


def snapshot(home: Path, repository: str) -> Path:
    """The directory of a repository's files at its only commit, where the hub's client looks for them."""
    cached = home / "hub" / f"models--{repository.replace('/', '--')}"
    files = cached / "snapshots" / revision(repository)
    files.mkdir(parents=True, exist_ok=True)
    (cached / "refs").mkdir(exist_ok=True)
    (cached / "refs" / "main").write_text(revision(repository), encoding="utf-8")
    return files


def gpt2(model: Path, sae: Path) -> None:
    """GPT-2 small with a narrow MLP and bytes for tokens, and the SAE before its block 8 with 1,024 features."""
    from safetensors.torch import save_file
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    vocabulary = {token: number for number, token in enumerate([*sorted(ByteLevel.alphabet()), "<|endoftext|>"])}
    GPT2Tokenizer(vocab=vocabulary, merges=[], model_max_length=1024).save_pretrained(model)
    end = vocabulary["<|endoftext|>"]
    config = GPT2Config(vocab_size=len(vocabulary), n_inner=32, bos_token_id=end, eos_token_id=end)
    save_random(GPT2LMHeadModel(config), model, embedding_scale=1)

    folder = sae / "blocks.8.hook_resid_pre"
    folder.mkdir(exist_ok=True)
    d_in, d_sae = config.n_embd, 1024
    directions = torch.nn.functional.normalize(torch.randn(d_sae, d_in), dim=1)
    weights = {
        "W_enc": directions.T.contiguous(),
        "W_dec": directions,
        "b_enc": torch.full((d_sae,), -6.0),
        "b_dec": torch.randn(d_in) * 0.1,
    }
    save_file(weights, folder / "sae_weights.safetensors")
    about = {
        "architecture": "standard",
        "activation_fn_str": "relu",
        "model_name": "gpt2-small",
        "hook_point": folder.name,
        "hook_point_layer": 8,
        "hook_point_head_index": None,
        "d_in": d_in,
        "d_sae": d_sae,
        "context_size": 128,
        "prepend_bos": True,
        "normalize_activations": "none",
        "dtype": "float32",
        "device": "cpu",
    }
    (folder / "cfg.json").write_text(json.dumps(about), encoding="utf-8")


def gemma_2_2b(model: Path, sae: Path) -> None:
    """Gemma 2 2B with two heads, a narrow MLP and bytes for tokens, and the 16k SAE after its block 12."""
    from transformers import Gemma2Config, Gemma2ForCausalLM, GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*special, "▁", *map(chr, range(33, 127)), *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=8192, add_bos_token=True).save_pretrained(model)
    config = Gemma2Config(
        vocab_size=len(vocabulary),
        hidden_size=2304,
        intermediate_size=32,
        num_hidden_layers=26,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=32,
        sliding_window=16,
    )
    save_random(Gemma2ForCausalLM(config), model, embedding_scale=config.hidden_size**-0.5)

    folder = sae / "layer_12" / "width_16k" / "average_l0_82"  # what the registry calls layer_12/width_16k/canonical
    folder.mkdir(parents=True, exist_ok=True)
    d_in, d_sae = config.hidden_size, 16384
    directions = np.random.default_rng(0).standard_normal((d_sae, d_in), dtype=np.float32) / np.float32(d_in**0.5)
    weights = {
        "W_enc": directions.T,
        "W_dec": directions,
        "b_enc": np.zeros(d_sae),
        "b_dec": np.zeros(d_in),
        "threshold": np.full(d_sae, 10.0),
    }
    # The loader makes float32 of whatever it finds.
    np.savez(folder / "params.npz", **{name: value.astype(np.float16) for name, value in weights.items()})


def save_random(model: Any, path: Path, embedding_scale: float) -> None:
    """Save a model whose biases are not zero, whose norms are not one, and whose mean over d_model is not zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        embedding = model.get_input_embeddings().weight
        embedding.copy_((torch.randn_like(embedding) + 1) * embedding_scale)
    model.save_pretrained(path)
