"""What a recipe decides of its rows survives `run.json`, and is what `verify` goes by."""

import json

import pytest

import actkit
from actkit.pipeline.recipe import Pooling, Rules
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.runner import Ingredients


@pytest.mark.parametrize("pooling", [None, Pooling("mean"), Pooling("last", special=True)])
def test_rules_are_the_same_after_run_json(pooling: Pooling | None) -> None:
    rules = Rules("never", False, 7, 0.25, pooling)
    assert Rules.of({"rules": json.loads(json.dumps(rules.plain()))}) == rules


@pytest.mark.parametrize("facts", [{}, {"rules": {}}, {"rules": {**Rules().plain(), "more": 1}}])
def test_rules_that_are_not_whole_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Rules.of(facts)


def test_each_command_states_its_rules(small_ingredients: Ingredients, pairs: str) -> None:
    """As its options ask: the chat template, the largest features, the threshold, the pooling."""
    made, never = small_ingredients, actkit.TokenSpec(bos="never")
    found = {
        "dpo": dpo.recipe(actkit.DpoSpec(pairs, chat=False, tokens=never), made),
        "capture": capture.recipe(actkit.CaptureSpec(("x",), chat=True, tokens=never), made),
        "concept": concept.recipe(actkit.ConceptSpec("honesty", positions="response-mean", chat=True), made),
        "sae-extract": sae_extract.recipe(actkit.SaeExtractSpec(pairs, top_k=3), made),
        "feature-dataset": feature_dataset.recipe(actkit.FeatureDatasetSpec(pairs, threshold=0.5, top_k=2), made),
        "reward-detect": reward_detect.recipe(actkit.RewardDetectSpec(chat=False, pool="sum"), made),
    }
    assert {name: recipe.rules for name, recipe in found.items()} == {
        "dpo": Rules("never", False),
        "capture": Rules("never", None),
        "concept": Rules("auto", True, pooling=Pooling("mean")),
        "sae-extract": Rules("auto", None, 3),
        "feature-dataset": Rules("auto", None, 2, 0.5),
        "reward-detect": Rules("auto", False, pooling=Pooling("sum")),
    }
    assert {name: recipe.unit for name, recipe in found.items() if recipe.unit != "record"} == {"concept": "pair"}


@pytest.fixture
def pairs() -> str:
    from tests.pipeline.test_extract import PAIRS

    return PAIRS


@pytest.fixture
def small_ingredients() -> Ingredients:
    from actkit.backends import describe
    from actkit.hooks import HookPoint
    from actkit.recipes.runner import ingredients
    from actkit.recipes.saes import load_saes

    saes = load_saes([actkit.SaeSpec("tiny", "blocks.1.hook_resid_post")], "cpu")
    return ingredients(describe(actkit.ModelSpec(device="cpu")), saes, [HookPoint(1, "hook_resid_post")])
