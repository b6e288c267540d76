"""A model is loaded once, and gives by name, as a handle, and from memory the same numbers."""

import copy
import dataclasses
import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit.api import loading
from actkit.backends import describe, hugging_face, repository
from actkit.errors import ModelError, UsageError
from tests.api.conftest import PROMPTS
from tests.backends.test_loading_trust import pickled


def test_a_handle_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    plain = hugging_face._from_safetensors
    monkeypatch.setattr(hugging_face, "_from_safetensors", lambda *given: (loaded.append(1), plain(*given))[1])
    model = actkit.load_model("tiny", device="cpu")
    for _ in range(2):
        actkit.capture_activations(model, "One.", layers=0)
    assert len(loaded) == 1
    actkit.capture_activations("tiny", "One.", layers=0)
    assert len(loaded) == 2


@pytest.mark.slow
def test_name_handle_and_memory_give_the_same(tiny: actkit.ModelSpec, in_memory: tuple[Any, Any]) -> None:
    models = (actkit.ModelSpec("tiny", device="cpu"), tiny, in_memory, actkit.load_model(in_memory))
    first, *others = (actkit.capture_activations(model, PROMPTS) for model in models)
    for other in others:
        assert torch.equal(other.input_ids, first.input_ids) and list(other.activations) == [0, 1, 2, 3]
        assert all(torch.equal(other.activations[layer], first.activations[layer]) for layer in range(4))
        assert (other.tokens, other.prompt, other.num_layers) == (first.tokens, first.prompt, first.num_layers)


@pytest.mark.slow
def test_layers_of_a_model_cut_short_count_as_in_the_whole_one(tiny: actkit.ModelSpec) -> None:
    cut = actkit.load_model("tiny", device="cpu", layers="0-1")
    assert cut.loaded is not None and tiny.loaded is not None
    assert len(cut.loaded[0].model.layers) == 2 and len(tiny.loaded[0].model.layers) == 4
    found = actkit.capture_activations(cut, PROMPTS, layers=-3)
    expected = actkit.capture_activations(tiny, PROMPTS, layers=1)
    assert found.num_layers == 4 and found.captured_layers == [1]
    assert torch.equal(found.activations[1], expected.activations[1])
    assert actkit.capture_activations(cut, "One.", layers="0%-50%").captured_layers == [0, 1]


@pytest.mark.quick(2)
@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "gemma3", "qwen2", "opt"])
def test_any_model_can_be_cut_short(architecture: str, model_dir: Callable[[str], Path]) -> None:
    """Configurations that say the kind of every layer, too."""
    path = str(model_dir(architecture))
    cut = actkit.load_model(path, device="cpu", layers=0)
    pairs = ("One two three.", "One two four.")
    found, expected = (actkit.capture_from_concept(source, [pairs], layers=0, chat=False) for source in (cut, path))
    assert found.positive.num_layers == 3
    assert all(torch.equal(a.activations[0], b.activations[0]) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "call",
    [
        lambda model: actkit.capture_activations(model, "One.", layers=3),
        lambda model: actkit.SAEFeatureExtractor(model, target_layer=3).extract("One."),
    ],
    ids=["activations", "features"],
)
def test_a_layer_that_was_not_loaded_is_an_error(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ModelError, match=r"layers\.3 of tiny is not in memory") as caught:
        call(actkit.load_model("tiny", device="cpu", layers=2))
    assert "load_model" in caught.value.hint


def test_a_model_in_memory_stays_in_training_mode(in_memory: tuple[Any, Any]) -> None:
    module, _ = in_memory
    try:
        module.train()
        module.model.layers[1].eval()
        found = actkit.capture_activations(in_memory, "One.", layers=0)
        assert module.training and module.model.layers[0].training and not module.model.layers[1].training
        with pytest.raises(actkit.ActkitError):
            actkit.capture_activations(in_memory, "", layers=0)
        assert module.training
    finally:
        module.eval()
    assert torch.equal(found.activations[0], actkit.capture_activations(in_memory, "One.", layers=0).activations[0])


def test_saes_are_put_where_a_model_in_memory_is(in_memory: tuple[Any, Any]) -> None:
    assert actkit.load_model(in_memory).device == str(in_memory[0].device) == "cpu"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (3, "int is no model"),
        ((1, 2, 3), "tuple is no model"),
        ((torch.nn.Linear(1, 1), None), "Linear is no model that can be used"),
        ("no/such/model/here", "no such directory"),
    ],
)
def test_what_is_no_model_is_an_error_with_a_hint(model: Any, says: str) -> None:
    with pytest.raises(actkit.ActkitError, match=says) as caught:
        actkit.capture_activations(model, "One.")
    assert caught.value.hint


def test_a_model_that_comes_alone_has_the_tokenizer_of_where_it_was_loaded(in_memory: tuple[Any, Any]) -> None:
    alone = actkit.load_model(in_memory[0])
    assert alone.loaded is not None and alone.loaded[0] is in_memory[0] and alone.loaded[1].is_fast
    with pytest.raises(UsageError, match="int is no tokenizer"):
        actkit.load_model((in_memory[0], 3))
    made = copy.deepcopy(in_memory[0])
    made.config._name_or_path = ""
    with pytest.raises(UsageError, match="came without its tokenizer"):
        actkit.load_model(made)


def test_options_of_loading_are_not_ignored(tiny: actkit.ModelSpec) -> None:
    with pytest.raises(UsageError, match="in memory already"):
        actkit.load_model(tiny, layers=0)
    with pytest.raises(UsageError, match="in memory already"):
        actkit.load_model(tiny, dtype="bfloat16")
    with pytest.raises(UsageError, match="ModelSpec"):
        actkit.load_model(actkit.ModelSpec("tiny"), dtype="bfloat16")
    with pytest.raises(UsageError, match="there is no layer 4"):
        actkit.load_model("tiny", layers=4)
    with pytest.raises(UsageError, match="in memory already"):
        actkit.load_model(tiny, device_map="cpu")
    half = actkit.load_model("tiny", device="cpu", dtype="bfloat16", layers=0)
    assert half.loaded is not None and half.loaded[0].dtype == torch.bfloat16 and half.dtype == "bfloat16"


def test_a_handle_remembers_the_commit_that_it_was_loaded_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "revision_of", lambda *_: "c0ffee")
    assert describe(actkit.load_model("tiny", device="cpu", layers=0)).revision == "c0ffee"


OPTIONS: dict[str, Any] = {
    "revision": "main",
    "device": "cpu",
    "dtype": "bfloat16",
    "attn": "eager",
    "trust_remote_code": True,
    "allow_pickle": True,
    "device_map": "balanced",
    "quantize": "4bit",
}


def test_every_option_of_a_model_is_one_of_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        field.name for field in dataclasses.fields(actkit.ModelSpec) if field.name not in ("name", "loaded", "backend")
    ]
    assert list(OPTIONS) == names
    seen: list[actkit.ModelSpec] = []

    def stop(spec: actkit.ModelSpec) -> None:
        seen.append(spec)
        raise ModelError("as far as loading")

    monkeypatch.setattr(loading, "describe", stop)
    for name, value in OPTIONS.items():
        with pytest.raises(ModelError, match="as far as loading"):
            actkit.load_model("org/name", **{name: value})
    assert seen == [actkit.ModelSpec("org/name", **{name: value}) for name, value in OPTIONS.items()]


def test_a_pickle_is_read_on_request(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    folder = pickled(model_dir("llama"), tmp_path / "pickled")
    with pytest.raises(ModelError, match="a pickle"):
        actkit.load_model(str(folder), device="cpu")
    found = actkit.load_model(str(folder), device="cpu", allow_pickle=True)
    assert found.loaded is not None and found.allow_pickle


def test_a_device_map_is_followed() -> None:
    found = actkit.load_model("tiny", device_map="cpu")
    assert (found.device, found.device_map) == ("cpu", "cpu")
    assert actkit.capture_activations(found, "One.", layers=0).activations[0].shape[-1] == 192
    del found
    gc.collect()  # the folder for what does not fit anywhere goes with the model
    with pytest.raises(UsageError, match="contradict each other"):
        actkit.load_model("tiny", device="cuda:1", device_map="auto")
    with pytest.raises(UsageError, match="2bit is not known"):
        actkit.load_model("tiny", quantize="2bit")  # type: ignore[arg-type]


def test_a_model_without_its_head_says_so(in_memory: tuple[Any, Any]) -> None:
    model, tokenizer = in_memory
    with pytest.raises(ModelError, match="LlamaModel of .* has no model.layers") as caught:
        actkit.capture_activations((model.model, tokenizer), "One.", layers=1)
    assert "as AutoModelForCausalLM loads it" in caught.value.hint


def test_a_model_in_float64_is_read(in_memory: tuple[Any, Any]) -> None:
    model, tokenizer = in_memory
    found = actkit.capture_activations((copy.deepcopy(model).double(), tokenizer), "One.", layers=1, positions="last")
    usual = actkit.capture_activations(in_memory, "One.", layers=1, positions="last")
    assert torch.allclose(found.activations[1], usual.activations[1], atol=1e-3)


def test_hooks_of_the_callers_own_are_said_and_those_of_transformers_are_not(in_memory: tuple[Any, Any]) -> None:
    model, tokenizer = copy.deepcopy(in_memory[0]), in_memory[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(torch.tensor([[1, 2]]), output_hidden_states=True)  # installs hooks that stay
        usual = actkit.capture_activations((model, tokenizer), "One.", layers=1).activations[1]
    handle = model.model.layers[0].register_forward_hook(lambda _m, _a, out: out + 1)
    with pytest.warns(UserWarning, match=r"model.layers.0 of .* has hooks of its own: what they change is in the num"):
        steered = actkit.capture_activations((model, tokenizer), "One.", layers=1).activations[1]
    assert not torch.equal(steered, usual) and handle.id in model.model.layers[0]._forward_hooks
