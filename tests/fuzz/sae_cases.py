"""Cases for `calls`: a command with an SAE's folder of somebody else's making, of any of the formats that are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.conftest import ARCHITECTURES, save_random_model
from tests.fuzz.calls import check_whole
from tests.fuzz.hostile_folders import OF_SAES, make

D_IN, D_SAE = 32, 64


def warm(actkit: Callable[[list[str]], object]) -> None:
    """A model, an SAE in each format, and what is imported for them."""
    if not Path("model").exists():
        save_random_model(*ARCHITECTURES["llama"], Path("model"))
        for write in (sae_lens, sparsify, dictionary_learning):
            write()
    for whole in ("sae_lens", "layers.1", "learning"):
        check_whole(actkit, "capture", "-p", "ab", "-m", "model", "--sae", whole, "-o", "warm", "-q", "--overwrite")


def case(folder: Path, number: int) -> tuple[list[str], list[str], bool]:
    """What was done to the folder, the command line, and that success is no leak."""
    whole, name = [("sae_lens", "x"), ("sae_lens", "x"), ("layers.1", "layers.1"), ("learning", "x")][number % 4]
    steps = make(folder / whole, folder / "case" / name, OF_SAES, number)
    shutil.rmtree("out", ignore_errors=True)
    shutil.rmtree("out.partial", ignore_errors=True)
    return steps, ["capture", "-p", "ab", "-m", "model", "--sae", f"case/{name}", "-o", "out", "-q"], False


def sae_lens() -> None:
    folder = Path("sae_lens")
    folder.mkdir()
    about = {"architecture": "jumprelu", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    about |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    says = {"hook_name": "blocks.1.hook_resid_post", "model_name": "x", "context_size": 64, "prepend_bos": True}
    says |= {
        "model_from_pretrained_kwargs": {},
        "hook_head_index": None,
        "neuronpedia_id": "x/1",
        "sae_lens_version": "6.40.0",
    }
    (folder / "cfg.json").write_text(json.dumps({**about, "metadata": says}))
    save_file({**_weights(), "threshold": torch.full((D_SAE,), 0.1)}, folder / "sae_weights.safetensors")


def sparsify() -> None:
    folder = Path("layers.1")
    folder.mkdir()
    about = {"activation": "topk", "expansion_factor": 2, "normalize_decoder": True, "num_latents": 0, "k": 4}
    (folder / "cfg.json").write_text(json.dumps({**about, "multi_topk": False, "skip_connection": False, "d_in": D_IN}))
    held = _weights()
    save_file(
        {
            "encoder.weight": held["W_enc"].T.contiguous(),
            "encoder.bias": held["b_enc"],
            "W_dec": held["W_dec"],
            "b_dec": held["b_dec"],
        },
        folder / "sae.safetensors",
    )


def dictionary_learning() -> None:
    folder = Path("learning")
    folder.mkdir()
    trainer = {
        "dict_class": "AutoEncoderTopK",
        "k": 4,
        "layer": 1,
        "lm_name": "x",
        "submodule_name": "resid_post_layer_1",
    }
    about = {"trainer": {**trainer, "activation_dim": D_IN, "dict_size": D_SAE}, "buffer": {"ctx_len": 64, "io": "out"}}
    (folder / "config.json").write_text(json.dumps(about))
    held = _weights()
    state = {"encoder.weight": held["W_enc"].T.contiguous(), "encoder.bias": held["b_enc"], "b_dec": held["b_dec"]}
    torch.save({**state, "decoder.weight": held["W_dec"].T.contiguous(), "k": torch.tensor(4)}, folder / "ae.pt")


def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,), "b_dec": (D_IN,)}
    return {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}
