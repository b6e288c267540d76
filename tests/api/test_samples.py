"""What a caller has at hand, as a command reads it: samples of a document, feedback, SAEs, and files or texts."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actkit.api.command_call import file_of, location_asked, make_from, path_of
from actkit.api.feedback_data import FeedbackDataLoader, feedback_of
from actkit.api.rewards import SAEFeatureExtractor
from actkit.api.samples import Result, as_json, load_samples_from_json, save_results_to_json
from actkit.config import SaeSpec
from actkit.errors import InputError, UsageError
from actkit.recipes.sae_choice import sae_specs
from actkit.runs.run import Run

DOCUMENT: dict[str, Any] = {
    "about": "x",
    "results": [
        {"question_id": 7, "variations": [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}]},
        {"question_id": 8, "prompt": "e", "response": "f"},
    ],
}


def put(folder: Path, value: Any, name: str = "x.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_samples_of_a_document_have_what_their_result_says(tmp_path: Path) -> None:
    found = load_samples_from_json(put(tmp_path, DOCUMENT))
    assert [(each["question_id"], each["prompt"]) for each in found] == [(7, "a"), (7, "c"), (8, "e")]
    assert all("variations" not in each for each in found)
    assert found["results"] == DOCUMENT["results"] and found == DOCUMENT and found[0]["response"] == "b"
    assert repr(found) == "Samples(3 samples of 2 results)"
    rows = [{"prompt": "a", "response": "b"}]
    assert load_samples_from_json(put(tmp_path, rows))["results"] == rows
    assert load_samples_from_json(put(tmp_path, '{"prompt": "a"}\n{"prompt": "b"}\n', "x.jsonl"))[1]["prompt"] == "b"


@pytest.mark.parametrize(
    "result", [{"variations": [{"prompt": "a", "response": "b"}]}, {"prompt": "a", "response": "b"}]
)
def test_what_stands_beside_the_results_is_kept_whatever_they_hold(tmp_path: Path, result: dict[str, Any]) -> None:
    """Results with a question and a category looked like the records of a file, and the rest of it was lost."""
    document = {"about": "x", "results": [{"question": "q", "category": "c", **result}]}
    found = load_samples_from_json(put(tmp_path, document))
    assert found == document and found[0]["prompt"] == "a" and found[0]["category"] == "c"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([["a"]], "not an object with fields"),
        ([DOCUMENT, DOCUMENT], "holds several documents of results"),
        ("[{", "x.json:1"),
    ],
)
def test_what_is_no_sample(tmp_path: Path, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=r".") as error:
        load_samples_from_json(put(tmp_path, value))
    assert says in error.value.message


def result(layer: int = 2, value: float = 1.0) -> Result:
    slot = {"activations": [value], "status": "ok"}
    return Result({f"layer_{layer}": slot}, {f"layer_{layer}": {"sae": "s"}})


def test_results_go_into_their_document_in_order(tmp_path: Path) -> None:
    original = put(tmp_path, DOCUMENT)
    found = [result(value=float(number)) for number in range(3)]
    out = save_results_to_json(
        original_json_path=original, extraction_results=found, output_json_path=tmp_path / "new" / "y.json"
    )
    made = json.loads(out.read_text())
    slots = [made["results"][0]["variations"][0], made["results"][0]["variations"][1], made["results"][1]]
    assert [slot["sae_activations"]["layer_2"]["activations"] for slot in slots] == [[0.0], [1.0], [2.0]]
    assert made["about"] == "x" and json.loads(original.read_text()) == DOCUMENT
    again = save_results_to_json(original_json_path=out, extraction_results=[result(layer=3)], output_json_path=out)
    both = json.loads(again.read_text())["results"][0]["variations"][0]["sae_activations"]
    assert set(both) == {"layer_2", "layer_3"}, "beside what is there"
    assert found[0]["activations"] == [0.0] and Result({}, {}) == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "where to?"),
        ({"results": 3, "path": "y"}, "these are no results of extract"),
        ({"extraction_results": [], "path": "y"}, "results of which document?"),
        (
            {"original_json_path": "x.json", "extraction_results": [result()] * 4, "path": "y"},
            "4 results for the 3 samples",
        ),
        (
            {"original_json_path": "x.json", "extraction_results": [{}], "path": "y"},
            "dict is no result of extract_batch",
        ),
        (
            {
                "original_json_path": "x.json",
                "extraction_results": [result()],
                "path": "y",
                "config": SimpleNamespace(target_layer=5),
            },
            "the results are of layer_2, not of layer 5",
        ),
        ({"results": {"a": {1}}, "path": "y"}, "cannot be written as JSON"),
    ],
)
def test_results_that_do_not_belong_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, DOCUMENT)
    with pytest.raises(UsageError) as error:
        save_results_to_json(**given)
    assert says in error.value.message and not Path("y").exists()


def test_half_a_character_is_spelled_as_json_has_it() -> None:
    assert as_json({"a": "ü"}).decode() == '{\n  "a": "ü"\n}\n'
    assert as_json({"a": "\ud83d"}) == b'{\n  "a": "\\ud83d"\n}\n'


def test_feedback_from_lists_sides_and_files(tmp_path: Path) -> None:
    data = FeedbackDataLoader.from_lists(["a", "b"], [1, 0], groups=["x", "y"], scores=[0.5, None])
    assert list(data) == [
        {"text": "a", "feedback": 1, "group": "x", "score": 0.5},
        {"text": "b", "feedback": 0, "group": "y", "score": None},
    ]
    assert (len(data), data[1]["text"], data.fields.score) == (2, "b", "score")
    assert [row["feedback"] for row in FeedbackDataLoader.from_sides(["a"], ["b", "c"])] == [
        "positive",
        "negative",
        "negative",
    ]
    rows = [{"text": "a", "feedback": 1, "score": 2}, {"text": "b", "feedback": 0, "score": 1}]
    loaded = FeedbackDataLoader().load_from_json(put(tmp_path, rows))
    assert list(loaded) == rows and loaded.fields.score == "score" and len(loaded) == 2
    assert list(loaded.get_batch(1)) == rows[:1] and len(FeedbackDataLoader.example()) == 400
    named = FeedbackDataLoader.from_file(put(tmp_path, rows), text_field="text", positive=["1"], negative=["0"])
    assert (named.fields.text, named.fields.positive) == ("text", ("1",)) and feedback_of(named) is named
    assert list(feedback_of(put(tmp_path, rows))) == rows and list(feedback_of(rows)) == rows


def test_what_is_no_feedback_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lists of different lengths: 2 text, 1 feedback"):
        FeedbackDataLoader.from_lists(["a", "b"], [1])
    for made, says in ((FeedbackDataLoader(), "the loader is empty"), (["a"], "str is no record of feedback")):
        with pytest.raises(UsageError, match=says):
            feedback_of(made)
    with pytest.raises(UsageError, match="there are no records of feedback"):
        FeedbackDataLoader().get_batch()
    with pytest.raises(InputError):
        FeedbackDataLoader.from_file(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError):
        FeedbackDataLoader.from_lists(["a"], [1], positive=["joy"])
    bad = FeedbackDataLoader.from_file(put(tmp_path, '{"text": "a"}\n{\n', "x.jsonl"))
    with pytest.raises(InputError, match=r"x.jsonl:2") as error:
        len(bad)
    assert error.value.hint == "detect leaves it out and counts it"


class Memory:
    """An SAE of SAELens, as far as it is looked at."""

    def encode(self, x: Any) -> Any:
        return x


def test_saes_that_are_meant(tmp_path: Path) -> None:
    sae, own = Memory(), SaeSpec("r", "i")
    assert sae_specs("tiny", sae=[sae, (sae, {}, None)]) == [SaeSpec(loaded=sae)] * 2
    named = SaeSpec("r", "i")
    assert sae_specs("tiny", sae=("r", "i")) == [named] and sae_specs("tiny", sae=("r",)) == [SaeSpec("r")]
    assert sae_specs("tiny", sae=own) == [own] and sae_specs("tiny", sae=tmp_path) == [SaeSpec(path=str(tmp_path))]
    assert sae_specs("org/x", path=[tmp_path, "y"]) == [SaeSpec(path=str(tmp_path)), SaeSpec(path="y")]
    assert [spec.sae_id for spec in sae_specs("org/x", "r", ["a", "b"])] == ["a", "b"]
    assert sae_specs("tiny") and sae_specs("tiny", layer=2)[0].release == "tiny"
    with pytest.raises(UsageError):
        sae_specs("org/x")


@pytest.mark.parametrize(
    ("given", "is_text", "expected"),
    [
        (Path("x"), True, "x"),
        ("x.jsonl", False, "x.jsonl"),
        (["a"], False, None),
        ("a text", True, None),
        ("word", True, None),
        ("two\nlines.jsonl", True, None),
        ("here.txt", True, "here.txt"),
        ("s3://bucket/x", True, "s3://bucket/x"),
        ("https://example.org/x.jsonl", True, "https://example.org/x.jsonl"),
        ("https://example.org/page", True, None),
        (".jsonl", True, None),
    ],
)
def test_a_path_or_a_text(
    given: Any, is_text: bool, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("x")
    assert file_of(given, is_text) == expected


def test_a_path_of_a_file_that_is_not_there_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.jsonl: no such file") as error:
        file_of("gone.jsonl", is_text=True)
    assert "given in a list: [text]" in error.value.hint


def test_a_run_without_a_place_is_in_a_folder_that_goes_where_it_fails(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output": tmp_path / "x"}
    with location_asked(None, False, options) as place:
        assert place.output.out == tmp_path / "x" and options == {}
    with location_asked(None, False, {}) as place:
        written = Path(path_of([{"text": "a"}], place))
        assert json.loads(written.read_text().splitlines()[0]) == {"text": "a"}
    folder = place.output.out.parent
    assert folder.exists(), "until Python ends"
    shutil.rmtree(folder)
    with pytest.raises(ZeroDivisionError), location_asked(None, False, {}) as other:
        raise ZeroDivisionError
    assert not other.output.out.parent.exists()


def test_a_run_made_of_another_gets_its_changes(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    seen: list[Any] = []

    def make(path: Path, output: Any, changes: Any, _on_progress: Any) -> Any:
        seen.append((path, changes))
        return SimpleNamespace(path=path)

    run = Run(six_runs["concept"])
    with location_asked(tmp_path / "x", False, {}) as place:
        found = make_from(make, run, place, {"layers": [1, 2], "seed": 3})
        make_from(make, str(run.path), place, {})
    assert seen == [(run.path, {"layers": "1,2", "seed": 3}), (run.path, {})] and found.path == run.path


def test_pooled_features_have_a_row_a_text_in_their_order() -> None:
    extractor = SAEFeatureExtractor(layer=2, device="cpu")
    assert extractor.model.name == "tiny" and extractor.model.device == "cpu" and extractor.sae[0].release == "tiny"
    found = extractor.extract(["Thank you!", "This is wrong.", "Thank you!"]).toarray()
    assert found.shape[0] == 3 and np.array_equal(found[0], found[2]) and not np.array_equal(found[0], found[1])
    assert (found >= 0).all() and found.any(axis=1).all()
    with pytest.raises(InputError):
        extractor.extract(["fine", ""])
