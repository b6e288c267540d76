"""Active features without the encoding: those of `encode`, whatever the product is in, and however close they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends.saes import sae_lens as backend
from actkit.backends.saes import sparse_encode
from actkit.backends.saes.sae import Sae, active_of, nonzeros
from actkit.config import SaeDtype, SaeSpec
from actkit.errors import NonFiniteError
from actkit.pipeline.reducers.features import top_features
from actkit.pipeline.reducers.sae_health import Health
from tests.backends.saes.test_kinds import K, saved
from tests.pipeline.reducers.test_features import kept

D_IN, D_SAE, N = 40, 4096, 60
K_OF_MANY = 16
KINDS = ("Standard", "Gated", "JumpReLU", "Transcoder", "JumpReLUTranscoder")


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A random SAE of one kind of which about one feature in a hundred fires."""
    options = {"d_out": D_IN, "apply_b_dec_to_input": False} if "Transcoder" in request.param else {}
    path = saved(
        tmp_path / "sae", request.param, {"hook_name_out": "blocks.2.hook_mlp_out"}, d_in=D_IN, d_sae=D_SAE, **options
    )
    return rare(path)


def rare(path: Path) -> Path:
    """Lower every bias by as much as lets one feature in a hundred fire."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "sae_weights.safetensors")
    pre = rows() @ weights["W_enc"]
    for name in {"b_enc", "b_gate"} & weights.keys():
        weights[name] -= pre.flatten().quantile(0.99) + weights.get("threshold", torch.zeros(1)).clamp_min(0)
    save_file(weights, path / "sae_weights.safetensors")
    return path


def rows() -> torch.Tensor:
    """Vectors as models have them: two numbers of each are many times the others."""
    x = torch.randn(N, D_IN, generator=torch.Generator().manual_seed(5))
    x[:, 3] += 40
    x[:, 8] -= 15
    return x


def load(path: Path, dtype: SaeDtype) -> Sae:
    return backend.load(SaeSpec(path=str(path)), "cpu", dtype)


def missed(path: Path, dtype: SaeDtype) -> tuple[int, int, float]:
    """Of the features active in `encode`: how many there are, how many were not found, and the error of the others."""
    sae, x = load(path, dtype), rows()
    with torch.inference_mode():
        expected, found = sae.encode(x), sae.active(x) if sae.active is not None else None
    assert found is not None
    dense = torch.zeros_like(expected)
    dense[found.rows, found.ids] = found.values
    on = expected > 1e-4 * expected.max()  # rounding decides on what is nearly zero
    assert not (dense[~on] > 2e-4 * expected.max()).any()
    gone = on & (dense == 0)
    error = float((dense - expected)[on & ~gone].abs().max() / expected.max())
    return int(on.sum()), int(gone.sum()), error


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_found_is_what_is_active(folder: Path, dtype: SaeDtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 too, where activations are computed in float32: as near to `encode` as float32 is to itself."""
    ways: list[str] = []
    one_by_one = sparse_encode.products_at
    monkeypatch.setattr(sparse_encode, "products_at", lambda *given: ways.append("one by one") or one_by_one(*given))
    active, gone, error = missed(folder, dtype)
    assert active > 500 and gone == 0 and error < 1e-5
    assert bool(ways) == (dtype == "bfloat16")


def test_bfloat16_alone_would_miss_some(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_encode, "ROUNDED", 0.0)
    monkeypatch.setattr(sparse_encode, "STEP", 0.0)
    _, gone, error = missed(folder, "bfloat16")
    assert gone > 0 and error < 1e-5


def topk(path: Path, scaled: bool, lowered: float = 0.0) -> Path:
    """A random TopK SAE; lowered biases leave some tokens fewer features above zero than k."""
    from safetensors.torch import load_file, save_file

    options = {"k": K_OF_MANY, "rescale_acts_by_decoder_norm": scaled}
    saved(path, "TopK", d_in=D_IN, d_sae=D_SAE, **options)
    weights = load_file(path / "sae_weights.safetensors")
    weights["b_enc"] -= lowered
    save_file(weights, path / "sae_weights.safetensors")
    return path


@pytest.mark.parametrize("scaled", [False, True])
def test_the_largest_alone_are_those_of_encode(scaled: bool, tmp_path: Path) -> None:
    path = topk(tmp_path / "sae", scaled)
    assert load(path, "float32").active is None, "its own encode takes about as long"
    active, gone, error = missed(path, "bfloat16")
    assert active == N * K_OF_MANY and gone == 0 and error < 1e-5
    pre = rows() @ load(path, "float32").weights["W_enc"]
    few = topk(tmp_path / "few", scaled, float(pre.quantile(1 - 4 / D_SAE)))
    active, gone, error = missed(few, "bfloat16")
    assert 0 < active < N * K_OF_MANY and gone == 0 and error < 1e-5


def test_where_much_is_active_the_product_is_float32s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_encode, "products_at", None)
    path = saved(tmp_path / "sae", "Standard", d_in=D_IN, d_sae=D_SAE)
    active, gone, error = missed(path, "bfloat16")
    assert active > N * D_SAE / 4 and gone == 0 and error < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_left_to_encode_which_says_so(value: float, dtype: SaeDtype, tmp_path: Path) -> None:
    sae = load(saved(tmp_path / "sae", "Standard", d_in=D_IN, d_sae=D_SAE), dtype)
    part = kept(N)
    part.activations["blocks.1.hook_resid_post"] = rows()
    part.activations["blocks.1.hook_resid_post"][7, 2] = value
    with pytest.raises(NonFiniteError, match="computed a feature that is no number at position 0") as caught:
        top_features([sae], K, 0.0, {sae.name: Health(sae)})(part)
    assert caught.value.sequence_id == 7
    large = rows()
    large[7, 2] = 1e38
    assert sae.active is not None and sae.active(large) is None and sae.active(rows()) is not None


def test_an_sae_in_memory_that_somebody_hooked_is_encoded_by_itself(tmp_path: Path) -> None:
    """And one that they hook after it was read; without hooks its features are found as a file's are."""
    import sae_lens

    own: Any = sae_lens.SAE.load_from_disk(saved(tmp_path / "sae", "Standard", d_in=D_IN, d_sae=D_SAE))
    sae = backend.load(SaeSpec(loaded=own), "cpu")
    assert sae.active is not None and sae.active(rows()) is not None
    own.hook_sae_acts_post.register_forward_hook(lambda *_: torch.zeros(N, D_SAE))
    assert sae.active(rows()) is None and not sae.encode(rows()).any()


def test_an_sae_in_memory_with_an_encode_of_its_own_is_encoded_by_it(tmp_path: Path) -> None:
    """Of a class that somebody derived, on the object itself, and one in training."""
    import sae_lens

    class Doubled(sae_lens.StandardSAE):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().encode(x)

    path = saved(tmp_path / "sae", "Standard", d_in=D_IN, d_sae=D_SAE)
    plain: Any = sae_lens.SAE.load_from_disk(path)
    derived = Doubled(plain.cfg)
    derived.load_state_dict(plain.state_dict())
    patched: Any = sae_lens.SAE.load_from_disk(path)
    patched.encode = derived.encode
    config = sae_lens.StandardTrainingSAEConfig(d_in=D_IN, d_sae=D_SAE, metadata=plain.cfg.metadata)
    x = rows()
    with torch.no_grad():
        assert not torch.equal(derived.encode(x), plain.encode(x))
        for own in (derived, patched, sae_lens.StandardTrainingSAE(config)):
            sae = backend.load(SaeSpec(loaded=own), "cpu", "bfloat16")
            assert sae.active is None and sae.dtype == "float32" and torch.equal(sae.encode(x), own.encode(x))


@pytest.mark.parametrize("shape", [(7, 64), (7, 63), (1, 8), (300, 8), (0, 8), (5, 16384)])
def test_nonzeros_are_torchs(shape: tuple[int, int]) -> None:
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    for share in (0.0, 0.003, 0.5, 1.0):
        mask = drawn < share
        assert all(torch.equal(a, b) for a, b in zip(nonzeros(mask), mask.nonzero(as_tuple=True), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(nonzeros(mask.T), mask.T.nonzero(as_tuple=True), strict=True))
    features = torch.where(drawn < 0.1, drawn, 0)
    found = active_of(features)
    assert torch.equal(found.values, features[features > 0]) and (found.rows.diff() >= 0).all()
