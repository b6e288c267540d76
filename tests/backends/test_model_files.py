"""What a library must not be given to read: found before it does, in one sentence."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actkit.backends import describe, hugging_face, load
from actkit.backends.model_files import BESIDE, TIMES, check_size, count_of
from actkit.backends.saes.sae_lens import load as load_sae
from actkit.bundled import SAES
from actkit.config import ModelSpec, SaeSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint


def changed(name: str, **values: Any) -> Callable[[Path], object]:
    """Other values in a document of a folder."""

    def change(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**document, **values}))

    return change


def replaced(name: str, put: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in the place of a file."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        put(folder / name)

    return change


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


def elsewhere(folder: Path) -> None:
    """Weights that are in order, but not where a model's are."""
    secret = folder.parent / "secret.safetensors"
    shutil.move(folder / "model.safetensors", secret)
    from safetensors import safe_open

    with safe_open(secret, "pt") as file:
        names = list(file.keys())
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../secret.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes((1 << 62).to_bytes(8, "little") + path.read_bytes()[8:])


OF_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (replaced("model.safetensors", os.mkfifo), "model.safetensors is a pipe or a device"),
    "a device": (replaced("tokenizer.json", lambda path: path.symlink_to("/dev/zero")), "is a pipe or a device"),
    "a loop": (replaced("config.json", lambda path: path.symlink_to(path.name)), "a link that leads nowhere"),
    "a folder": (replaced("config.json", lambda path: path.mkdir()), "config.json is a directory, not a file"),
    "a large file": (replaced("config.json", large), "config.json has 8,590 MB"),
    "a list": (replaced("config.json", lambda path: path.write_text("[]")), "it is no JSON object"),
    "deep": (replaced("config.json", lambda path: path.write_text("[" * 99_999)), "nested too deeply"),
    "no text": (changed("config.json", architectures=["\ud800"]), "config.json is damaged"),
    "no names": (changed("config.json", architectures=1.5), "architectures 1.5"),
    "no heads": (changed("config.json", num_attention_heads=0), "the configuration cannot be loaded"),
    "outside": (elsewhere, "names '../secret.safetensors', which is no file of its directory"),
    "a size that is none": (changed("config.json", hidden_size="x"), "hidden_size"),
    "negative layers": (changed("config.json", num_hidden_layers=-1), "num_hidden_layers -1"),
    "endless layers": (changed("config.json", num_hidden_layers=2**31), "num_hidden_layers 2147483648"),
    "a wide layer": (changed("config.json", intermediate_size=2**34), "GB of weights, and its files have 0.0"),
    "a header": (header, "damaged weights"),
    "a regex": (
        changed("tokenizer.json", pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
        "the tokenizer cannot be loaded",
    ),
}


@pytest.mark.parametrize("kind", OF_MODELS)
def test_a_model_that_cannot_be_meant_is_refused(kind: str, model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    change, says = OF_MODELS[kind]
    folder = tmp_path / "model"
    shutil.copytree(model_dir("llama"), folder)
    change(folder)
    with pytest.raises(ModelError) as error:
        load(describe(ModelSpec(str(folder), device="cpu")), [HookPoint(0, "hook_resid_post")])
    assert says in error.value.message and error.value.hint


def test_a_model_that_cannot_be_built_without_memory_is_loaded_all_the_same(
    model_dir: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise NotImplementedError("Cannot copy out of meta tensor")

    def loaded() -> str:
        description = describe(ModelSpec(str(model_dir("llama")), device="cpu"))
        return load(description, [HookPoint(0, "hook_resid_post")]).weights_digest()

    usual = loaded()
    monkeypatch.setattr(hugging_face, "whole_bytes", fail)
    assert loaded() == usual


SAYS = json.loads((SAES / "blocks.1.hook_resid_post" / "cfg.json").read_text())["metadata"]
OF_SAES: dict[str, tuple[dict[str, Any], str]] = {
    "d_in": ({"d_in": "x"}, "d_in 'x'"),
    "d_sae": ({"d_sae": 2**40}, "d_sae 1099511627776"),
    "both": ({"d_in": 2**20, "d_sae": 2**20}, "GB of weights"),
    "context_size": ({"metadata": {**SAYS, "context_size": "x"}}, "context_size 'x'"),
    "prepend_bos": ({"metadata": {**SAYS, "prepend_bos": 3}}, "prepend_bos 3"),
    "metadata": ({"metadata": [1]}, "the SAE cannot be loaded"),
    "scale": ({"normalize_activations": "constant_scalar_rescale"}, "Got constant_scalar_rescale"),
    "k": ({"architecture": "topk", "k": 10**6}, "x"),
}


@pytest.mark.parametrize("kind", OF_SAES)
def test_an_sae_that_cannot_be_meant_is_refused(kind: str, tmp_path: Path) -> None:
    values, says = OF_SAES[kind]
    folder = tmp_path / "x"
    shutil.copytree(SAES / "blocks.1.hook_resid_post", folder)
    changed("cfg.json", **values)(folder)
    with pytest.raises(ModelError) as error:
        load_sae(SaeSpec(path=str(folder)), "cpu")
    assert says in error.value.message and error.value.hint
    assert ("another SAE" in error.value.hint) is (kind == "scale")  # the same files again would be the same


def test_weights_that_files_may_hold_and_those_that_none_could(tmp_path: Path) -> None:
    """To the byte; what is no weights' file does not count, and neither does a link that leads nowhere."""
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "more.bin").write_bytes(b"x" * 10)
    (tmp_path / "notes.txt").write_bytes(b"x" * 1000)
    (tmp_path / "gone.pt").symlink_to("nowhere")
    most = TIMES * 110 + BESIDE
    check_size(most, tmp_path, "m")
    with pytest.raises(ModelError, match=r"^m: its configuration asks for 1\.1 GB of weights, and its files have 0\.0"):
        check_size(most + 1, tmp_path, "m")


@pytest.mark.parametrize("value", [0, -1, 8, 1.0, True, "3", None])
def test_a_size_is_a_whole_number_within_bounds(value: object) -> None:
    assert [count_of({"n": n}, "n", "m", 7) for n in (1, 7)] == [1, 7]
    with pytest.raises(ModelError, match="its configuration says n ") as error:
        count_of({"n": value}, "n", "m", 7)
    assert error.value.hint == "that is a whole number from 1 to 7"
