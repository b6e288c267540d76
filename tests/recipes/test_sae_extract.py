"""`sae-extract`: features at the right token, equal to the SAE on the plain model, merged back without loss."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from actkit.backends import describe
from actkit.backends.saes import sae_lens as backend
from actkit.bundled import TINY
from actkit.cli.app import main
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.errors import InputError, ModelError, RunError, UsageError
from actkit.export.formats import export
from actkit.pipeline.recipe import Finished
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.saes import SaeReport, load_saes
from actkit.recipes.specs import SparseSpec
from tests.backends.saes.test_sae import saved

SAES = tuple(SaeSpec("tiny", f"blocks.{layer}.hook_resid_post") for layer in (1, 2))
SAMPLES = [
    {"prompt": "What is the capital of France?", "response": " It is Paris, of course."},
    {"prompt": "Tell me about the sea, and about ships.", "response": " The sea was calm."},
    {"prompt": "", "response": "x"},
    {"prompt": "No response here."},
]


def extracted(tmp_path: Path, samples: Any = SAMPLES, **options: Any) -> Finished:
    path = tmp_path / "in.jsonl" if isinstance(samples, list) else samples
    if isinstance(samples, list):
        tmp_path.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
    sparse = {key: options.pop(key) for key in ("saes", "layer", "hook_name", "model") if key in options}
    saes = sparse.pop("saes", SAES)
    spec = SparseSpec(
        sparse.pop("model", ModelSpec(device="cpu")),
        [replace(sae, **sparse) for sae in saes],
        OutputSpec(tmp_path / "run", overwrite=True),
    )
    return run_sae_extract(SaeExtractSpec(str(path), **options), spec)


def expected(text: str, layer: int) -> torch.Tensor:
    """[token, d_sae]: the bundled SAE on the plain Hugging Face model."""
    from transformers import AutoModelForCausalLM

    description = describe(ModelSpec(device="cpu"))
    model = AutoModelForCausalLM.from_pretrained(description.location, dtype=torch.float32)
    with torch.inference_mode():
        hidden = model(
            torch.tensor([description.tokenizer(text)["input_ids"]]), output_hidden_states=True
        ).hidden_states
        return backend.load(SAES[layer - 1], "cpu").encode(hidden[layer + 1][0])


@pytest.mark.slow
def test_only_the_last_prompt_token_is_read_and_run(tmp_path: Path) -> None:
    """Two SAEs in one pass; the features are those of the whole text's activations at that position."""
    finished = extracted(tmp_path, top_k=20)
    sequences = pd.read_parquet(finished.path / "sequences")
    features = pd.read_parquet(finished.path / "features")
    assert features.groupby("sae").size().to_dict() == {f"tiny/{sae.sae_id}": 3 for sae in SAES}
    for row in features.itertuples():
        sequence = sequences.iloc[row.sequence_id]
        answered = pd.notna(sequence["response_start"])
        assert row.position == (sequence["response_start"] if answered else sequence["n_tokens"]) - 1
        layer = 1 if "blocks.1" in row.sae else 2
        values = expected(sequence["text"], layer)[row.position]
        top = torch.topk(values, 20)
        count = min(20, int((values > 0).sum()))
        assert row.n_active == int((values > 0).sum())
        assert row.feature_ids.tolist() == top.indices[:count].tolist()
        assert row.feature_activations == pytest.approx(top.values[:count].tolist(), rel=1e-4)
    tokens = pd.read_parquet(finished.path / "tokens")
    for number, sample in ((0, SAMPLES[0]), (1, SAMPLES[1])):
        mine = tokens[(tokens["sequence_id"] == number) & (tokens["position"] < sequences["response_start"][number])]
        assert "".join(mine["token"]).removeprefix("<|bos|>") == sample["prompt"]


@pytest.mark.slow
def test_all_tokens(tmp_path: Path) -> None:
    finished = extracted(tmp_path, save_all_tokens=True)
    features = pd.read_parquet(finished.path / "features")
    sequences = pd.read_parquet(finished.path / "sequences")
    feature = features[features["sae"] == features["sae"][0]]
    assert feature.groupby("sequence_id")["position"].apply(list).tolist() == [
        list(range(n)) for n in sequences["n_tokens"]
    ]
    health = finished.facts["health"]
    assert [row["n_tokens"] for row in health] == [int((sequences["n_tokens"] - 1).sum())] * 2
    assert finished.facts["counts"] == {**finished.facts["counts"], "read": 4, "written": 3, "rejected": 1}


@pytest.mark.slow
def test_chat_reads_where_the_answer_begins(tmp_path: Path) -> None:
    finished = extracted(tmp_path, chat=True)
    tokens = pd.read_parquet(finished.path / "tokens").set_index(["sequence_id", "position"])["token"]
    features = pd.read_parquet(finished.path / "features")
    assert {tokens[row.sequence_id, row.position] for row in features.itertuples()} == {"<|assistant|>"}


@pytest.mark.slow
def test_messages_are_a_chat(tmp_path: Path) -> None:
    """A record of messages needs no prompt field: its response is the assistant's last message."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    finished = extracted(tmp_path, [{"messages": messages}, {"messages": messages[:1]}, {"messages": [3]}])
    tokens = pd.read_parquet(finished.path / "tokens").set_index(["sequence_id", "position"])["token"]
    features = pd.read_parquet(finished.path / "features")
    assert {tokens[row.sequence_id, row.position] for row in features.itertuples()} == {"<|assistant|>"}
    assert pd.read_parquet(finished.path / "rejected")["field"].tolist() == ["messages[0]"]


def test_the_layer_chooses_the_sae_and_must_agree_with_it(tmp_path: Path) -> None:
    finished = extracted(tmp_path, saes=(SaeSpec("tiny"),), layer=1)
    assert finished.facts["hook_points"] == ["blocks.1.hook_resid_post"]
    with pytest.raises(UsageError, match=r"target_layer 3 was given, but tiny/blocks.1.hook_resid_post reads blocks.1"):
        extracted(tmp_path, saes=SAES[:1], layer=3)
    with pytest.raises(UsageError, match="no SAE for layer 0"):
        extracted(tmp_path, saes=(SaeSpec("tiny"),), layer=0)
    with pytest.raises(UsageError, match="given twice"):
        extracted(tmp_path, saes=SAES[:1] * 2)


def test_an_sae_of_another_model_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    """d_in ≠ d_model and a layer out of range name the model that the SAE was trained on (TRAPS 25)."""
    wide = saved("standard", tmp_path / "wide", d_in=64, model_name="gpt2-small")
    with pytest.raises(ModelError, match="reads 64 numbers a token, but tiny has d_model 192; it was trained on gpt2"):
        extracted(tmp_path, saes=(SaeSpec(path=str(wide)),))
    deep = saved("standard", tmp_path / "deep", d_in=192, hook_name="blocks.20.hook_resid_post")
    with pytest.raises(ModelError, match="layers 0 to 3"):
        extracted(tmp_path, saes=(SaeSpec(path=str(deep)),))


@pytest.mark.slow
def test_odd_pairings_are_warned_about(tmp_path: Path) -> None:
    """An SAE of another model that happens to fit, and one that explains nothing, are used and said (TRAPS 21, 23)."""
    odd = saved("standard", tmp_path / "odd", d_in=192, model_name="some-base-model")
    finished = extracted(tmp_path, SAMPLES * 10, saes=(SaeSpec(path=str(odd)),), save_all_tokens=True)
    warnings = " ".join(finished.facts["warnings"])
    assert "odd was trained on some-base-model, but the model is tiny" in warnings
    assert "explains less than nothing" in warnings
    assert extracted(tmp_path, SAMPLES * 10, save_all_tokens=True).facts["warnings"] == []


@pytest.mark.parametrize(
    ("folder", "saved_as", "said"),
    [
        ("models--me--some-base-model/snapshots/0123", None, None),
        ("mine", "me/some-base-model", None),
        ("some-base-model", None, None),
        ("mine", None, "odd was trained on some-base-model; whether {} is that model, its files do not say"),
        ("mine", "me/other", "odd was trained on some-base-model, but the model is {}, saved as me/other"),
    ],
)
def test_a_directory_is_not_said_to_be_another_model_for_its_name(
    folder: str, saved_as: str | None, said: str | None, tmp_path: Path
) -> None:
    model = tmp_path / folder
    shutil.copytree(TINY, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | ({"_name_or_path": saved_as} if saved_as else {})))
    odd = saved("standard", tmp_path / "odd", d_in=192, model_name="some-base-model")
    report = SaeReport(load_saes([SaeSpec(path=str(odd))], "cpu"), describe(ModelSpec(str(model), device="cpu")))
    assert [text for text in report.warnings if "trained on some" in text] == ([said.format(model)] if said else [])


def test_contexts_longer_than_the_sae_knows_are_warned_about(tmp_path: Path) -> None:
    """The warning names both lengths (TRAPS 23); what is read at position 9 has a context of 10."""
    short = saved("standard", tmp_path / "short", d_in=192, context_size=10)
    known = saved("standard", tmp_path / "known", d_in=192, context_size=400)
    finished = extracted(tmp_path, saes=(SaeSpec(path=str(short)), SaeSpec(path=str(known))), save_all_tokens=True)
    longest = int(pd.read_parquet(finished.path / "sequences")["n_tokens"].max())
    assert longest > 10
    assert finished.facts["warnings"] == [f"short was trained on contexts of 10 tokens, and read up to {longest}"]


DOCUMENT = {
    "experiment": {"seed": 3},
    "results": [
        {
            "question_id": "q1",
            "extra": [1, {"deep": True}],
            "variations": [
                {"template_type": "plain", "prompt": "What is a plum?", "response": " A fruit.", "score": 0.5},
                {"template_type": "polite", "prompt": "Please, what is a plum?", "response": " A fruit, dear sir."},
            ],
        },
        {"question_id": "q2", "variations": [{"template_type": "plain", "prompt": " ", "response": "nothing"}]},
    ],
}


def test_a_document_comes_back_with_features_and_nothing_lost(tmp_path: Path) -> None:
    """Every field of the input stays; a run for another layer joins the first; a failing sample says why."""
    source, merged = tmp_path / "in.json", tmp_path / "out" / "merged.json"
    source.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    for layer in ("1", "2"):
        arguments = ["sae-extract", str(source), "--target-layer", layer, "--top-k", "5", "--merge-into", str(merged)]
        with pytest.raises(SystemExit) as done:
            main([*arguments, "-o", str(tmp_path / f"run{layer}"), "-q", "--device", "cpu"])
        assert done.value.code == 0
    found = json.loads(merged.read_text(encoding="utf-8"))
    assert sorted(found.pop("sae_extraction_metadata")) == ["layer_1", "layer_2"]
    slots = [variation.pop("sae_activations") for result in found["results"] for variation in result["variations"]]
    assert found == DOCUMENT
    for slot in slots:
        assert sorted(slot) == ["layer_1", "layer_2"]
    good = slots[0]["layer_2"]
    assert good["status"] == "success" and good["answer_start_position"] < good["total_tokens"]
    assert list(good["activations"]) == ["last_token"]
    top = good["activations"]["last_token"]["top_k_features"]
    table = pd.read_parquet(tmp_path / "run2" / "features").iloc[0]
    assert [row["id"] for row in top] == table["feature_ids"].tolist()
    assert [row["activation"] for row in top] == pytest.approx(table["feature_activations"].tolist())
    assert good["activations"]["last_token"]["num_active_features"] == table["n_active"] >= len(top)
    assert slots[2]["layer_1"]["status"] == "error: empty"
    sequences = pd.read_parquet(tmp_path / "run1" / "sequences")
    assert sequences["group"].tolist() == ["q1", "q1"] and sequences["label"].tolist() == ["plain", "polite"]


def test_the_prompts_of_a_document_are_its_variations_whatever_its_results_have_beside_them(tmp_path: Path) -> None:
    """A question that all variations word anew was run in their place; a file may have a line for each result."""
    beside = {"question": "What is a plum?", "category": "fruit"}
    results = [{**beside, **result} for result in DOCUMENT["results"]]
    document = extracted(tmp_path, [{**DOCUMENT, "results": results}])
    lines = extracted(tmp_path / "lines", results)
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps({**DOCUMENT, "results": results}), encoding="utf-8")
    file = extracted(tmp_path / "file", whole)
    for finished in (document, lines, file):
        rows = pd.read_parquet(finished.path / "sequences")
        assert list(rows["text"]) == ["What is a plum? A fruit.", "Please, what is a plum? A fruit, dear sir."]
        assert list(rows["group"]) == ["q1", "q1"] and list(rows["label"]) == ["plain", "polite"]
        assert finished.facts["counts"] == {**finished.facts["counts"], "read": 3, "rejected": 1}


def test_what_a_result_says_of_all_its_variations_stands_before_each(tmp_path: Path) -> None:
    results = [{"system_prompt": "Be brief.", "variations": [SAMPLES[0], {**SAMPLES[0], "system_prompt": "Be long."}]}]
    rows = pd.read_parquet(extracted(tmp_path, results, chat=True).path / "sequences")
    assert ["Be brief." in text for text in rows["text"]] == [True, False]
    with pytest.raises(RunError, match="system_prompt stands in a chat template only"):
        extracted(tmp_path, results)


def test_merging_into_another_documents_output_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, merged = tmp_path / "in.json", tmp_path / "merged.json"
    source.write_text(json.dumps(DOCUMENT))
    other = json.loads(json.dumps(DOCUMENT))
    other["results"][0]["variations"][0]["prompt"] = "Another question"
    merged.write_text(json.dumps(other))
    with pytest.raises(SystemExit) as done:
        main(["sae-extract", str(source), "--merge-into", str(merged), "-o", str(tmp_path / "run")])
    assert done.value.code == 1
    assert "other prompts or responses" in capsys.readouterr().err
    assert json.loads(merged.read_text()) == other


@pytest.mark.slow
def test_the_registry_can_be_searched(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["saes", "gemma-2-2b canonical layer_12/width_16k", "--ids", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"gemma-scope-2b-pt-res-canonical"} <= {row["release"] for row in rows}
    assert {row["sae_id"] for row in rows} == {"layer_12/width_16k/canonical"}
    with pytest.raises(SystemExit):
        main(["saes", "tiny", "--ids"])
    assert "blocks.2.hook_resid_post" in capsys.readouterr().out


def test_two_saes_of_one_layer_stand_beside_each_other_in_a_document(tmp_path: Path) -> None:
    from actkit.export.merged_json import merge

    twin = saved("standard", tmp_path / "twin", hook_name="blocks.2.hook_resid_post", d_in=192, neuronpedia_id="tiny/2")
    finished = extracted(tmp_path, [SAMPLES[0]], saes=(SAES[1], SaeSpec(path=str(twin))))
    document: dict[str, Any] = {"results": [{"variations": [dict(SAMPLES[0])]}]}
    merge(finished.path, document, finished.facts)
    slots = document["results"][0]["variations"][0]["sae_activations"]
    assert set(slots) == {"layer_2 tiny/blocks.2.hook_resid_post", "layer_2 twin"}
    about = document["sae_extraction_metadata"]
    assert about["layer_2 twin"]["neuronpedia"] == "https://neuronpedia.org/tiny/2"
    assert about["layer_2 tiny/blocks.2.hook_resid_post"]["neuronpedia"] is None


@pytest.mark.slow
def test_a_second_sae_of_a_layer_does_not_replace_the_first_one_in_a_document(tmp_path: Path) -> None:
    """Nor does it matter which came first; the same SAE again replaces its own."""
    from actkit.export.merged_json import merge

    twin = SaeSpec(path=str(saved("standard", tmp_path / "twin", hook_name="blocks.2.hook_resid_post", d_in=192)))
    document: dict[str, Any] = {"results": [{"variations": [dict(SAMPLES[0])]}]}
    for saes in ((SAES[1],), (twin,), (SAES[1],)):
        finished = extracted(tmp_path, [SAMPLES[0]], saes=saes)
        merge(finished.path, document, finished.facts)
    about = document["sae_extraction_metadata"]
    assert {key: row["sae"] for key, row in about.items()} == {
        "layer_2": "tiny/blocks.2.hook_resid_post",
        "layer_2 twin": "twin",
    }
    slots = document["results"][0]["variations"][0]["sae_activations"]
    assert set(slots) == set(about)
    finished = extracted(tmp_path, [SAMPLES[0]], saes=(twin,))
    top = slots["layer_2 twin"]["activations"]["last_token"]["top_k_features"]
    assert [row["id"] for row in top] == pd.read_parquet(finished.path / "features")["feature_ids"][0].tolist()


def test_a_run_over_fewer_records_leaves_no_features_of_an_older_one_under_its_name(tmp_path: Path) -> None:
    from actkit.export.merged_json import merge

    both = [{**SAMPLES[0], "sae_activations": None}, dict(SAMPLES[1])]
    document: dict[str, Any] = {"results": [{"variations": both}]}
    for samples, top_k in ((SAMPLES[:2], 50), (SAMPLES[:1], 3)):
        finished = extracted(tmp_path, samples, saes=SAES[1:], top_k=top_k)
        merge(finished.path, document, finished.facts)
    assert len(both[0]["sae_activations"]["layer_2"]["activations"]["last_token"]["top_k_features"]) == 3
    assert "layer_2" not in both[1]["sae_activations"]
    assert document["sae_extraction_metadata"]["layer_2"]["samples"] == 1


def test_a_response_field_that_no_record_has_is_an_error_and_not_no_response(tmp_path: Path) -> None:
    for samples in (SAMPLES, [DOCUMENT]):
        with pytest.raises(InputError, match="no record has a field answr") as raised:
            extracted(tmp_path, samples, response_field="answr")
        assert "response" in raised.value.hint
    other = [{"prompt": "A", "answer": " B"}, {"prompt": "C"}]
    finished = extracted(tmp_path, other, response_field="answer")
    assert pd.read_parquet(finished.path / "sequences")["text"].tolist() == ["A B", "C"]


def test_without_a_response_there_is_no_response_start_and_a_document_says_where_it_would_begin(tmp_path: Path) -> None:
    from actkit.export.merged_json import merge

    samples = [SAMPLES[0], {"prompt": "No response here."}, {"prompt": "None yet.", "response": ""}]
    finished = extracted(tmp_path, samples, saes=SAES[:1])
    sequences = pd.read_parquet(finished.path / "sequences")
    assert sequences["response_start"].isna().tolist() == [False, True, True]
    document: dict[str, Any] = {"results": [dict(sample) for sample in samples]}
    merge(finished.path, document, finished.facts)
    slots = [result["sae_activations"]["layer_1"] for result in document["results"]]
    assert [slot["answer_start_position"] == slot["total_tokens"] for slot in slots] == [False, True, True]
    exported = json.loads(export(finished.path, "json", tmp_path / "x.json").read_text(encoding="utf-8"))
    made = [variation for result in exported["results"] for variation in result["variations"]]
    assert [row["sae_activations"]["layer_1"] for row in made] == slots
    assert [(row["prompt"], row.get("response")) for row in made] == [
        (SAMPLES[0]["prompt"], SAMPLES[0]["response"]),
        ("No response here.", None),
        ("None yet.", None),
    ]


def test_how_texts_begin_is_warned_about_where_the_saes_differ_or_there_is_no_bos(tmp_path: Path) -> None:
    """TRAPS 22."""
    twin = saved("standard", tmp_path / "twin", hook_name="blocks.2.hook_resid_post", d_in=192, prepend_bos=False)
    finished = extracted(tmp_path, [SAMPLES[0]], saes=(SAES[1], SaeSpec(path=str(twin))))
    said = [warning for warning in finished.facts["warnings"] if "begin" in warning]
    assert len(said) == 1 and "twin without" in said[0] and "tiny/blocks.2.hook_resid_post with" in said[0]
    finished = extracted(tmp_path, [SAMPLES[0]], saes=(SaeSpec(path=str(twin)),))
    assert not [warning for warning in finished.facts["warnings"] if "begin" in warning]
    about = describe(ModelSpec(device="cpu"))
    without = replace(about, tokenizer=SimpleNamespace(bos_token_id=None))  # type: ignore[arg-type]
    said = SaeReport([backend.load(SAES[1], "cpu")], without).warnings
    assert len(said) == 1 and "begin with BOS" in said[0] and "has none" in said[0]


def test_a_record_with_a_field_of_results_is_a_record_and_not_lost(tmp_path: Path) -> None:
    samples = [{**SAMPLES[0], "results": []}, {**SAMPLES[1], "results": [{"prompt": "no"}]}]
    finished = extracted(tmp_path, samples, saes=SAES[:1])
    assert finished.facts["counts"]["read"] == finished.facts["counts"]["written"] == 2
    texts = pd.read_parquet(finished.path / "sequences")["text"].tolist()
    assert texts == [sample["prompt"] + sample["response"] for sample in SAMPLES[:2]]


def test_features_are_not_merged_into_variations_with_other_texts_whatever_their_fields_names(tmp_path: Path) -> None:
    from actkit.export.merged_json import merge

    finished = extracted(tmp_path, [{"q": "What is a plum?"}], saes=SAES[:1], prompt_field="q")
    facts = {**finished.facts, "options": {"prompt_field": "q"}}
    for question, fits in (("What is a plum?", True), ("What is a pear?", False)):
        document: dict[str, Any] = {"results": [{"q": question}]}
        if fits:
            merge(finished.path, document, facts)
            assert "layer_1" in document["results"][0]["sae_activations"]
            continue
        with pytest.raises(InputError, match="record 0 has other texts"):
            merge(finished.path, document, facts)
        assert document == {"results": [{"q": question}]}
