"""What could run code while a model is loaded: pickles and code of its repository, both only on request."""

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import Model, describe, load
from actkit.backends.repository import check_format
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from tests.look_alikes import snapshot

ModelDir = Callable[[str], Path]
POINT = HookPoint(1, "hook_resid_post")
ROOT = Path(__file__).parents[2]


def loaded(directory: Path | str, **options: Any) -> Model:
    return load(describe(ModelSpec(str(directory), **{"device": "cpu", **options})), [POINT])


def read(model: Model) -> torch.Tensor:
    """[2, 5, d_model] at one hook point."""
    found: list[torch.Tensor] = []
    ids = torch.tensor([[1, 20, 30, 40, 50], [1, 60, 70, 80, 90]])
    model.run(ids, torch.arange(5).expand(2, 5), None, {str(POINT): lambda tensor: found.append(tensor.clone())})
    return found[0]


def pickled(source: Path, target: Path, sharded: bool = False) -> Path:
    """A copy of a model whose weights are a pickle."""
    from safetensors.torch import load_file

    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    (target / "model.safetensors").unlink()
    if not sharded:
        torch.save(tensors, target / "pytorch_model.bin")
        return target
    name = "pytorch_model-00001-of-00001.bin"
    torch.save(tensors, target / name)
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, name)}
    (target / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return target


@pytest.mark.parametrize("sharded", [False, True])
def test_a_pickle_is_refused_by_name_and_read_on_request(sharded: bool, model_dir: ModelDir, tmp_path: Path) -> None:
    folder = pickled(model_dir("llama"), tmp_path / "pickled", sharded)
    name = next(folder.glob("*.bin")).name
    with pytest.raises(ModelError, match=f"weights in {name}, a pickle, which can run code") as caught:
        loaded(folder)
    assert "--allow-pickle" in caught.value.hint and "safetensors" in caught.value.hint
    assert torch.equal(read(loaded(folder, allow_pickle=True)), read(loaded(model_dir("llama"))))


def test_safetensors_are_read_where_both_are_there(model_dir: ModelDir, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(model_dir("llama"), folder)
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    expected = read(loaded(model_dir("llama")))
    assert torch.equal(read(loaded(folder)), expected)
    assert torch.equal(read(loaded(folder, allow_pickle=True)), expected)


def test_code_in_a_pickle_does_not_run_even_on_request(model_dir: ModelDir, tmp_path: Path) -> None:
    folder = pickled(model_dir("llama"), tmp_path / "pickled")

    class Writes:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model.norm.weight": Writes()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than tensors"):
        loaded(folder, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_the_hubs_cache_is_refused_too(
    model_dir: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = snapshot(tmp_path, "someone/model")
    for file in pickled(model_dir("llama"), tmp_path / "pickled").iterdir():
        shutil.copy(file, files / file.name)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        check_format("someone/model", ModelSpec("someone/model"))
    check_format("someone/model", ModelSpec("someone/model", allow_pickle=True))
    check_format("someone/other", ModelSpec("someone/other"))  # not in the cache: the hub will say


def test_another_pickle_is_another_revision(model_dir: ModelDir, tmp_path: Path) -> None:
    folder = pickled(model_dir("llama"), tmp_path / "pickled")
    before = describe(ModelSpec(str(folder), device="cpu")).revision
    with (folder / "pytorch_model.bin").open("ab") as file:
        file.write(b"\0")
    assert describe(ModelSpec(str(folder), device="cpu")).revision != before


CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
Path({ran!r}).touch()
class OwnConfig(LlamaConfig):
    model_type = "own-llama"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(model_dir: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A model with code of its own, and the file that the code writes when it runs."""
    folder, ran = tmp_path / "own_code", tmp_path / "ran"
    shutil.copytree(model_dir("llama"), folder)
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-llama", "architectures": ["LlamaForCausalLM"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return folder, ran


def test_code_of_the_repository_runs_on_request_only(own_code: tuple[Path, Path], model_dir: ModelDir) -> None:
    folder, ran = own_code
    with pytest.raises(ModelError, match="custom code") as caught:
        loaded(folder)
    assert "--trust-remote-code" in caught.value.hint
    assert not ran.exists()
    found = read(loaded(folder, trust_remote_code=True))
    assert ran.exists()
    # Attention is computed eagerly there, since actkit does not know what the code can do.
    assert torch.equal(found, read(loaded(model_dir("llama"), attn="eager")))


@pytest.mark.slow
def test_torch_load_is_always_told_to_read_tensors_only() -> None:
    """In every file of the repository, without exception."""
    wrong, seen = [], 0
    undecided = ROOT / "tests/backends/saes/test_kinds.py"  # says False, to show that actkit overrules it
    for folder in ("actkit", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "load_torch"):
                    seen += 1
                    told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    if told.get("weights_only") != "True" and path != undecided:
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert seen > 3
    assert wrong == []


def test_both_permissions_are_in_run_json_and_in_the_fingerprint(model_dir: ModelDir, tmp_path: Path) -> None:
    from actkit.config import OutputSpec
    from actkit.recipes.capture import CaptureSpec, run_capture
    from actkit.recipes.specs import DenseSpec

    folder = pickled(model_dir("llama"), tmp_path / "pickled")
    model = ModelSpec(str(folder), device="cpu", allow_pickle=True, device_map="cpu")
    finished = run_capture(
        CaptureSpec(prompts=("Hello",)), DenseSpec(model, output=OutputSpec(tmp_path / "run"), layers="1")
    )
    facts = json.loads((finished.path / "run.json").read_text())
    says = {"allow_pickle": True, "trust_remote_code": False, "quantize": None}
    assert {name: facts["model"][name] for name in says} == says
    assert facts["model"]["device_map"] == "cpu"
    assert {name: facts["fingerprint"][name] for name in says} == says
    assert "device_map" not in facts["fingerprint"]
