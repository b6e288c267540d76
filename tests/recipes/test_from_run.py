"""`--from RUN` makes, without a model, the tables that a fresh run with the same options makes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actkit.backends.hooked import HuggingFaceModel
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.errors import RunError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.recipes import concept as of_concept
from actkit.recipes import reward_detect
from actkit.recipes.concept import ConceptSpec, choose_again, run_concept
from actkit.recipes.from_run import check_changes
from actkit.recipes.reward_detect import RewardDetectSpec, ScoreSettings, rank_again, run_reward_detect
from actkit.recipes.specs import DenseSpec, SparseSpec
from actkit.runs.reader import parts
from actkit.verify.tables.run import verify
from tests.command_line import Run

SAE = SaeSpec("tiny", "blocks.2.hook_resid_post")
NOT_COMPARED = ("out",)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    wordings = (("Thank you for {}.", "positive"), ("{} was bad.", "negative"))
    records = [
        {"text": wording.format(f"the {thing} {number}"), "label": label, "group": f"{thing}{number}"}
        for thing in ("soup", "letter", "garden", "map", "song", "boat")
        for number in range(4)
        for wording, label in wordings
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def rewarded(texts: Path, out: Path, listed: int = 10, **scores: Any) -> Finished:
    spec = RewardDetectSpec(
        str(texts), scores=ScoreSettings(**{"draws": 200, "null_draws": 100, **scores}), top_k=listed
    )
    return run_reward_detect(spec, SparseSpec(ModelSpec(device="cpu"), (SAE,), OutputSpec(out)))


def contrasted(texts: Path, out: Path, layers: str, seed: int, saes: tuple[SaeSpec, ...] = (SAE,)) -> Finished:
    pairs = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines()]
    file = texts.with_name("pairs.jsonl")
    rows = ({"positive": good, "negative": bad} for good, bad in zip(pairs[::2], pairs[1::2], strict=True))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dense = DenseSpec(ModelSpec(device="cpu"), OutputSpec(out), layers, saes=saes)
    return run_concept(ConceptSpec(str(file), seed=seed), dense)


@pytest.fixture(scope="module")
def ranked(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return rewarded(texts, tmp_path_factory.mktemp("ranked") / "run")


@pytest.fixture(scope="module")
def concept(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return contrasted(texts, tmp_path_factory.mktemp("concept") / "run", "1,2", 0)


def assert_same(again: Finished, fresh: Finished, to_the_byte: bool = True) -> None:
    """Every table has the same bytes; the facts differ in place and time alone."""
    assert list(again.facts["tables"]) == list(fresh.facts["tables"])
    for table in fresh.facts["tables"]:
        for old, new in zip(parts(again.path, table), parts(fresh.path, table), strict=True):
            assert pq.read_table(old).equals(pq.read_table(new), check_metadata=True), table
            assert not to_the_byte or old.read_bytes() == new.read_bytes(), table
    for name in ("statistics", "scores", "concept", "hook_points", "health", "counts", "rules", "detected", "saes"):
        assert again.facts.get(name) == fresh.facts.get(name), name
    for name in ("options", "fingerprint"):
        own, other = ({k: v for k, v in run.facts[name].items() if k not in NOT_COMPARED} for run in (again, fresh))
        assert own == other
    assert set(again.facts) - set(fresh.facts) == {"made_from"}
    assert verify(again.path, deep=True).problems == []


@pytest.mark.slow
def test_a_ranking_is_a_fresh_run_s(ranked: Finished, texts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    changes = {"q": 0.2, "held_out": 0.5, "seed": 7, "correlation_threshold": 0.1, "listed": 3}
    fresh = rewarded(texts, tmp_path / "fresh", **changes)
    monkeypatch.setattr(HuggingFaceModel, "run", None)
    again = rank_again(ranked.path, OutputSpec(tmp_path / "again"), changes)
    assert_same(again, fresh)
    names = ("features", "reward_features", "statistics", "warnings")
    documents = [json.loads((run.path / "reward_features.json").read_text()) for run in (again, fresh)]
    assert all(documents[0][name] == documents[1][name] for name in names) and len(documents[0]["features"]) == 3
    assert again.facts["made_from"]["run"] == str(ranked.path)
    assert again.facts["scores"]["data"] != ranked.facts["scores"]["data"]  # it is another ranking than the source's
    assert rank_again(again.path, OutputSpec(tmp_path / "third"), {}).facts["made_from"]["made_from"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"seed": 5}, {"layers": "2", "seed": 1}])
def test_directions_are_a_fresh_run_s(
    concept: Finished, texts: Path, tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = contrasted(texts, tmp_path / "fresh", **{"layers": "1,2", **changes})
    monkeypatch.setattr(HuggingFaceModel, "run", None)
    again = choose_again(concept.path, OutputSpec(tmp_path / "again"), changes)
    assert_same(again, fresh, to_the_byte="layers" not in changes)


@pytest.mark.slow
def test_what_needs_the_model_is_refused_by_name(
    ranked: Finished, concept: Finished, tmp_path: Path, actkit: Run
) -> None:
    said = {
        ("reward-detect", "--pool", "mean"): "--pool mean needs the model again",
        ("reward-detect", "--model", "other/model"): "--model other/model needs the model or the input again",
        ("reward-detect", "other.jsonl"): "--data other.jsonl needs the model or the input again",
        ("reward-detect", "--verify", "3"): "--verify beside --from",
        ("reward-detect", "--shard", "0/2"): "--shard beside --from: no record is read",
        ("concept", "--shard", "0/2"): "--shard beside --from: no record is read",
        ("concept", "--layers", "0,2"): "no activations of blocks.0.hook_resid_post",
        ("concept", "--positions", "all"): "--positions all needs",
    }
    for (command, *options), message in said.items():
        run = (ranked if command == "reward-detect" else concept).path
        found = actkit(command, "--from", run, *options, "-o", tmp_path / "x")
        assert found.status == 2 and message in found.err
        assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="a run of concept, not of reward-detect"):
        rank_again(concept.path, OutputSpec(tmp_path / "x"), {})
    with pytest.raises(RunError, match="is the run that is read"):
        rank_again(ranked.path, OutputSpec(ranked.path, overwrite=True), {})
    with pytest.raises(UsageError, match="layers 9"):
        choose_again(concept.path, OutputSpec(tmp_path / "x"), {"layers": "9"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 3, "pool": "max"}, None),  # the one may differ, the other does not
        ({"pool": "mean"}, "--pool mean needs the model or the input again; run was made with max"),
        ({"max_samples": 5}, "--max-samples 5 needs the model or the input again; run was made with none"),
        ({"sae": ["x", "y"]}, "--sae x, y needs the model or the input again; run was made with a, b"),
    ],
)
def test_an_option_that_may_not_differ_and_what_the_run_was_made_with(
    changes: dict[str, Any], says: str | None
) -> None:
    facts = {"options": {"pool": "max", "sae": ["a", "b"], "max_samples": None, "seed": 0}}
    if says is None:
        check_changes(changes, ("seed", "held_out"), Path("run"), facts)
        return
    with pytest.raises(UsageError) as error:
        check_changes(changes, ("seed", "held_out"), Path("run"), facts)
    assert error.value.message == says
    assert error.value.hint is not None and error.value.hint.startswith("--from takes --seed, --held-out; for another")


@pytest.fixture
def options_of_again(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The options of a run of `concept` that is made again with some changes; nothing is computed."""
    was = {"seed": 0, "layers": "all", "hook_point": ["hook_resid_post"], "directions": True, "positions": "last"}
    about = {"options": was, "model": {"n_layers": 4}}
    monkeypatch.setattr(of_concept, "source_facts", lambda *_: about)
    monkeypatch.setattr(of_concept, "hook_points_of", lambda *_: ["blocks.1.hook_resid_post"])
    monkeypatch.setattr(of_concept, "make_again", lambda _source, _output, options, *_: options)
    return lambda **changes: choose_again(Path("run"), OutputSpec(Path("again")), changes)


def test_changes_from_python_are_held_as_a_fresh_run_holds_them(options_of_again: Callable[..., Any]) -> None:
    """A number of numpy ended in a TypeError, and a hook point that was one text was read letter by letter."""
    found = options_of_again(seed=np.int64(3), layers="1", hook_point="hook_resid_post")
    assert type(found["seed"]) is int and found["hook_point"] == ["hook_resid_post"]


@pytest.mark.parametrize("changes", [{"directions": "no"}, {"seed": "x"}, {"seed": -1}], ids=str)
def test_a_change_that_its_option_cannot_be_is_refused(
    changes: dict[str, Any], options_of_again: Callable[..., Any]
) -> None:
    """'no' counted as True, and other texts ended in a TypeError."""
    with pytest.raises(UsageError, match="is not possible"):
        options_of_again(**changes)


@pytest.mark.parametrize("table", ["pooled_features", "sequences", "shards"])
def test_a_damaged_source_is_named_and_nothing_is_left(ranked: Finished, tmp_path: Path, table: str) -> None:
    source = tmp_path / "source"
    shutil.copytree(ranked.path, source)
    path = next((source / table).iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=f"{table}/part-00000"):
        rank_again(source, OutputSpec(tmp_path / "again"), {"q": 0.2})
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_from_the_command_line(ranked: Finished, tmp_path: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTKIT_Q", "0.3")  # the environment counts where it is a setting of the ranking,
    monkeypatch.setenv("ACTKIT_DEVICE", "cpu")  # and is left aside where it is about a model
    options = ("--seed", "2", "--top-k", "3")  # the older script's name of --listed
    found = actkit("reward-detect", "--from", ranked.path, *options, "-o", tmp_path / "x.json", "--json")
    assert found.status == 0, found.err
    assert found.found["options"]["q"] == 0.3 and found.found["options"]["seed"] == 2
    assert found.found["options"]["listed"] == 3 and "top_k" not in found.found["options"]
    assert found.found["options"]["draws"] == 200  # as it was there
    assert (tmp_path / "x.json").is_file() and f"made from {ranked.path}" in found.err
    assert {*reward_detect.CHANGEABLE, *of_concept.CHANGEABLE} <= {
        *ranked.facts["options"],
        "layers",
        "hook_point",
        "directions",
    }
