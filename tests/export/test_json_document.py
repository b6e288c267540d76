"""json: the document that merging makes, whatever the input's format, and reward-detect's ranking."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import actkit
from actkit.errors import RunError
from actkit.export.formats import export
from actkit.export.merged_json import merge, read_document
from tests.export.conftest import ANSWERS, CPU, SAES, lines, shards

DOCUMENT = {
    "title": "answers",
    "results": [
        {
            "question_id": "q1",
            "topic": "cities",
            "variations": [
                {
                    "template_type": "plain",
                    "prompt": "What is the capital of France?",
                    "response": " Paris.",
                    "by": "me",
                },
                {"template_type": "polite", "prompt": "Please, what is it?", "response": ""},
            ],
        },
        {"question_id": "q2", "variations": [{"prompt": "", "response": "x"}, "no object"]},
        {"question_id": "q3", "prompt": "And the sea?", "response": " In 🌊 waves."},
        {"question_id": "q4", "variations": []},
        {"question_id": "q5", "variations": [{"prompt": "A last one.", "response": " Good."}]},
    ],
    "more": [1, 2],
}


def extracted(
    path: Path | str, out: Path, saes: Any = SAES, max_records: int | None = None, per_shard: int = 2, **options: Any
) -> Path:
    spec = actkit.SparseSpec(
        CPU, saes, actkit.OutputSpec(out, max_records=max_records), actkit.BatchSpec(shard_sequences=per_shard)
    )
    return actkit.run_sae_extract(actkit.SaeExtractSpec(str(path), **options), spec).path


def exported(run: Path, out: Path, **options: Any) -> Any:
    return json.loads(export(run, "json", out, **options).read_text(encoding="utf-8"))


def document_in(folder: Path) -> Path:
    path = folder / "answers.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return path


@pytest.mark.quick(1)
@pytest.mark.parametrize(("whole", "per_shard"), [(False, 2), (True, 2), (False, 100)])
def test_a_document_gets_what_merging_puts_into_it(tmp_path: Path, whole: bool, per_shard: int) -> None:
    """With rejected records at the end of a shard, and between others of one."""
    path = document_in(tmp_path)
    run = extracted(path, tmp_path / "run", per_shard=per_shard, save_all_tokens=whole, top_k=5)
    assert shards(run, "features") == (1 if per_shard == 100 else 2)
    expected = read_document(path)
    merge(run, expected, json.loads((run / "run.json").read_text(encoding="utf-8")))
    found = exported(run, tmp_path / "x.json")
    # What is no object cannot be added to; both leave it as it is.
    assert found == expected
    assert found["results"][0]["variations"][0]["by"] == "me" and found["more"] == [1, 2]
    assert found["results"][1]["variations"][0]["sae_activations"]["layer_1"]["status"].startswith("error: ")


def test_another_layer_joins_the_first(tmp_path: Path) -> None:
    path = document_in(tmp_path)
    first = exported(extracted(path, tmp_path / "one", SAES[:1]), tmp_path / "answers2.json")
    second = exported(extracted(tmp_path / "answers2.json", tmp_path / "two", SAES[1:]), tmp_path / "x.json")
    slots = second["results"][0]["variations"][0]["sae_activations"]
    assert list(slots) == ["layer_1", "layer_2"] == list(second["sae_extraction_metadata"])
    assert slots["layer_1"] == first["results"][0]["variations"][0]["sae_activations"]["layer_1"]


def test_fewer_records_than_the_document_has(tmp_path: Path) -> None:
    run = extracted(document_in(tmp_path), tmp_path / "run", max_records=2)
    found = exported(run, tmp_path / "x.json")
    assert "sae_activations" in found["results"][0]["variations"][1]
    assert found["results"][1:] == DOCUMENT["results"][1:]  # type: ignore[index]


def test_a_document_that_has_changed_is_not_mixed_with_the_run(tmp_path: Path) -> None:
    path = document_in(tmp_path)
    run = extracted(path, tmp_path / "run")
    path.write_text(path.read_text(encoding="utf-8").replace("And the sea?", "And the fog?"), encoding="utf-8")
    notes: list[str] = []
    found = exported(run, tmp_path / "x.json", on_note=notes.append)
    assert len(notes) == 1 and "no longer what was read" in notes[0]
    prompts = [variation.get("prompt") for result in found["results"] for variation in result["variations"]]
    assert "And the sea?" in prompts and "And the fog?" not in prompts


def check_records(run: Path, found: Any, whole: bool) -> None:
    """The features of every written record, as the tables have them."""
    sequences, features = pd.read_parquet(run / "sequences"), pd.read_parquet(run / "features")
    variations = {
        variation["record_id"]: variation for result in found["results"] for variation in result["variations"]
    }
    assert sorted(variations) == list(range(len(ANSWERS)))
    for sequence in sequences.itertuples():
        own = variations[sequence.record_id]
        assert own["prompt"] + own.get("response", "") == sequence.text
        for layer in (1, 2):
            rows = features[
                (features["sequence_id"] == sequence.sequence_id) & features["sae"].str.contains(f"s.{layer}.")
            ]
            slot = own["sae_activations"][f"layer_{layer}"]
            assert slot["total_tokens"] == sequence.n_tokens and slot["status"] == "success"
            keys = [f"token_{position}" for position in rows["position"]] if whole else ["last_token"]
            assert list(slot["activations"]) == keys
            for key, row in zip(keys, rows.itertuples(), strict=True):
                top = slot["activations"][key]["top_k_features"]
                assert [row["id"] for row in top] == row.feature_ids.tolist()
                assert [row["activation"] for row in top] == row.feature_activations.tolist()
                assert slot["activations"][key]["num_active_features"] == row.n_active


@pytest.mark.quick(1)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_records_become_results(tmp_path: Path, form: str, whole: bool) -> None:
    if form == "csv":
        path = tmp_path / "in.csv"
        pd.DataFrame(ANSWERS).to_csv(path, index=False)
    else:
        path = Path(lines(tmp_path / "in.jsonl", ANSWERS))
    run = extracted(path, tmp_path / "run", save_all_tokens=whole, top_k=6)
    path.unlink()
    found = exported(run, tmp_path / "x.json")
    check_records(run, found, whole)
    first = found["results"][0]
    assert first["question_id"].startswith("7") and [
        variation["template_type"] for variation in first["variations"]
    ] == [
        "plain",
        "polite",
    ]
    assert (first["variations"][0]["prompt"], first["variations"][0]["response"]) == (
        "What is the capital of France?",
        " Paris.",
    )
    [rejected] = found["results"][1]["variations"]
    assert rejected["record_id"] == 2 and rejected["sae_activations"]["layer_2"]["status"].startswith("error: ")


def test_a_token_across_the_boundary_is_flagged(tmp_path: Path) -> None:
    run = extracted(lines(tmp_path / "in.jsonl", ANSWERS), tmp_path / "run")
    merged = pd.read_parquet(run / "sequences").set_index("record_id")["boundary_merged"]
    assert merged[3] and not merged[5]
    found = exported(run, tmp_path / "x.json")
    flags = {
        variation["record_id"]: variation.get("boundary_merged", False)
        for result in found["results"]
        for variation in result["variations"]
    }
    assert [number for number, flag in flags.items() if flag] == [3]


@pytest.mark.slow
def test_a_run_made_without_recorded_options_knows_whether_all_tokens_were_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "in.jsonl", ANSWERS)
    for whole in (False, True):
        spec = actkit.SparseSpec(CPU, SAES, actkit.OutputSpec(tmp_path / f"run{whole}"))
        run = actkit.run_sae_extract(actkit.SaeExtractSpec(path, save_all_tokens=whole), spec).path
        found = exported(run, tmp_path / f"{whole}.json")
        check_records(run, found, whole)
        assert found["sae_extraction_metadata"]["layer_1"]["save_all_tokens"] == whole


@pytest.mark.slow
def test_the_ranking_of_feedback_is_copied_with_its_configuration(reward_run: Path, tmp_path: Path) -> None:
    found = exported(reward_run, tmp_path / "x.json")
    assert found["features"] and found == json.loads((reward_run / "reward_features.json").read_text(encoding="utf-8"))
    assert (tmp_path / "x.yaml").read_bytes() == (reward_run / "config.yaml").read_bytes()
    (reward_run / "config.yaml").rename(reward_run / "away")
    notes: list[str] = []
    exported(reward_run, tmp_path / "y.json", on_note=notes.append)
    (reward_run / "away").rename(reward_run / "config.yaml")
    assert not (tmp_path / "y.yaml").exists() and "no config.yaml" in notes[0]


def test_a_run_without_its_ranking_is_refused(reward_run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_bytes((reward_run / "run.json").read_bytes())
    with pytest.raises(RunError, match="no reward_features"):
        export(tmp_path / "run", "json", tmp_path / "x.json")


@pytest.mark.slow
def test_a_second_sae_of_a_layer_stands_beside_the_first_one(tmp_path: Path) -> None:
    path = document_in(tmp_path)
    first = exported(extracted(path, tmp_path / "one", SAES[:1]), tmp_path / "answers2.json")
    first["sae_extraction_metadata"]["layer_1"]["sae"] = "another"
    for result in first["results"]:  # as hand-made documents have it
        result["sae_activations"] = result.get("sae_activations")
    (tmp_path / "answers2.json").write_text(json.dumps(first), encoding="utf-8")
    name = "layer_1 tiny/blocks.1.hook_resid_post"
    run = extracted(tmp_path / "answers2.json", tmp_path / "two", SAES[:1])
    second = exported(run, tmp_path / "x.json")
    assert {key: row["sae"] for key, row in second["sae_extraction_metadata"].items()} == {
        "layer_1": "another",
        name: "tiny/blocks.1.hook_resid_post",
    }
    assert list(second["results"][0]["variations"][0]["sae_activations"]) == ["layer_1", name]
    merge(run, first, json.loads((run / "run.json").read_text(encoding="utf-8")))
    assert second == first


@pytest.mark.slow
def test_beyond_the_last_record_nothing_of_an_older_run_stays_under_the_same_name(tmp_path: Path) -> None:
    path = document_in(tmp_path)
    exported(extracted(path, tmp_path / "one", SAES[:1]), tmp_path / "answers2.json")
    run = extracted(tmp_path / "answers2.json", tmp_path / "two", SAES[:1], max_records=1)
    places = exported(run, tmp_path / "x.json")["results"][0]["variations"]
    assert [list(place["sae_activations"]) for place in places] == [["layer_1"], []]
