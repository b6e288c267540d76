"""SAEs of sparsify and dictionary_learning, and of Hugging Face repositories: what their own formulas give."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from actkit.backends.saes import formats
from actkit.backends.saes import sae_lens as backend
from actkit.backends.saes.sae import Sae
from actkit.config import SaeSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint
from tests.look_alikes import revision, snapshot

D_IN, D_SAE, K = 24, 96, 7
SEED = torch.Generator().manual_seed(5)
X = torch.randn(40, D_IN, generator=SEED) * 3
W_ENC, W_DEC = torch.randn(D_SAE, D_IN, generator=SEED), torch.randn(D_SAE, D_IN, generator=SEED)
B_ENC, B_DEC = torch.randn(D_SAE, generator=SEED), torch.randn(D_IN, generator=SEED)


def load(path: Path) -> Sae:
    return backend.load(SaeSpec(path=str(path)), "cpu")


def top(values: torch.Tensor, k: int = K) -> torch.Tensor:
    kept = values.topk(k)
    return torch.zeros_like(values).scatter_(1, kept.indices, kept.values)


def check(sae: Sae, expected: torch.Tensor, decoder: torch.Tensor = W_DEC) -> None:
    """Which features are active, their values, and the reconstruction."""
    with torch.inference_mode():
        found = sae.encode(X)
        assert torch.equal(found > 0, expected > 0)
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert 0 < float((found > 0).float().mean()) < 1
        assert sae.reconstruct is not None
        assert torch.allclose(sae.reconstruct(X, found), expected @ decoder + B_DEC, rtol=1e-4, atol=1e-3)


def sparsify(folder: Path, **options: Any) -> Path:
    folder.mkdir(parents=True)
    about = {"expansion_factor": 4, "num_latents": 0, "k": K, "normalize_decoder": True, "d_in": D_IN, **options}
    (folder / "cfg.json").write_text(json.dumps(about))
    held = {"encoder.weight": W_ENC, "encoder.bias": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
    save_file(held, folder / "sae.safetensors")
    return folder


@pytest.mark.parametrize(
    ("folder", "point"),
    [("layers.1", "hook_resid_post"), ("h.1.mlp", "mlp.hook_out"), ("gpt_neox.layers.1.attention", "attn.hook_out")],
)
def test_sparsifys_topk(folder: str, point: str, tmp_path: Path) -> None:
    """The decoder's bias is always taken from the input, and a folder's name says which module's output it is of."""
    (tmp_path / "config.json").write_text(json.dumps({"model": "tiny", "ctx_len": 99}))
    sae = load(sparsify(tmp_path / folder))
    check(sae, top(torch.relu((X - B_DEC) @ W_ENC.T + B_ENC)))
    assert (sae.name, sae.hook_point, sae.architecture) == (folder, HookPoint(1, point), "topk")
    assert (sae.model_name, sae.context_size, sae.facts["format"]) == ("tiny", 99, "sparsify")


@pytest.mark.parametrize(("inside", "given"), [(".", "."), ("sub", ".."), (".", "sub/..")])
def test_the_current_directory_has_a_name(
    inside: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the SAE's name in all tables would be empty, and a sparsify folder would not say its hook point."""
    folder = sparsify(tmp_path / "layers.1")
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / inside)
    found = load(Path(given))
    assert (found.name, str(found.hook_point)) == ("layers.1", "blocks.1.hook_resid_post")


def test_what_sparsify_has_and_sae_lens_has_not_is_refused(tmp_path: Path) -> None:
    for number, odd in enumerate(
        ({"transcode": True}, {"skip_connection": True}, {"signed": True}, {"activation": "groupmax"})
    ):
        with pytest.raises(ModelError, match="is not read"):
            load(sparsify(tmp_path / str(number) / "layers.1", **odd))
    with pytest.raises(ModelError, match="which hook point"):
        load(sparsify(tmp_path / "embed_tokens"))


def dictionary(folder: Path, kind: str, held: dict[str, Any], **trainer: Any) -> Path:
    folder.mkdir(parents=True)
    about = {"dict_class": kind, "layer": 2, "lm_name": "tiny", "submodule_name": "resid_post_layer_2", **trainer}
    (folder / "config.json").write_text(json.dumps({"trainer": about, "buffer": {"ctx_len": 99, "io": "out"}}))
    torch.save(held, folder / "ae.pt")
    return folder


LINEAR = {"encoder.weight": W_ENC, "encoder.bias": B_ENC, "decoder.weight": W_DEC.T}
MATRICES = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
GATE, MAG, R_MAG = (torch.randn(D_SAE, generator=SEED) * 0.3 for _ in range(3))
SHIFTED = (X - B_DEC) @ W_ENC.T
PRE = SHIFTED + B_ENC
THRESHOLDS = torch.rand(D_SAE, generator=SEED) * 9
DICTIONARIES: list[tuple[str, dict[str, Any], dict[str, Any], torch.Tensor]] = [
    ("AutoEncoder", {**LINEAR, "bias": B_DEC}, {}, torch.relu(PRE)),
    (
        "GatedAutoEncoder",
        {
            "encoder.weight": W_ENC,
            "decoder.weight": W_DEC.T,
            "decoder_bias": B_DEC,
            "gate_bias": GATE,
            "mag_bias": MAG,
            "r_mag": R_MAG,
        },
        {},
        (SHIFTED + GATE > 0) * torch.relu(R_MAG.exp() * SHIFTED + MAG),
    ),
    (
        "AutoEncoderTopK",
        {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(K), "threshold": torch.tensor(3.0)},
        {"k": K},
        top(torch.relu(PRE)),
    ),
    (
        "BatchTopKSAE",
        {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(K), "threshold": torch.tensor(9.0)},
        {"k": K},
        PRE * (PRE > 9),
    ),
    (
        "MatryoshkaBatchTopKSAE",
        {**MATRICES, "k": torch.tensor(K), "threshold": torch.tensor(9.0), "group_sizes": torch.tensor([32, 64])},
        {"k": K},
        PRE * (PRE > 9),
    ),
    (
        "JumpReluAutoEncoder",
        {**MATRICES, "threshold": THRESHOLDS},
        {},
        (X @ W_ENC.T + B_ENC) * (X @ W_ENC.T + B_ENC > THRESHOLDS),
    ),
]


@pytest.mark.parametrize(
    ("kind", "held", "trainer", "expected"), DICTIONARIES, ids=[dictionary[0] for dictionary in DICTIONARIES]
)
def test_dictionary_learnings_classes(
    kind: str, held: dict[str, Any], trainer: dict[str, Any], expected: torch.Tensor, tmp_path: Path
) -> None:
    sae = load(dictionary(tmp_path / "trainer_0", kind, held, **trainer))
    check(sae, expected)
    assert (sae.name, sae.hook_point) == ("trainer_0", HookPoint(2, "hook_resid_post"))
    assert (sae.model_name, sae.context_size) == ("tiny", 99)


def test_what_dictionary_learning_reads_elsewhere(tmp_path: Path) -> None:
    held = {**LINEAR, "bias": B_DEC}
    mlp = load(dictionary(tmp_path / "mlp", "AutoEncoder", held, submodule_name="mlp_out_layer_2"))
    assert mlp.hook_point == HookPoint(2, "mlp.hook_out")
    with pytest.raises(ModelError, match="reads somewhere"):
        load(dictionary(tmp_path / "odd", "AutoEncoder", held, submodule_name="somewhere"))
    with pytest.raises(ModelError, match="AutoEncoderNew of dictionary_learning is not read"):
        load(dictionary(tmp_path / "new", "AutoEncoderNew", held))


def test_code_in_a_dictionary_does_not_run(tmp_path: Path) -> None:
    class Writes:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = dictionary(tmp_path / "sae", "AutoEncoder", {"encoder.weight": Writes()})
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client, which reads nothing else: tests are offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_a_repository_in_any_format_is_read_from_the_cache_with_its_commit(hub: Path) -> None:
    files = snapshot(hub, "someone/saes")
    sparsify(files / "layers.1")
    dictionary(files / "group" / "trainer_0", "AutoEncoder", {**LINEAR, "bias": B_DEC})
    bundled = files / "blocks.1"
    bundled.mkdir()
    tiny = backend.SAES / "blocks.1.hook_resid_post"
    for file in tiny.iterdir():
        (bundled / file.name).write_bytes(file.read_bytes())

    found = {sae_id: backend.load(SaeSpec("someone/saes", sae_id), "cpu") for sae_id in ("layers.1", "group/trainer_0")}
    check(found["layers.1"], top(torch.relu(PRE)))
    check(found["group/trainer_0"], torch.relu(PRE))
    own = backend.load(SaeSpec("someone/saes", "blocks.1"), "cpu")
    x = torch.randn(4, own.d_in)
    with torch.inference_mode():
        assert torch.equal(own.encode(x), load(tiny).encode(x))
    for sae_id, sae in {**found, "blocks.1": own}.items():
        assert sae.name == f"someone/saes/{sae_id}"
        assert sae.facts["revision"] == revision("someone/saes")


def test_a_repository_that_is_itself_an_sae(hub: Path) -> None:
    files, tiny = snapshot(hub, "someone/one"), backend.SAES / "blocks.1.hook_resid_post"
    for file in tiny.iterdir():
        (files / file.name).write_bytes(file.read_bytes())
    sae = backend.load(SaeSpec("someone/one", "."), "cpu")
    assert (sae.name, sae.hook_point, sae.d_in) == ("someone/one/.", HookPoint(1, "hook_resid_post"), 192)


@pytest.mark.parametrize(
    ("cause", "hint"),
    [("GatedRepoError", "accept the licence"), ("RepositoryNotFoundError", "a private SAE needs HF_TOKEN")],
)
def test_what_the_hub_says_of_an_sae_becomes_a_hint(cause: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(403, request=httpx.Request("GET", "https://hub.invalid"))

    def fail(*_: Any, **__: Any) -> None:
        raise getattr(errors, cause)("told so", response=response)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelError, match="told so") as caught:
        backend.load(SaeSpec("someone/saes", "layers.1"), "cpu")
    assert hint in caught.value.hint


def test_a_repository_that_is_not_there_and_a_folder_outside_it(hub: Path) -> None:
    with pytest.raises(ModelError, match="someone/none/layers.1: the SAE cannot be loaded") as caught:
        backend.load(SaeSpec("someone/none", "layers.1"), "cpu")
    assert "check the name" in caught.value.hint
    snapshot(hub, "someone/saes")
    with pytest.raises(ModelError, match="has no folder layers.7"):
        backend.load(SaeSpec("someone/saes", "layers.7"), "cpu")
    with pytest.raises(UsageError, match="no folder of"):
        backend.load(SaeSpec("someone/saes", "../other"), "cpu")


def test_the_format_of_a_folder_by_its_files(tmp_path: Path) -> None:
    """SAELens's own first, where a folder has the files of two."""
    found = {}
    for name, files in {
        "saelens": ("cfg.json", "sae_weights.safetensors"),
        "both": ("cfg.json", "sae_weights.safetensors", "sae.safetensors"),
        "sparsify": ("cfg.json", "sae.safetensors", "config.json"),
        "dictionary_learning": ("config.json", "ae.pt"),
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        found[name] = formats.converter(tmp_path / name)
    assert found["saelens"] is found["both"] is None
    assert found["sparsify"] is formats.from_sparsify
    assert found["dictionary_learning"] is formats.from_dictionary_learning
    (tmp_path / "saelens" / "cfg.json").unlink()
    for name, says in (("saelens", "no SAE in SAELens's format"), ("none", "no such directory")):
        with pytest.raises(ModelError, match=says):
            formats.converter(tmp_path / name)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({}, None),
        ({"activation_fn_str": "", "activation_fn": "relu"}, None),
        ({"activation_fn": "topk", "k": 3}, None),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}, None),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": None}, "x: a TopK SAE that does not say its k"),
        ({"activation_fn_str": "tanh-relu", "k": 3}, "x: its activation function tanh-relu is not read"),
    ],
)
def test_activation_functions(about: dict[str, Any], says: str | None) -> None:
    if says is None:
        formats.check_activation(about, "x")
        return
    with pytest.raises(ModelError) as error:
        formats.check_activation(about, "x")
    assert error.value.message == says


def test_whether_a_configuration_says_how_texts_begin() -> None:
    for about in ({"prepend_bos": False}, {"metadata": {"prepend_bos": None}}):
        assert formats.says_bos(about)
    for about in ({}, {"metadata": {}}, {"metadata": ["prepend_bos"]}):
        assert not formats.says_bos(about)
