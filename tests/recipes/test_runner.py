"""The one way from specs to a run: what can be wrong is found before weights are loaded; a `Job` has what was asked."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import actkit
from actkit.backends import describe
from actkit.bundled import SAES
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.errors import ModelError, RunError, UsageError
from actkit.hooks import HookPoint
from actkit.recipes import capture, runner
from actkit.recipes.runner import ingredients, with_features
from actkit.recipes.saes import load_saes

CPU = ModelSpec(device="cpu")
SAE = SaeSpec("tiny", "blocks.1.hook_resid_post")
TEXTS = actkit.CaptureSpec(("One two.",))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"layers": "9"}, UsageError, "9"),
        ({"hook_points": ("hook_nothing",)}, ModelError, "hook_nothing"),
        ({"saes": [SaeSpec("tiny", "blocks.9.hook_resid_post")]}, UsageError, "blocks.9"),
        ({"saes": [SAE, SAE]}, UsageError, "was given twice"),
    ],
)
def test_what_is_wrong_is_found_before_weights_are_loaded(
    change: dict[str, Any], error: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "extract", lambda *_: pytest.fail("it was run"))
    dense = replace(actkit.DenseSpec(CPU, OutputSpec(tmp_path / "run"), "1"), **change)
    with pytest.raises(error, match=says):
        actkit.run_capture(TEXTS, dense)
    assert not list(tmp_path.iterdir())


def test_two_directories_of_one_name_are_two_saes_that_tables_cannot_tell_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name / "sae" for name in ("a", "b")]
    for path, layer in zip(paths, (1, 2), strict=True):
        shutil.copytree(SAES / f"blocks.{layer}.hook_resid_post", path)
    dense = actkit.DenseSpec(CPU, OutputSpec(tmp_path / "run"), "1", saes=[SaeSpec(path=str(path)) for path in paths])
    with pytest.raises(UsageError, match="two SAEs are called sae") as caught:
        actkit.run_capture(TEXTS, dense)
    assert "rename one of the directories" in caught.value.hint


def test_a_run_in_the_way_is_found_before_an_sae_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = actkit.DenseSpec(CPU, OutputSpec(tmp_path / "run"), "1")
    actkit.run_capture(TEXTS, dense)
    monkeypatch.setattr(runner, "load_saes", lambda *_: pytest.fail("SAEs were loaded"))
    with pytest.raises(RunError, match="exists already"):
        actkit.run_capture(TEXTS, dense)


def test_features_beside_vectors_are_a_table_more_and_its_cut_a_rule() -> None:
    description = describe(CPU)
    points = [HookPoint(2, "hook_resid_post")]
    plain = capture.recipe(TEXTS, ingredients(description, points=points))
    assert set(plain.reducers) == {"activations"} and plain.health == {}
    made = replace(ingredients(description, load_saes([SAE], "cpu"), points), top_k=7)
    whole = with_features(plain, made)
    assert set(whole.reducers) == {"activations", "features"} and list(whole.health) == [
        "tiny/blocks.1.hook_resid_post"
    ]
    assert (plain.rules.top_k, whole.rules.top_k) == (None, 7) and set(whole.stored) >= {"features"}


@pytest.mark.parametrize(
    ("run", "spec"),
    [
        (actkit.run_sae_extract, actkit.SaeExtractSpec("samples.jsonl")),
        (actkit.run_reward_detect, actkit.RewardDetectSpec()),
    ],
)
def test_a_command_of_features_without_an_sae_says_so(run: Any, spec: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no SAE is asked for"):
        run(spec, actkit.SparseSpec(CPU, [], OutputSpec(tmp_path / "run")))
