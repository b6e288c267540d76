"""What is taken for a model and is none, or not whole: what is said, and what a user can do about it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import describe, load
from actkit.backends.hooked import HookCalls
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from tests.command_line import Run
from tests.conftest import small_tokenizer
from tests.look_alikes import snapshot

ModelDir = Callable[[str], Path]
POINT = [HookPoint(0, "hook_resid_post")]


def error_of(name: Path | str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(describe(ModelSpec(str(name), device="cpu")), POINT)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a local cache, from which alone this process reads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def filled(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


ADAPTER = {"adapter_config.json": json.dumps({"base_model_name_or_path": "org/base"}), "tokenizer.json": "{}"}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("files", "says", "hint"),
    [
        (ADAPTER, "is an adapter of org/base, not a whole model", "merge_and_unload"),
        ({"adapter_config.json": "[]"}, "is an adapter, not a whole model", "merge_and_unload"),
        ({"small.Q4.gguf": "GGUF"}, "holds GGUF files such as small.Q4.gguf", "in safetensors"),
        ({"README.md": "", "train.parquet": "PAR1"}, "has no config.json, but README.md, train.parquet", "a dataset"),
    ],
)
def test_what_it_is_instead_is_said(
    cached: bool, files: dict[str, str], says: str, hint: str, cache: Path, tmp_path: Path
) -> None:
    name = "org/name" if cached else str(filled(tmp_path / "here", files))
    filled(snapshot(cache, "org/name"), files)
    error = error_of(name)
    assert error.message == f"{name} {says}" or error.message.startswith(f"{name} {says},")
    assert hint in error.hint


def test_weights_with_an_adapter_beside_them_are_not_read_without_a_word(model_dir: ModelDir, tmp_path: Path) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    filled(tmp_path / "model", ADAPTER | {"tokenizer.json": (model_dir("llama") / "tokenizer.json").read_text("utf-8")})
    error = error_of(tmp_path / "model")
    assert "has an adapter (adapter_config.json) beside its weights" in error.message and "merge it" in error.hint


def test_a_dataset_of_that_name_in_the_cache_is_said_to_be_one(cache: Path) -> None:
    filled(cache / "hub" / "datasets--org--texts" / "snapshots" / "a", {"data.jsonl": "{}"})
    filled(cache / "hub" / "datasets--org--texts" / "refs", {"main": "a"})
    assert error_of("org/texts").message == "org/texts is a dataset"
    assert "the local cache" in error_of("org/nothing").hint


def test_the_hub_is_asked_what_there_is_where_it_has_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from transformers import AutoConfig

    def absent(*_: Any, **__: Any) -> None:
        raise OSError("org/name does not appear to have a file named config.json.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", absent)
    files = ["adapter_config.json", "adapter_model.safetensors"]
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: files)
    assert error_of("org/name").message == "org/name is an adapter, not a whole model"


def test_a_model_of_another_kind_is_named_before_its_tokenizer_is_looked_for(tmp_path: Path) -> None:
    from transformers import ViTConfig

    ViTConfig(architectures=["ViTForImageClassification"]).save_pretrained(tmp_path)
    error = error_of(tmp_path)
    assert "is a ViTForImageClassification, and transformers has no causal language model for vit" in error.message


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json"])
def test_what_a_cache_lacks_is_to_be_fetched_and_not_converted(missing: str, model_dir: ModelDir, cache: Path) -> None:
    shutil.copytree(model_dir("llama"), snapshot(cache, "org/name"), dirs_exist_ok=True)
    (snapshot(cache, "org/name") / missing).unlink()
    error = error_of("org/name")
    assert "hf download org/name" in error.hint and "pickle" not in error.hint


def test_a_part_of_the_checkpoint_that_is_missing_is_said_to_be(model_dir: ModelDir, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(model_dir("llama")).save_pretrained(tmp_path, max_shard_size="20KB")
    small_tokenizer().save_pretrained(tmp_path)
    sorted(tmp_path.glob("model-*.safetensors"))[1].unlink()
    error = error_of(tmp_path)
    assert "model-00002-of" in error.message and "a part of the checkpoint is missing" in error.hint


def test_a_directory_without_a_tokenizer_is_said_to_lack_it(model_dir: ModelDir, tmp_path: Path) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    error = error_of(tmp_path / "model")
    assert "there is no tokenizer.json" in error.message and "save the tokenizer" in error.hint


@pytest.mark.parametrize(
    ("changed", "says", "hint"),
    [
        ({"hidden_size": 64}, "other shapes than config.json says", "does not belong to its config.json"),
        ({"model_type": "frobnicator"}, "frobnicator", "pip install --upgrade transformers"),
        ({"model_type": None, "architectures": None}, "model_type", "config.json names the model_type"),
    ],
)
def test_a_configuration_that_is_not_of_these_weights(
    changed: dict[str, Any], says: str, hint: str, model_dir: ModelDir, tmp_path: Path
) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "odd")
    config = json.loads((tmp_path / "odd" / "config.json").read_text(encoding="utf-8")) | changed
    kept = {key: value for key, value in config.items() if value is not None}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    error = error_of(tmp_path / "odd")
    assert says in error.message and hint in error.hint


def test_an_address_is_no_name() -> None:
    assert "give the id alone" in error_of("https://huggingface.co/org/name").hint


@pytest.mark.parametrize("kind", ["LlamaModel", "LlamaForSequenceClassification"])
def test_a_model_without_output_layer_is_read_and_gives_the_blocks_own_numbers(kind: str, tmp_path: Path) -> None:
    """Embedding models and reward models: no hook point is behind the layer that they lack."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    torch.manual_seed(0)
    own = getattr(transformers, kind)(config).eval()
    own.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    point, found = HookPoint(1, "hook_resid_post"), []
    model = load(describe(ModelSpec(str(tmp_path), device="cpu")), [point])
    ids = torch.arange(5, 25)[None]
    model.run(ids, torch.arange(20)[None], None, {str(point): found.append})
    expected = own(ids, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(found[0], expected, atol=1e-6)


def test_a_token_id_without_embedding_is_an_error_with_a_hint(model_dir: ModelDir, tmp_path: Path, actkit: Run) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    tokenizer = small_tokenizer()
    tokenizer.add_tokens([f"<{number}>" for number in range(60)])
    tokenizer.save_pretrained(tmp_path / "model")
    done = actkit("capture", "-p", "a <59>", "--model", str(tmp_path / "model"), "-o", str(tmp_path / "run"))
    assert done.status == 1
    assert "nothing was kept of 1 record" in done.err and "embeddings of 0 to 299 only" in done.err


@pytest.mark.parametrize("name", ["attn.hook_result", "hook_q_input", "attn.hook_attn_in", "hook_mlp_in"])
def test_a_hook_point_that_has_to_be_switched_on(name: str) -> None:
    with pytest.raises(ModelError, match="only where it is switched on") as caught:
        load(describe(ModelSpec(device="cpu")), [HookPoint(1, name)])
    assert "attn.hook_z" in caught.value.hint


def test_a_hook_point_that_has_nothing_of_each_text(actkit: Run, tmp_path: Path) -> None:
    """Rotary angles are one row for a batch: a text that is alone in it had them, others ended in an IndexError."""
    found = actkit("capture", "--prompt", "a b", "--hook-point", "attn.hook_cos", "--layers", "1", "-o", tmp_path / "x")
    assert found.status == 1 and "has no hook point blocks.1.attn.hook_cos" in found.err
    calls = HookCalls({"x": lambda _tensor: None}, (2, 3))
    with pytest.raises(ModelError, match=r"shape \(1, 3, 8\) for 2 texts"):
        calls.serve("x", torch.zeros(1, 3, 8))
