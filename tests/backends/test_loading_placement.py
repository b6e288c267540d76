"""Weights on several devices, offloaded, or quantized: the same numbers, the right arguments, an error that helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import describe, load, placement
from actkit.backends.tensors import of_weights
from actkit.config import ModelSpec
from actkit.errors import UsageError
from actkit.hooks import HookPoint
from tests.backends.test_loading_trust import loaded, read

ModelDir = Callable[[str], Path]
Told = dict[str, Any]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the real `from_pretrained` is called with; what a test puts under `more` is added to it."""
    from transformers import AutoModelForCausalLM

    real, seen = AutoModelForCausalLM.from_pretrained, {"more": {}}

    def watched(*args: Any, **options: Any) -> Any:
        seen.update(options)
        module, info = real(*args, **{**options, **seen["more"]})
        seen["read_onto"] = {parameter.device.type for parameter in module.parameters()}
        return module, info

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    return seen


@pytest.mark.parametrize("device_map", placement.DEVICE_MAPS)
def test_a_device_map_changes_no_number(device_map: Any, model_dir: ModelDir, told: Told) -> None:
    expected = read(loaded(model_dir("llama")))
    assert "device_map" not in told
    model = load(describe(ModelSpec(str(model_dir("llama")), device_map=device_map)), [HookPoint(1, "hook_resid_post")])
    assert told["device_map"] == ({"": "cpu"} if device_map == "cpu" else device_map)
    assert "quantization_config" not in told
    if not torch.cuda.is_available():
        assert torch.equal(read(model), expected)


def test_weights_on_the_disk_give_the_same_numbers_and_the_same_digest(
    model_dir: ModelDir, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are offloaded to files; the digest reads them there, so that a run may be continued elsewhere."""
    plain = loaded(model_dir("llama"))
    told["more"] = {
        "device_map": {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "disk"}
        | dict.fromkeys(("model.norm", "model.rotary_emb", "lm_head"), "cpu")
    }
    model = loaded(model_dir("llama"), device_map="cpu")
    assert any(parameter.is_meta for parameter in model.module.parameters())
    assert torch.equal(read(model), read(plain))
    assert model.weights_digest() == of_weights(plain.module.state_dict())


@pytest.mark.parametrize(
    ("places", "device"),
    [
        ({"": 0}, "meta"),
        ({}, "meta"),
        ({"a": 0, "b": 1}, "cpu"),
        ({"a": 0, "b": "cpu"}, "cpu"),
        ({"a": "disk"}, "cpu"),
    ],
)
def test_a_batch_begins_where_its_indices_fit_every_tensor(places: dict[str, Any], device: str) -> None:
    """On the device of all weights, of which `meta` is an example here, or on the CPU where there are several."""
    module = torch.nn.Linear(2, 2, device="meta")
    module.hf_device_map = places  # type: ignore[assignment]
    assert placement.input_device(module) == device


def test_the_offload_folder_goes_with_the_model_or_with_the_error() -> None:
    seen: list[Path] = []

    def succeed(**options: Any) -> tuple[Any, Any]:
        seen.append(Path(options["offload_folder"]))
        return torch.nn.Linear(2, 2), {}

    def fail(**options: Any) -> tuple[Any, Any]:
        succeed(**options)
        raise OSError("no weights")

    module, _ = placement.offloading(ModelSpec(device_map="auto"), succeed)
    assert seen[0].is_dir()
    del module
    assert not seen[0].exists()
    with pytest.raises(OSError, match="no weights"):
        placement.offloading(ModelSpec(device_map="auto"), fail)
    assert not seen[1].exists()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_weights_are_read_from_their_files_onto_the_device(device: str, model_dir: ModelDir, told: Told) -> None:
    """`meta` stands for any device that is not the CPU, in whose memory the whole model would be on its way."""
    loaded(model_dir("llama"), device=device, dtype="bfloat16")
    assert told["read_onto"] == {device} and told["dtype"] == torch.bfloat16
    assert told.get("device_map") == (None if device == "cpu" else {"": device})


@pytest.mark.parametrize(("quantize", "bits"), [("8bit", "load_in_8bit"), ("4bit", "load_in_4bit")])
def test_quantization_is_asked_of_transformers(quantize: Any, bits: str) -> None:
    spec = ModelSpec(device="cuda", dtype="bfloat16", quantize=quantize)
    found = placement.arguments(spec)
    config = found["quantization_config"]
    assert getattr(config, bits) is True
    assert config.load_in_8bit != config.load_in_4bit
    assert found["device_map"] == {"": "cuda"}
    if quantize == "4bit":
        assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert placement.arguments(ModelSpec(device="cpu")) == {}
    assert placement.arguments(ModelSpec(device="cuda:1")) == {"device_map": {"": "cuda:1"}}
    spread = placement.arguments(ModelSpec(dtype="bfloat16", quantize=quantize, device_map="balanced"))
    assert spread["device_map"] == "balanced"
    assert not placement.placed(ModelSpec()) and placement.placed(spec)


@pytest.mark.parametrize(
    ("options", "says", "hint"),
    [
        ({"device_map": "everywhere"}, "device_map everywhere is not known", "balanced"),
        ({"quantize": "2bit"}, "quantize 2bit is not known", "4bit"),
        ({"device_map": "auto", "device": "cuda:1"}, "contradict each other", "leave out --device"),
        ({"quantize": "8bit", "device": "cpu"}, "needs a GPU", "bfloat16"),
        ({"quantize": "8bit", "device_map": "cpu"}, "needs a GPU", "bfloat16"),
    ],
)
def test_what_is_not_possible_is_said_before_anything_is_read(
    options: dict[str, Any], says: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UsageError, match=says) as caught:
        describe(ModelSpec(**options))
    assert hint in caught.value.hint


@pytest.mark.parametrize("cuda", [False, True])
def test_quantization_without_cuda_or_bitsandbytes(cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs bitsandbytes" if cuda else "needs a GPU") as caught:
        placement.check_placement(ModelSpec(quantize="4bit"))
    assert ("actkit[quantize]" in caught.value.hint) == cuda


def test_the_bridge_takes_no_placement() -> None:
    description = describe(ModelSpec(device_map="cpu"))
    with pytest.raises(UsageError, match="bridge, which takes a model on one device") as caught:
        load(description, [HookPoint(1, "attn.hook_pattern")])
    assert "--device-map" in caught.value.hint
