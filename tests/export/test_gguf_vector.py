"""gguf: the control vector that llama.cpp's own reader finds, and what is said of what it cannot hold."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pandas as pd
import pytest

from actkit.errors import RunError
from actkit.export.formats import export
from actkit.export.gguf_vector import model_type
from tests.conftest import ARCHITECTURES
from tests.export.conftest import written_concept


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return fields, {tensor.name: tensor.data for tensor in reader.tensors}


def test_the_reader_finds_the_measured_differences(concept_run: Path, tmp_path: Path) -> None:
    """Direction L moves block L; as long as the difference; layer 0 and other hook points are left out and named."""
    notes: list[str] = []
    fields, tensors = read(export(concept_run, "gguf", tmp_path / "x.gguf", on_note=notes.append))
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "llama"
    assert fields["controlvector.layer_count"] == len(tensors) == 2
    table = pd.read_parquet(concept_run / "directions")
    table = table[(table["method"] == "mean-diff") & table["hook_point"].str.endswith("hook_resid_post")]
    expected = {f"direction.{row.layer}": row.direction * row.norm for row in table.itertuples() if row.layer}
    assert tensors.keys() == expected.keys() == {"direction.2", "direction.3"}
    for name, vector in expected.items():
        assert tensors[name].dtype == np.float32
        assert np.allclose(tensors[name], vector, rtol=1e-6)
    assert len(notes) == 2
    assert "blocks.0.hook_resid_post: left out, llama.cpp" in notes[0]
    assert "blocks.1.hook_mlp_out: left out, a control vector moves" in notes[1]


def test_directions_without_a_norm_are_unit_vectors(concept_run: Path, tmp_path: Path) -> None:
    _, tensors = read(export(concept_run, "gguf", tmp_path / "x.gguf", method="logistic"))
    assert [np.linalg.norm(one) for one in tensors.values()] == pytest.approx([1, 1], rel=1e-6)


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
