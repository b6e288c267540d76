"""`create_feature_dataset` makes the run that `feature-dataset` makes, of files and of texts at hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import actkit
from actkit.bundled import SAES
from actkit.errors import InputError, RunError, UsageError
from tests.command_line import called

TEXTS = ["Once upon a time there was a hare.", "The river runs to the sea, and the sea is not full 🌊.", "The end."]


def same(run: actkit.Run, other: actkit.Run) -> None:
    for name in ("features", "feature_stats", "tokens"):
        assert run.table(name).equals(other.table(name)), name


@pytest.mark.slow
def test_it_is_the_run_of_the_command(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    saes = [actkit.SaeSpec("tiny", "blocks.1.hook_resid_post")]
    spec = actkit.FeatureDatasetSpec(str(path), context_size=8, top_k=4, threshold=0.1)
    output = actkit.OutputSpec(tmp_path / "run")
    expected = actkit.open_run(actkit.run_feature_dataset(spec, actkit.SparseSpec(tiny, saes, output)).path)
    options: dict[str, Any] = {"context_size": 8, "top_k": 4, "activation_threshold": 0.1, "target_layer": 1}
    for number, dataset in enumerate((path, str(path), TEXTS, pd.DataFrame({"text": TEXTS}), iter(TEXTS))):
        same(actkit.create_feature_dataset(dataset, tiny, out=f"runs/{number}", **options), expected)
    assert expected.to_pandas("sequences")["chunk"].max() > 0


def test_features_are_a_matrix_of_the_table(tiny: actkit.ModelSpec) -> None:
    run = actkit.create_feature_dataset(TEXTS, tiny, out="runs/x")
    matrix, table = run.features(), run.to_pandas("features")
    assert matrix.shape == (len(table), run.facts["saes"][0]["d_sae"]) and matrix.dtype == np.float32
    for number, row in enumerate(table.itertuples()):
        own = matrix[number].toarray()[0]
        assert np.array_equal(np.flatnonzero(own), np.sort(row.feature_ids))
        assert np.array_equal(own[row.feature_ids], row.feature_activations)
    assert run.table("features").column_names == table.columns.tolist() and isinstance(run.table("tokens"), pa.Table)


@pytest.mark.slow
def test_name_and_memory_give_the_same(in_memory: Any) -> None:
    saes = Path(actkit.__file__).parent / "bundled" / "saes" / "blocks.2.hook_resid_post"
    first = actkit.create_feature_dataset(TEXTS, "tiny", sae_path=saes, out="runs/a")
    same(actkit.create_feature_dataset(TEXTS, in_memory, sae_path=saes, out="runs/b"), first)


def test_of_a_large_data_set_no_more_is_taken_than_is_read(tiny: actkit.ModelSpec) -> None:
    taken = []

    def endless() -> Any:
        while True:
            taken.append(1)
            yield TEXTS[0]

    run = actkit.create_feature_dataset(endless(), tiny, max_examples=3, out="runs/x")
    assert run.facts["counts"]["written"] == len(taken) == 3


def test_without_out_a_run_has_the_commands_name_and_the_time(tiny: actkit.ModelSpec) -> None:
    run = actkit.create_feature_dataset(TEXTS[:1], tiny)
    assert run.path.parent == Path("runs") and run.path.name.startswith("feature-dataset-2")


@pytest.mark.parametrize(
    ("dataset", "options", "error", "says"),
    [
        ("missing.jsonl", {}, InputError, "missing.jsonl"),
        ([], {}, RunError, "no records"),
        ([" "], {}, RunError, "nothing was kept"),
        ([{"other": "One."}], {}, RunError, "nothing was kept"),
        ([{"text": object()}], {}, UsageError, "cannot be written as JSON"),
        (TEXTS, {"target_layer": 0}, actkit.ActkitError, "0"),
        (TEXTS, {"sae_release": "no-such-release"}, actkit.ActkitError, "no-such-release"),
    ],
)
def test_errors_say_what_to_do(
    tiny: actkit.ModelSpec, dataset: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        actkit.create_feature_dataset(dataset, tiny, out="runs/x", **options)
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint
    assert not Path("runs/x").exists()


def test_an_sae_id_needs_its_release(in_memory: Any) -> None:
    with pytest.raises(UsageError, match="sae_id layer_2 without sae_release") as caught:
        actkit.create_feature_dataset(TEXTS, in_memory, sae_id="layer_2")
    assert caught.value.hint


@pytest.mark.slow
def test_texts_at_hand_stay_beside_a_run_that_is_kept_and_its_config_is_replayed(
    tiny: actkit.ModelSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without them the `config.yaml` of such a run named a file in a temporary folder, or none at all."""
    run = actkit.create_feature_dataset(TEXTS, tiny, target_layer=2, top_k=3, out="runs/x")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["x", "x.input.jsonl"]
    status, out, err = called(capfd, "feature-dataset", "--config", "runs/x/config.yaml", "-o", "again", "-q")
    assert (status, out) == (0, "again\n"), err
    same(actkit.open_run("again"), run)
    with pytest.raises(RunError, match="exists already"):
        actkit.create_feature_dataset(["Others."], tiny, out="runs/x")
    with pytest.raises(RunError, match="nothing was kept"):
        actkit.create_feature_dataset([""], tiny, out="runs/y")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["x", "x.input.jsonl"]
    assert Path("runs/x.input.jsonl").read_text(encoding="utf-8").count("\n") == len(TEXTS)


@pytest.mark.slow
def test_an_sae_in_a_directory_is_found_when_records_are_computed_again(
    tiny: actkit.ModelSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its path was read letter by letter, and nothing of the features was computed again, with exit status 0."""
    shutil.copytree(SAES / "blocks.2.hook_resid_post", "mine")
    actkit.create_feature_dataset(TEXTS, tiny, sae_path="mine", out="runs/x")
    status, out, err = called(capfd, "verify", "runs/x", "--recompute", "2", "--json", "-q")
    again = json.loads(out)["recomputed"]
    assert status == 0 and again["not_recomputed"] == {}, err
    assert list(again["saes"]) == ["mine"] and again["saes"]["mine"]["rows"] > 10


def test_texts_stand_in_the_field_that_is_asked_for_and_chats_are_documents_too(tiny: actkit.ModelSpec) -> None:
    """Texts beside `text_field` were rejected, and so were the chats that a file may hold."""
    chat = {"messages": [{"role": "user", "content": "Hello there."}, {"role": "assistant", "content": "Hi."}]}
    run = actkit.feature_dataset(["One two."], tiny, text_field="body", out="bodies")
    assert run.facts["counts"]["written"] == 1
    assert actkit.create_feature_dataset([chat, "One two."], tiny, out="chats").facts["counts"]["written"] == 2


def test_a_document_without_a_text_is_rejected_whatever_its_fields_hold(tiny: actkit.ModelSpec) -> None:
    """An image in a record that was to be rejected ended the run: "record 0 cannot be written as JSON"."""
    chat = {"messages": [{"role": "user", "content": "Hello there."}], "image": b"\xff"}
    with pytest.warns(UserWarning, match="1 of 3 records were left out"):
        run = actkit.create_feature_dataset([{"image": object()}, chat, "One two."], tiny, out="runs/x")
    assert (run.facts["counts"]["written"], run.facts["first_rejected"].rpartition("; ")[2]) == (2, "it has image")
