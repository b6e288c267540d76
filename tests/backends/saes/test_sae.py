"""SAEs give what SAELens's own encode gives, whatever their architecture, and say what they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends.saes import sae_lens as backend
from actkit.config import SaeSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint

D_IN, D_SAE = 24, 96
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated", "batchtopk")


def saved(architecture: str, path: Path, d_in: int = D_IN, d_sae: int = D_SAE, **metadata: Any) -> Path:
    """A random SAE of one architecture, saved by SAELens itself."""
    import sae_lens

    torch.manual_seed(0)
    about = {"hook_name": "blocks.1.hook_resid_post", "model_name": "tiny", "prepend_bos": True, "context_size": 64}
    options: dict[str, Any] = {"d_in": d_in, "d_sae": d_sae, "dtype": "float32", "device": "cpu"}
    if architecture == "batchtopk":
        trained = sae_lens.BatchTopKTrainingSAE(sae_lens.BatchTopKTrainingSAEConfig(k=7, **options))
        trained.topk_threshold = torch.tensor(1.5, dtype=trained.topk_threshold.dtype)
        sae: Any = trained
    else:
        name = {"standard": "Standard", "topk": "TopK", "jumprelu": "JumpReLU", "gated": "Gated"}[architecture]
        more = {"k": 7} if architecture == "topk" else {}
        sae = getattr(sae_lens, f"{name}SAE")(getattr(sae_lens, f"{name}SAEConfig")(**options, **more))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    for key, value in {**about, **metadata}.items():
        setattr(sae.cfg.metadata, key, value)
    sae.save_inference_model(path) if architecture == "batchtopk" else sae.save_model(path)
    return path


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_encode_is_the_saes_own(architecture: str, tmp_path: Path) -> None:
    """Ids equal, values to 1e-5 (TRAPS 20, 21): a TopK SAE stays one, thresholds and gates are applied."""
    import sae_lens

    folder = saved(architecture, tmp_path / "sae")
    sae = backend.load(SaeSpec(path=str(folder)), "cpu")
    x = torch.randn(50, D_IN) * 3
    with torch.inference_mode():
        expected = sae_lens.SAE.load_from_disk(folder).encode(x)
        expected = expected.to_dense() if expected.is_sparse else expected
        found = sae.encode(x)
    assert torch.equal(found > 0, expected > 0)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert 0 < float((found > 0).float().mean()) < 1
    if architecture == "topk":
        assert int((found > 0).sum(1).max()) <= 7
    assert (sae.name, sae.hook_point, sae.d_in, sae.d_sae) == ("sae", HookPoint(1, "hook_resid_post"), D_IN, D_SAE)


def test_reconstruction_is_the_saes_own(tmp_path: Path) -> None:
    import sae_lens

    folder = saved("standard", tmp_path / "sae")
    sae = backend.load(SaeSpec(path=str(folder)), "cpu")
    x = torch.randn(9, D_IN)
    with torch.inference_mode():
        assert torch.allclose(sae.reconstruct(x, sae.encode(x)), sae_lens.SAE.load_from_disk(folder)(x), atol=1e-5)


def test_centred_weights_are_a_subtracted_mean(tmp_path: Path) -> None:
    """An SAE trained on centred writing weights reads the residual stream less its mean over d_model (TRAPS 3)."""
    kwargs = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    centred = backend.load(SaeSpec(path=str(saved("standard", tmp_path / "a", **kwargs))), "cpu")
    plain = backend.load(SaeSpec(path=str(saved("standard", tmp_path / "b"))), "cpu")
    x = torch.randn(9, D_IN) + 5
    with torch.inference_mode():
        assert torch.allclose(centred.encode(x), plain.encode(x - x.mean(-1, keepdim=True)), atol=1e-6)
        assert not torch.allclose(centred.encode(x), plain.encode(x))


def test_input_normalisation_is_the_saes_own(tmp_path: Path) -> None:
    """An SAE that layer-norms its input does so here, and its reconstruction is in the input's own scale."""
    import sae_lens

    folder = saved("standard", tmp_path / "sae")
    config = json.loads((folder / "cfg.json").read_text())
    config["normalize_activations"] = "layer_norm"
    (folder / "cfg.json").write_text(json.dumps(config))
    sae = backend.load(SaeSpec(path=str(folder)), "cpu")
    x = torch.randn(9, D_IN) * 7 + 3
    with torch.inference_mode():
        own = sae_lens.SAE.load_from_disk(folder)
        assert torch.allclose(sae.encode(x), own.encode(x), rtol=1e-5, atol=1e-6)
        assert torch.allclose(sae.reconstruct(x, sae.encode(x)), own(x), rtol=1e-4, atol=1e-4)


def test_heads_side_by_side_are_what_a_hook_z_sae_reads(tmp_path: Path) -> None:
    """SAELens flattens heads itself; actkit's hook_z is flat already, and gives the same features (TRAPS 24)."""
    import sae_lens

    folder = saved("standard", tmp_path / "sae", hook_name="blocks.1.attn.hook_z")
    config = json.loads((folder / "cfg.json").read_text())
    config["reshape_activations"] = "hook_z"
    (folder / "cfg.json").write_text(json.dumps(config))
    sae = backend.load(SaeSpec(path=str(folder)), "cpu")
    x = torch.randn(9, 4, 6)
    with torch.inference_mode():
        assert torch.allclose(sae.encode(x.flatten(1)), sae_lens.SAE.load_from_disk(folder).encode(x), atol=1e-6)


def test_what_is_guessed_is_said(tmp_path: Path) -> None:
    """Old configurations do not state prepend_bos; it is assumed, and shown as a guess (TRAPS 22)."""
    stated = backend.load(SaeSpec(path=str(saved("standard", tmp_path / "a", prepend_bos=False))), "cpu")
    assert not stated.prepend_bos
    assert stated.guesses == ()
    folder = saved("standard", tmp_path / "b")
    config = json.loads((folder / "cfg.json").read_text())
    del config["metadata"]["prepend_bos"]
    (folder / "cfg.json").write_text(json.dumps(config))
    assumed = backend.load(SaeSpec(path=str(folder)), "cpu")
    assert assumed.prepend_bos
    assert "prepend_bos" in assumed.guesses[0]


def test_neuronpedia_pages() -> None:
    from dataclasses import replace

    sae = backend.load(SaeSpec("tiny", "blocks.1.hook_resid_post"), "cpu")
    assert sae.feature_url(3) is None
    known = replace(sae, neuronpedia_id="gpt2-small/8-res-jb")
    assert known.feature_url(3) == "https://neuronpedia.org/gpt2-small/8-res-jb/3"


def test_the_bundled_saes_fit_the_bundled_model() -> None:
    for layer in (1, 2, 3):
        sae = backend.load(SaeSpec("tiny", f"blocks.{layer}.hook_resid_post"), "cpu")
        assert (sae.d_in, sae.hook_point, sae.model_name) == (192, HookPoint(layer, "hook_resid_post"), "tiny")
        assert sae.encode(torch.randn(3, 192)).dtype == torch.float32


def test_unknown_releases_and_ids_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="not known") as caught:
        backend.load(SaeSpec("gpt2-small-res-jbb", "x"), "cpu")
    assert "gpt2-small-res-jb" in caught.value.hint
    with pytest.raises(UsageError, match=r"gemma-scope-27b-pt-res has no SAE layer_20/width_16k/canonical") as caught:
        backend.load(SaeSpec("gemma-scope-27b-pt-res", "layer_20/width_16k/canonical"), "cpu")
    assert "layer_" in caught.value.hint
    with pytest.raises(UsageError, match="tiny has no SAE"):
        backend.load(SaeSpec("tiny", "../tiny"), "cpu")
    with pytest.raises(UsageError, match="a release and an id"):
        backend.load(SaeSpec("tiny"), "cpu")


def test_files_that_are_no_sae(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no SAE in SAELens's format, nor in sparsify's"):
        backend.load(SaeSpec(path=str(tmp_path)), "cpu")
    folder = saved("standard", tmp_path / "sae")
    (folder / "sae_weights.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be loaded"):
        backend.load(SaeSpec(path=str(folder)), "cpu")
    for name, says in (("", "does not say which hook point"), ("hook_embed", "reads hook_embed, which is in no block")):
        elsewhere = saved("standard", tmp_path / f"elsewhere{name}", hook_name=name)
        with pytest.raises(ModelError, match=says):
            backend.load(SaeSpec(path=str(elsewhere)), "cpu")
