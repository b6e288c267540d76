"""`SAEActivationExtractor` returns the document that `sae-extract --merge-into` writes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import actkit
from actkit.cli.app import main
from actkit.errors import InputError, RunError, UsageError

DOCUMENT: dict[str, Any] = {
    "source": "by hand",
    "results": [
        {
            "question_id": 7,
            "variations": [
                {"template_type": "plain", "prompt": "What is the capital of France?", "response": " It is Paris."},
                {"template_type": "polite", "prompt": "Please, what is it?", "response": " Paris 🌊."},
            ],
        },
        {"question_id": 8, "variations": [{"template_type": "plain", "prompt": "And the sea?", "response": " Blue."}]},
    ],
}
CONFIG = actkit.ExtractionConfig("tiny", "tiny", target_layer=2, top_k=5, device="cpu")


@pytest.mark.quick(1)
@pytest.mark.parametrize("whole", [False, True])
def test_the_document_is_the_one_that_the_command_merges(tmp_path: Path, whole: bool) -> None:
    path = actkit.save_results_to_json(DOCUMENT, "in.json")
    arguments = ["sae-extract", str(path), "--model", "tiny", "--device", "cpu", "--target-layer", "2", "--top-k", "5"]
    arguments += ["--merge-into", "out.json", "-o", "run", "--quiet", *(["--save-all-tokens"] if whole else [])]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code in (0, None)
    expected = json.loads(Path("out.json").read_text(encoding="utf-8"))
    config = actkit.ExtractionConfig("tiny", "tiny", target_layer=2, top_k=5, device="cpu", save_all_tokens=whole)
    found = actkit.SAEActivationExtractor(config).extract(actkit.load_samples_from_json("in.json"))
    assert found == expected
    tokens = found["results"][0]["variations"][0]["sae_activations"]["layer_2"]["activations"]
    assert (len(tokens) > 5) if whole else (list(tokens) == ["last_token"])


@pytest.mark.slow
def test_name_handle_and_memory_give_the_same(tiny: actkit.ModelSpec, in_memory: Any) -> None:
    first, *others = (
        actkit.SAEActivationExtractor(CONFIG, model).extract(DOCUMENT) for model in (None, tiny, in_memory)
    )
    for other in others:
        assert other["results"] == first["results"]


def test_what_was_given_stays_as_it_is_and_another_layer_joins(tiny: actkit.ModelSpec) -> None:
    before = copy.deepcopy(DOCUMENT)
    first = actkit.SAEActivationExtractor(CONFIG, tiny).extract(DOCUMENT)
    assert before == DOCUMENT and first["source"] == "by hand"
    other = actkit.ExtractionConfig("tiny", "tiny", target_layer=1, top_k=5)
    both = actkit.SAEActivationExtractor(other, tiny).extract(first)
    slots = both["results"][1]["variations"][0]["sae_activations"]
    assert sorted(slots) == ["layer_1", "layer_2"] == sorted(both["sae_extraction_metadata"])
    assert slots["layer_2"] == first["results"][1]["variations"][0]["sae_activations"]["layer_2"]


def test_a_list_of_samples_is_a_document(tiny: actkit.ModelSpec) -> None:
    samples = [{"prompt": "What is red?", "response": " A rose."}, {"prompt": "", "response": "x"}]
    with pytest.warns(UserWarning, match="1 of 2 records were left out"):
        found = actkit.SAEActivationExtractor(CONFIG, tiny).extract(samples)
    good, bad = (result["sae_activations"]["layer_2"] for result in found["results"])
    features = good["activations"]["last_token"]["top_k_features"]
    values = [feature["activation"] for feature in features]
    assert good["status"] == "success" and 0 < len(values) <= 5 and values == sorted(values, reverse=True)
    assert bad["status"].startswith("error: ") and not bad["activations"]


@pytest.mark.slow
def test_a_loaded_extractor_loads_no_more_than_is_read() -> None:
    extractor = actkit.SAEActivationExtractor(CONFIG).load()
    spec = extractor._model
    assert isinstance(spec, actkit.ModelSpec) and spec.loaded is not None and len(spec.loaded[0].model.layers) == 3
    assert extractor.load()._model is spec
    assert extractor.extract(DOCUMENT)["results"] == actkit.SAEActivationExtractor(CONFIG).extract(DOCUMENT)["results"]


def test_files_come_back_as_they_were_written() -> None:
    path = actkit.save_results_to_json(DOCUMENT, "new/in.json")
    assert path == Path("new/in.json") and actkit.load_samples_from_json(path) == DOCUMENT
    assert "🌊" in path.read_text(encoding="utf-8")
    rows = [{"prompt": "One."}, {"prompt": "Two."}]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("rows.json").write_text(json.dumps(rows), encoding="utf-8")
    for name in ("rows.jsonl", "rows.json"):
        assert actkit.load_samples_from_json(name) == {"results": rows}


def test_half_a_character_is_written_as_json_spells_it() -> None:
    path = actkit.save_results_to_json({"results": ["\ud83c"]}, "x.json")
    assert json.loads(path.read_text(encoding="utf-8")) == {"results": ["\ud83c"]}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda extractor: extractor.extract("a text"), UsageError, "str is no document"),
        (lambda extractor: extractor.extract({"prompt": "x"}), UsageError, "dict is no document"),
        (lambda extractor: extractor.extract([{"prompt": object()}]), UsageError, "cannot be written as JSON"),
        (lambda extractor: extractor.extract([{"prompt": " "}]), RunError, "nothing was kept"),
        (lambda extractor: extractor.extract([]), RunError, "no records"),
        (lambda _: actkit.load_samples_from_json("missing.json"), InputError, "missing.json"),
        (lambda _: actkit.save_results_to_json({"x": object()}, "x.json"), UsageError, "cannot be written as JSON"),
    ],
)
def test_errors_say_what_to_do(tiny: actkit.ModelSpec, call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(actkit.SAEActivationExtractor(CONFIG, tiny))
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint
    assert not Path("x.json").exists()


def test_an_sae_that_is_not_known_is_an_error(tiny: actkit.ModelSpec, in_memory: Any) -> None:
    with pytest.raises(actkit.ActkitError) as caught:
        actkit.SAEActivationExtractor(actkit.ExtractionConfig("tiny", "no-such-release"), tiny).extract(DOCUMENT)
    assert caught.value.hint
    config = actkit.ExtractionConfig(sae_release=None)
    with pytest.raises(UsageError, match="no SAE given") as none:
        actkit.SAEActivationExtractor(config, in_memory).extract(DOCUMENT)
    assert none.value.hint
