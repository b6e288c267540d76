"""Every architecture and normalisation that SAELens has: its own `encode`, or a refusal that says why."""

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from actkit.backends.saes import sae_lens as backend
from actkit.backends.saes.sae import Sae
from actkit.config import SaeDtype, SaeSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from tests.look_alikes import revision, snapshot

D_IN, D_OUT, D_SAE, K = 24, 20, 96, 7
ABOUT = {"hook_name": "blocks.1.hook_resid_post", "model_name": "tiny", "prepend_bos": True, "context_size": 64}
SAE_DTYPES = get_args(SaeDtype)
NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale", "expected_average_only_in")


def shaken(sae: Any, **metadata: Any) -> Any:
    """An SAE whose every parameter is random, biases and thresholds too."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    for key, value in {**ABOUT, **metadata}.items():
        setattr(sae.cfg.metadata, key, value)
    return sae


def saved(path: Path, prefix: str, metadata: dict[str, Any] | None = None, **options: Any) -> Path:
    """A random SAE of SAELens's class `prefix`SAE or `prefix`, as it saves itself."""
    import sae_lens
    from sae_lens.saes import transcoder

    options = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu", **options}
    if prefix.endswith("Training"):
        kind = getattr(sae_lens, f"{prefix}SAE")
        sae = shaken(kind(getattr(sae_lens, f"{prefix}SAEConfig")(**options)), **(metadata or {}))
        sae.topk_threshold = torch.tensor(1.5, dtype=sae.topk_threshold.dtype)
        sae.save_inference_model(path)
        return path
    where, name = (transcoder, prefix) if "Transcoder" in prefix else (sae_lens, f"{prefix}SAE")
    shaken(getattr(where, name)(getattr(where, f"{name}Config")(**options)), **(metadata or {})).save_model(path)
    return path


def load(path: Path) -> Sae:
    return backend.load(SaeSpec(path=str(path)), "cpu")


def own(path: Path) -> Any:
    import sae_lens

    return sae_lens.SAE.load_from_disk(path, dtype="float32")


def check_encode(path: Path, n: int = 50) -> Sae:
    """The same features are active, with the same values, as SAELens's `encode` of the same rows has."""
    sae, x = load(path), torch.randn(n, D_IN, generator=torch.Generator().manual_seed(3)) * 3
    with torch.inference_mode():
        found, expected = sae.encode(x), own(path).encode(x)
    expected = expected.to_dense() if expected.is_sparse else expected
    assert torch.equal(found > 0, expected > 0)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert 0 < float((found > 0).float().mean()) < 1
    check_active(path, x, expected)
    return sae


def check_active(path: Path, x: torch.Tensor, expected: torch.Tensor) -> None:
    """What is found without the encoding, in float32 and in bfloat16, is what is active in the encoding."""
    for dtype in SAE_DTYPES:
        sae = backend.load(SaeSpec(path=str(path)), "cpu", dtype)
        assert (sae.active is None) == (sae.architecture == "topk")
        if sae.active is not None:
            with torch.inference_mode():
                active = sae.active(x)
            assert active is not None
            assert torch.equal(torch.stack([active.rows, active.ids]), (expected > 0).nonzero().T)
            assert torch.allclose(active.values, expected[active.rows, active.ids], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("Standard", {}),
        ("Gated", {}),
        ("TopK", {"k": K}),
        ("TopK", {"k": K, "rescale_acts_by_decoder_norm": True}),
        ("JumpReLU", {}),
        ("BatchTopKTraining", {"k": K}),
        ("MatryoshkaBatchTopKTraining", {"k": K, "matryoshka_widths": [16, 48, D_SAE]}),
    ],
)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_encode_and_reconstruction_are_the_saes_own(
    prefix: str, options: dict[str, Any], normalisation: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "sae", prefix, normalize_activations=normalisation, **options)
    sae = check_encode(folder)
    x = torch.randn(11, D_IN) * 7 + 3
    with torch.inference_mode():
        assert sae.reconstruct is not None
        features = sae.encode(x)
        features[4] = 0  # a token without a feature
        found, of_sparse = sae.reconstruct(x, features), sae.reconstruct(x, features.to_sparse())
        assert torch.allclose(of_sparse, found, rtol=1e-4, atol=1e-4)
        others = torch.arange(11) != 4
        assert torch.allclose(found[others], own(folder)(x)[others], rtol=1e-4, atol=1e-4)
    assert any("unscaled" in guess for guess in sae.guesses) == (normalisation == "expected_average_only_in")


@pytest.mark.parametrize(
    ("tensor", "value", "refused"),
    [
        ("W_enc", "nan", True),
        ("W_dec", "nan", True),
        ("b_enc", "inf", True),
        ("threshold", "nan", True),  # nothing is above it, so that the feature never fires
        ("threshold", "inf", False),
    ],
)
def test_weights_that_are_no_numbers_are_refused(tensor: str, value: str, refused: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "sae", "JumpReLU")
    weights = load_file(folder / "sae_weights.safetensors")
    weights[tensor].view(-1)[3] = float(value)
    save_file(weights, folder / "sae_weights.safetensors")
    if not refused:
        assert not load(folder).encode(torch.randn(50, D_IN))[:, 3].any()
        return
    with pytest.raises(ModelError, match=f"its {tensor} holds NaN or infinity"):
        load(folder)


@pytest.mark.parametrize("function", ["relu", "topk", "tanh-relu"])
def test_an_older_configurations_activation_function_is_read_or_refused(function: str, tmp_path: Path) -> None:
    """SAELens 6 takes all but TopK for ReLU."""
    folder = saved(tmp_path / "sae", "Standard")
    config = json.loads((folder / "cfg.json").read_text())
    about = {"activation_fn_str": function, "activation_fn_kwargs": {"k": K}, **config.pop("metadata")}
    (folder / "cfg.json").write_text(json.dumps({**config, **about, "sae_lens_version": "3.1.0"}))
    if function == "tanh-relu":
        with pytest.raises(ModelError, match="its activation function tanh-relu is not read"):
            load(folder)
        return
    active = (load(folder).encode(torch.randn(50, D_IN)) > 0).sum(1)
    assert bool((active == K).all()) == (function == "topk")
    (folder / "cfg.json").write_text(json.dumps({**config, **about, "activation_fn_kwargs": {}}))
    if function == "topk":
        with pytest.raises(ModelError, match="does not say its k"):
            load(folder)


@pytest.mark.parametrize("stated", [True, False])
def test_an_older_configuration_that_does_not_state_prepend_bos_is_a_guess(stated: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "sae", "Standard")
    config = json.loads((folder / "cfg.json").read_text())
    about = {key: value for key, value in config.pop("metadata").items() if stated or key != "prepend_bos"}
    (folder / "cfg.json").write_text(json.dumps({**config, **about, "sae_lens_version": "3.1.0"}))
    assert any("prepend_bos" in guess for guess in load(folder).guesses) != stated


def test_whitening_that_is_not_in_the_weights_is_guessed_about(tmp_path: Path) -> None:
    sae = load(saved(tmp_path / "sae", "Standard", normalize_activations="covariance_whitening"))
    assert any("whitened" in guess for guess in sae.guesses)


@pytest.mark.parametrize("subtracted", [True, False])
def test_the_decoders_bias_is_taken_from_the_input_where_the_sae_says_so(subtracted: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "sae", "Standard", apply_b_dec_to_input=subtracted)
    sae = check_encode(folder)
    weights = own(folder).state_dict()
    x = torch.randn(5, D_IN)
    by_hand = torch.relu((x - weights["b_dec"] * subtracted) @ weights["W_enc"] + weights["b_enc"])
    assert torch.allclose(sae.encode(x), by_hand, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
def test_some_of_the_tokens_that_were_encoded_are_reconstructed_in_their_own_scale(
    normalisation: str, tmp_path: Path
) -> None:
    """SAELens keeps the scale of the last tokens it encoded; a run decodes others, without special tokens."""
    folder = saved(tmp_path / "sae", "Standard", normalize_activations=normalisation)
    sae, x = load(folder), torch.randn(12, D_IN) * torch.arange(1, 13)[:, None]
    with torch.inference_mode():
        features = sae.encode(x)
        assert sae.reconstruct is not None
        some = sae.reconstruct(x[[2, 7]], features[[2, 7]])
        assert torch.allclose(some, own(folder)(x[[2, 7]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", ["Transcoder", "SkipTranscoder", "JumpReLUTranscoder", "JumpReLUSkipTranscoder"])
def test_a_transcoders_features_are_those_of_what_it_reads(prefix: str, tmp_path: Path) -> None:
    """What it writes is another hook point, so that nothing here may compare it with the input (TRAPS 24)."""
    written = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    folder = saved(tmp_path / "sae", prefix, written, d_out=D_OUT, apply_b_dec_to_input=False)
    sae = check_encode(folder)
    assert (sae.hook_point, sae.predicts) == (HookPoint(1, "mlp.hook_in"), HookPoint(1, "hook_mlp_out"))
    assert sae.reconstruct is None
    assert sae.decoder is None


def test_gemma_scope_2s_transcoders_read_what_the_norm_puts_out(tmp_path: Path) -> None:
    """SAELens calls it hook_mlp_in, which to TransformerLens is the residual stream before that norm."""
    named = {
        "hook_name": "blocks.1.hook_mlp_in",
        "hook_name_out": "blocks.1.hook_mlp_out",
        "hf_hook_name": "model.layers.1.pre_feedforward_layernorm.output",
    }
    folder = saved(tmp_path / "sae", "JumpReLUTranscoder", named, d_out=D_IN, apply_b_dec_to_input=False)
    assert load(folder).hook_point == HookPoint(1, "mlp.hook_in")
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["hf_hook_name"] = "model.layers.1.self_attn.output"
    (folder / "cfg.json").write_text(json.dumps(config))
    assert load(folder).hook_point == HookPoint(1, "hook_mlp_in")


def test_what_would_give_other_numbers_token_by_token_is_refused(tmp_path: Path) -> None:
    temporal = saved(tmp_path / "temporal", "Temporal", n_heads=2, bottleneck_factor=1, kval_topk=4)
    with pytest.raises(ModelError, match="temporal SAE: its features depend on the tokens before"):
        load(temporal)
    signed = saved(tmp_path / "signed", "AbsTopK", k=K)
    with pytest.raises(ModelError, match="may be negative"):
        load(signed)


@pytest.mark.parametrize("prefix", ["BatchTopKTraining", "MatryoshkaBatchTopKTraining"])
def test_a_checkpoint_of_training_is_refused_as_its_features_depend_on_the_batch(prefix: str, tmp_path: Path) -> None:
    import sae_lens

    more = {"matryoshka_widths": [16, D_SAE]} if prefix.startswith("Matryoshka") else {}
    config = getattr(sae_lens, f"{prefix}SAEConfig")(d_in=D_IN, d_sae=D_SAE, dtype="float32", device="cpu", k=K, **more)
    shaken(getattr(sae_lens, f"{prefix}SAE")(config)).save_model(tmp_path)
    with pytest.raises(ModelError, match="depends on the batch") as caught:
        load(tmp_path)
    assert "save_inference_model" in caught.value.hint


def test_the_weights_are_those_that_encode_computes_with(tmp_path: Path) -> None:
    from actkit.backends.tensors import of_weights

    sae = load(saved(tmp_path / "sae", "JumpReLU"))
    before, x = of_weights(sae.weights), torch.randn(3, D_IN)
    encoded = sae.encode(x)
    assert {"W_enc", "b_enc", "threshold"} <= set(sae.weights)
    with torch.no_grad():
        sae.weights["W_enc"].mul_(2)
    assert not torch.equal(sae.encode(x), encoded)
    assert of_weights(sae.weights) != before


@pytest.mark.parametrize(
    ("release", "says"),
    [("mntss-gemma-2-2b-2.5m-clt-as-per-layer", "cross-layer"), ("temporal-sae-gemma-2-2b", "depend on the tokens")],
)
def test_releases_that_are_refused_are_not_fetched(release: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sae_lens

    monkeypatch.setattr(sae_lens.SAE, "from_pretrained", lambda *_, **__: pytest.fail("it was fetched"))
    with pytest.raises(ModelError, match=says):
        backend.load(SaeSpec(release, backend.releases()[release].sae_ids[0]), "cpu")


def cached(home: Path, repository: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a repository in a local cache, from which alone this process now reads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot(home, repository)


def test_gemma_scope_2_is_read_from_the_local_cache_without_a_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SAELens would ask the hub how large its tensors are, though they are all in the cache."""
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from safetensors.torch import save_file

    asks = loaders.get_safetensors_tensor_shapes
    folder = cached(tmp_path, "google/gemma-scope-2-1b-it", monkeypatch) / "resid_post" / "layer_13_width_16k_l0_medium"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    weights = {"w_enc": torch.randn(D_IN, D_SAE), "w_dec": torch.randn(D_SAE, D_IN), "b_enc": torch.randn(D_SAE)}
    weights |= {"b_dec": torch.randn(D_IN), "threshold": torch.rand(D_SAE) * 3}
    save_file(weights, folder / "params.safetensors")
    about = {"architecture": "jump_relu", "model_name": "google/gemma-3-1b-it"}
    (folder / "config.json").write_text(json.dumps(about | {"hf_hook_point_in": "model.layers.13.output"}))
    sae = backend.load(SaeSpec("gemma-scope-2-1b-it-res", "layer_13_width_16k_l0_medium"), "cpu")
    assert (sae.hook_point, sae.d_in, sae.d_sae) == (HookPoint(13, "hook_resid_post"), D_IN, D_SAE)
    assert (sae.model_name, sae.facts["revision"]) == ("google/gemma-3-1b-it", revision("google/gemma-scope-2-1b-it"))
    x = torch.randn(9, D_IN)
    before = x @ weights["w_enc"] + weights["b_enc"]
    assert torch.allclose(sae.encode(x), before * (before > weights["threshold"]), atol=1e-5)
    assert loaders.get_safetensors_tensor_shapes is asks


def test_an_sae_that_is_not_in_the_local_cache_is_said_to_be_missing_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cached(tmp_path, "google/gemma-scope-2-1b-it", monkeypatch)
    for release, sae_id in (
        ("gemma-scope-2-1b-it-res", "layer_13_width_16k_l0_medium"),
        ("gpt2-small-res-jb", "blocks.8.hook_resid_pre"),
    ):
        with pytest.raises(ModelError, match="cannot be loaded") as caught:
            backend.load(SaeSpec(release, sae_id), "cpu")
        assert "its files are in the local cache" in caught.value.hint


def test_torch_load_reads_tensors_only_while_a_release_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some releases of the registry are pickles; what a loader says, or leaves to torch's version, does not count."""
    import pickle

    import sae_lens

    class Writes:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "ae.pt").write_bytes(pickle.dumps(Writes()))
    monkeypatch.setattr(
        sae_lens.SAE, "from_pretrained", lambda *_, **__: torch.load(tmp_path / "ae.pt", weights_only=False)
    )
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    with pytest.raises(ModelError, match="cannot be loaded"):
        backend.load(SaeSpec("gpt2-small-res-jb", "blocks.8.hook_resid_pre"), "cpu")
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
