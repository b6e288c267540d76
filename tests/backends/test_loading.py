"""Names, devices and files: what a model's name stands for, and what is said when it cannot be loaded."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors as hub

from actkit.backends import describe, load, placement, repository, transformer_lens
from actkit.config import ModelSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint
from tests.conftest import small_tokenizer

ModelDir = Callable[[str], Path]
POINT = [HookPoint(0, "hook_resid_post")]


def loads(directory: Path | str, **more: Any) -> None:
    load(describe(ModelSpec(str(directory), device="cpu", **more)), POINT)


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def test_the_bundled_model_is_found_by_name() -> None:
    description = describe(ModelSpec(device="cpu"))
    assert (description.n_layers, description.d_model, description.context_length) == (4, 192, 512)
    assert description.architecture == "LlamaForCausalLM"
    assert description.revision and description.revision.startswith("sha256:")


def test_aliases_of_transformer_lens_are_understood() -> None:
    assert transformer_lens.alias_of("gpt2-small") == "gpt2"
    assert repository.locate("gpt2-small") == "gpt2"
    assert repository.locate("org/name") == "org/name"


def test_auto_is_float32_on_a_cpu_and_bfloat16_on_a_gpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert placement.resolve_dtype("auto", torch.device("cpu")) == "float32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert placement.resolve_dtype("auto", torch.device("cuda")) == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert placement.resolve_dtype("auto", torch.device("cuda")) == "float32"


def test_a_backend_that_is_not_known_is_named() -> None:
    with pytest.raises(UsageError, match="backend 'vllm' is not known") as error:
        describe(ModelSpec(device="cpu", backend="vllm"))
    assert "transformers" in (error.value.hint or "")


@pytest.mark.parametrize("options", [{"device": "cuda:77"}, {"device": "abacus"}, {"dtype": "int8"}])
def test_devices_and_dtypes_that_are_not_there(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="^device |^dtype "):
        describe(ModelSpec(**options))


def test_weights_change_the_revision_of_a_local_model(model_dir: ModelDir, tmp_path: Path) -> None:
    """The digest follows the files' contents, so that two models under one path are told apart."""
    copy = copied(model_dir("llama"), tmp_path / "copy")
    first = describe(ModelSpec(str(model_dir("llama")), device="cpu")).revision
    assert describe(ModelSpec(str(copy), device="cpu")).revision == first
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert describe(ModelSpec(str(copy), device="cpu")).revision != first


def test_damaged_and_missing_files_are_one_sentence_and_a_hint(model_dir: ModelDir, tmp_path: Path) -> None:
    source = model_dir("llama")
    cut = copied(source, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ModelError, match="weights") as caught:
        loads(cut)
    assert "\n" not in caught.value.message and caught.value.hint
    without = copied(source, tmp_path / "without")
    (without / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights cannot be loaded"):
        loads(without)
    config = copied(source, tmp_path / "config")
    (config / "config.json").write_text("{nonsense")
    with pytest.raises(ModelError, match="config.json is damaged"):
        loads(config)
    tokenizer = copied(source, tmp_path / "tokenizer")
    (tokenizer / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer"):
        loads(tokenizer)


def test_a_checkpoint_that_lacks_tensors_is_refused(model_dir: ModelDir, tmp_path: Path) -> None:
    """Hugging Face fills what is missing with random numbers and a warning; tables of those must not be made."""
    from safetensors.torch import load_file, save_file

    copy = copied(model_dir("llama"), tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, such as model\.layers\.0\.mlp\.up_proj\.weight"):
        loads(copy)


def test_pickled_checkpoints_are_not_read(model_dir: ModelDir, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    copy = copied(model_dir("llama"), tmp_path / "copy")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError) as caught:
        loads(copy)
    assert "safetensors" in caught.value.hint


def test_an_architecture_that_transformer_lens_does_not_map(tmp_path: Path) -> None:
    from transformers import CTRLConfig, CTRLLMHeadModel

    config = CTRLConfig(vocab_size=300, n_embd=16, dff=16, n_layer=1, n_head=2, n_positions=32)
    CTRLLMHeadModel(config).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not map the architecture CTRLLMHeadModel"):
        loads(tmp_path)


def _response() -> Any:
    import httpx

    return httpx.Response(403, request=httpx.Request("GET", "https://hub.invalid"))


def _raised(error: type[Exception]) -> Exception:
    try:
        return error("told so", response=_response())  # type: ignore[call-arg]
    except (TypeError, ImportError):
        return error("told so")


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        (hub.GatedRepoError, "accept the licence"),
        (hub.RevisionNotFoundError, "--revision"),
        (hub.RepositoryNotFoundError, "check the name"),
        (hub.LocalEntryNotFoundError, "cannot be reached"),
    ],
)
def test_what_the_hub_says_becomes_a_hint(cause: type[Exception], hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gated, no such revision, no such model, offline: what a user needs to do differs."""
    from transformers import AutoConfig

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("We could not") from _raised(cause)

    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    with pytest.raises(ModelError, match="org/name") as caught:
        describe(ModelSpec("org/name", device="cpu"))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        (hub.GatedRepoError, "accept the licence on the page of org/name, then set HF_TOKEN"),
        (hub.RevisionNotFoundError, "check --revision"),
        (hub.RepositoryNotFoundError, "check the name; a private model needs HF_TOKEN"),
        (hub.LocalEntryNotFoundError, "since HF_HUB_OFFLINE is set"),
        (hub.OfflineModeIsEnabled, "since HF_HUB_OFFLINE is set"),
    ],
)
def test_what_the_hubs_client_raises_reaches_the_hint_through_transformers(
    cause: type[Exception], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers catches these and raises others; what a user must do is still told apart."""

    def fail(*_: Any, **__: Any) -> None:
        raise _raised(cause)

    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="org/name") as caught:
        describe(ModelSpec("org/name", device="cpu"))
    assert hint in caught.value.hint
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError) as caught:
        describe(ModelSpec("org/name", device="cpu"))
    assert "HF_HUB_OFFLINE" not in caught.value.hint


def test_running_out_of_memory_while_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(ModelError, match="does not fit into the memory of cpu"):
        loads("tiny")


def test_a_hook_point_that_is_not_there_is_told_before_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names near matches, and nothing large has been loaded by then (TRAPS 25)."""
    from transformers import AutoModelForCausalLM

    description = describe(ModelSpec(device="cpu"))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match=r"no hook point blocks\.1\.hook_mlp_uot") as caught:
        load(description, [HookPoint(1, "hook_mlp_uot")])
    assert "hook_mlp_out" in caught.value.hint


def test_longrope_keeps_to_the_original_context() -> None:
    """Beyond it Hugging Face changes the rotary factors of the whole batch, short neighbours included (TRAPS 2)."""
    from transformers import LlamaConfig, Phi3Config

    factors = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "rope_theta": 10000.0}
    config = Phi3Config(
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters=factors,
        pad_token_id=0,
    )
    assert repository.context_of(config) == 4096
    assert repository.context_of(LlamaConfig(max_position_embeddings=777)) == 777
    # None is stated, or one that is no length.
    for none in (0, -1):
        assert repository.context_of(LlamaConfig(max_position_embeddings=none)) is None


@pytest.mark.parametrize("name", ["./nothing-here", "a/b/c", "/nothing/here"])
def test_a_path_that_is_no_directory(name: str) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        describe(ModelSpec(name, device="cpu"))


@pytest.mark.slow
def test_a_hub_name_loads_from_the_local_cache_with_its_commit(model_dir: ModelDir, tmp_path: Path) -> None:
    """An alias, resolved to the hub's id, from a cache in the hub's layout and offline; run.json has the commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--gpt2"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    copied(model_dir("gpt2"), repo / "snapshots" / commit)
    command = [
        sys.executable,
        "-m",
        "actkit",
        "capture",
        "-p",
        "Hi",
        "--model",
        "gpt2-small",
        "--json",
        "-o",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        command, env={**os.environ, "HF_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["model"]
    assert (model["name"], model["architecture"], model["revision"]) == ("gpt2-small", "GPT2LMHeadModel", commit)
