"""gguf: the control vector that llama.cpp's own reader finds, and what is said of what it cannot hold."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pandas as pd
import pytest

from actkit.errors import RunError, UsageError
from actkit.export.formats import export
from actkit.export.gguf_vector import SITE, model_type
from tests.conftest import ARCHITECTURES
from tests.export.conftest import written_concept
from tests.export.llama_cpp import loaded_by_llama_cpp


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return fields, {tensor.name: tensor.data for tensor in reader.tensors}


def measured(run: Path, layer: int, method: str = "mean-diff") -> Any:
    table = pd.read_parquet(run / "directions")
    row = table[(table["method"] == method) & (table["hook_point"] == f"blocks.{layer}.hook_resid_post")].iloc[0]
    return row["direction"] * (1 if np.isnan(row["norm"]) else row["norm"])


def test_the_chosen_layer_moves_by_the_measured_difference(concept_run: Path, tmp_path: Path) -> None:
    run = concept_run
    fields, tensors = read(export(run, "gguf", tmp_path / "x.gguf"))
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == len(tensors) == 1
    assert tensors["direction.3"].dtype == np.float32
    assert np.allclose(tensors["direction.3"], measured(run, 3), rtol=1e-6)
    norm = float(np.linalg.norm(tensors["direction.3"]))
    assert fields["actkit.layers"] == [3] and fields["actkit.shares"] == [1] and fields["actkit.method"] == "mean-diff"
    assert fields["actkit.norms"] == pytest.approx([norm]) and "the measured difference" in fields["actkit.scale"]
    fields, tensors = read(export(run, "gguf", tmp_path / "y.gguf", method="logistic"))
    assert fields["actkit.layers"] == [3] and np.linalg.norm(tensors["direction.3"]) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("layers", ["all", "0,2,3", "2-3"])
def test_shares_of_several_layers_add_up_to_the_difference_once(concept_run: Path, tmp_path: Path, layers: str) -> None:
    """Layer 0 is left out and named."""
    notes: list[str] = []
    fields, tensors = read(export(concept_run, "gguf", tmp_path / "x.gguf", on_note=notes.append, layers=layers))
    assert tensors.keys() == {"direction.2", "direction.3"} and sum(fields["actkit.shares"]) == 1
    for layer, share in zip(fields["actkit.layers"], fields["actkit.shares"], strict=True):
        assert np.allclose(tensors[f"direction.{layer}"], measured(concept_run, layer) * share, rtol=1e-6)
    assert ("blocks.0.hook_resid_post: left out, llama.cpp" in notes[0]) == (layers != "2-3")
    assert notes[-1] == "2 layers: each adds 0.5 of its own measured difference, together one"


def test_layers_must_be_there_or_chosen(concept_run: Path, tmp_path: Path) -> None:
    out, places = tmp_path / "x.gguf", [(1, "hook_mlp_out"), (2, SITE), (3, SITE)]
    with pytest.raises(UsageError, match=r"no direction of hook_resid_post at layer 1"):
        export(concept_run, "gguf", out, layers="1-2")
    with pytest.raises(UsageError, match="block 1 and later"):
        export(concept_run, "gguf", out, layers="0")
    with pytest.raises(UsageError, match="chose no layer") as caught:
        export(written_concept(tmp_path / "none", places), "gguf", out)
    assert "layers 2,3" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"it chose blocks.1.hook_mlp_out"):
        export(written_concept(tmp_path / "other", places, chosen=places[0]), "gguf", out)
    assert read(export(written_concept(tmp_path / "one", places[:2]), "gguf", out))[0]["actkit.layers"] == [2]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "moved"), [(None, {3: 1.0}), ("2-3", {2: 0.5, 3: 0.5})])
def test_llama_cpp_loads_the_measured_difference(
    concept_run: Path, tmp_path: Path, layers: str | None, moved: dict[int, float]
) -> None:
    """By `common_control_vector_load`, which `--control-vector-scaled` calls: a vector a layer, from layer 1 on."""
    path = export(concept_run, "gguf", tmp_path / "x.gguf", layers=layers)
    for strength in (1.0, -0.5):
        found = loaded_by_llama_cpp(path, strength)
        assert found.shape[1] == 12
        for layer, vector in enumerate(found, 1):
            expected = moved.get(layer, 0) * strength * measured(concept_run, layer) if layer in moved else np.zeros(12)
            assert np.allclose(vector, expected, rtol=1e-5)


def test_layer_0_alone_is_no_control_vector(tmp_path: Path) -> None:
    run = written_concept(tmp_path / "run", [(0, "hook_resid_post")])
    with pytest.raises(RunError, match="no direction that llama.cpp can use"):
        export(run, "gguf", tmp_path / "x.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_model_hint_is_the_configurations_model_type() -> None:
    import transformers

    for prefix, _ in ARCHITECTURES.values():
        config = getattr(transformers, f"{prefix}Config")
        base = prefix.removesuffix("Text")
        names = (f"{base}ForCausalLM", f"{base}LMHeadModel")
        architecture = next(name for name in names if hasattr(transformers, name))
        assert model_type(architecture) == config.model_type
