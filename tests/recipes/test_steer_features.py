"""Which features `steer` acts on, what it does to them, and the controls that are matched to them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError, UsageError
from actkit.hooks import HookPoint
from actkit.recipes.steering.features import (
    Scored,
    chosen_features,
    feature_actions,
    held_out_texts,
    matched,
    scored_in,
)
from actkit.recipes.steering.spec import SteerSpec

SAE: Any = SimpleNamespace(name="tiny/1", d_in=6, hook_point=HookPoint.of("blocks.1.hook_resid_post"))


def spec_of(features: str, **options: Any) -> SteerSpec:
    return SteerSpec("runs/x", features=features, **options)


def scored(n: int = 40) -> Scored:
    """Features 100 to 100 + n: the first two respond, one way each; all others have nothing to do with the labels."""
    auroc, q = np.full(n, 0.5), np.full(n, 0.9)
    auroc[:2], q[:2] = (0.9, 0.2), 0.001
    rows = np.arange(n)
    return Scored("tiny/1", 100 + rows, auroc, q, 10.0 + rows, 1.0 + rows / n)


def written(run: Path, *saes: str) -> Path:
    """A run with `feature_scores` of some SAEs, as far as it is read."""
    (run / "feature_scores").mkdir()
    columns = {"feature_id": [7, 3], "auroc": [0.8, 0.4], "q_value": [0.01, 0.7], "n_active": [4, 9]}
    columns |= {"activation_strength": [2.0, 0.5]}
    tables = [pa.table({"sae": [sae] * 2, **columns}) for sae in saes]
    pq.write_table(pa.concat_tables(tables), run / "feature_scores" / "part-00000.parquet")
    return run


def test_the_scores_are_of_the_sae_that_is_meant(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no feature scores"):
        scored_in(tmp_path, None)
    run = written(tmp_path, "a/1", "b/2")
    found = scored_in(run, "b/2")
    assert (found.sae, found.ids.tolist(), found.strength.tolist()) == ("b/2", [7, 3], [2.0, 0.5])
    with pytest.raises(UsageError, match="which SAE") as error:
        scored_in(run, None)
    assert error.value.hint == "--sae-name: a/1, b/2"
    with pytest.raises(UsageError, match="has no SAE c/3"):
        scored_in(run, "c/3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("top:1", [100]), ("bottom:2", [101, 102]), ("top:3", [100, 102, 103]), ("104, 100,104", [104, 100])],
)
def test_features_are_named_by_rank_or_by_id(text: str, expected: list[int]) -> None:
    assert chosen_features(text, scored()) == expected


@pytest.mark.parametrize("text", ["top:0", "top:", "best", "1,x", "-3", ""])
def test_what_names_no_feature_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        chosen_features(text, scored())


def test_a_feature_without_a_score_is_refused() -> None:
    with pytest.raises(UsageError, match="no score for feature 5"):
        feature_actions(scored(), SAE, spec_of("100,5"))


def test_a_set_has_controls_of_both_kinds_and_no_two_actions_have_one_number() -> None:
    spec = spec_of("100,101", random=5, seed=3)
    model, features, *controls = actions = feature_actions(scored(), SAE, spec)
    assert [action.intervention_id for action in actions] == list(range(7)) and model.hook_point is None
    assert features.feature_ids == (100, 101) and features.values is None and not features.is_control
    assert [action.source for action in controls] == ["matched"] * 3 + ["gaussian"] * 2
    assert all(action.is_control and action.control_group == 0 and action.seed == 3 for action in controls)
    assert all(
        len(set(action.feature_ids)) == 2 and not {100, 101} & set(action.feature_ids) for action in controls[:3]
    )
    assert all(np.linalg.norm(action.vector) == pytest.approx(1) for action in controls[3:])
    again = feature_actions(scored(), SAE, spec)
    assert [action.feature_ids for action in again] == [action.feature_ids for action in actions]


@pytest.mark.parametrize(
    ("spec", "values", "expected"),
    [
        (spec_of("100"), None, -1),
        (spec_of("101"), None, 1),
        (spec_of("100", do="clamp"), (1.0,), 1),
        (spec_of("100", do="clamp:-2"), (-2.0,), -1),
        (spec_of("101", do="add", strengths="3"), (pytest.approx(3 * 1.025),), -1),
    ],
)
def test_what_an_action_sets_and_in_which_direction_it_should_move_the_answers(
    spec: SteerSpec, values: tuple[float, ...] | None, expected: int
) -> None:
    own = feature_actions(scored(), SAE, spec)[1]
    assert (own.values, own.expected, own.layer, own.sae) == (values, expected, 1, "tiny/1")


def test_each_feature_and_each_strength_is_a_group_with_controls_of_its_own() -> None:
    spec = spec_of("100,101", do="add", each=True, strengths="1,2", random=2)
    actions = feature_actions(scored(), SAE, spec)
    real = [action for action in actions[1:] if not action.is_control]
    assert [(action.feature_ids, action.strength) for action in real] == [
        ((100,), 1.0),
        ((100,), 2.0),
        ((101,), 1.0),
        ((101,), 2.0),
    ]
    controls = [action for action in actions if action.is_control]
    assert [action.control_group for action in controls] == [0, 0, 1, 1, 2, 2, 3, 3]
    first, second = (
        action.feature_ids for action in controls if action.source == "matched" and action.control_group < 2
    )
    assert first == second  # the strengths of one feature are compared with the same other feature


def test_controls_are_among_the_nearest_unrelated_features() -> None:
    found = matched(scored(), [100, 101], [100], 60, np.random.default_rng(0))
    drawn = {feature for own in found for feature in own}
    assert drawn == set(range(102, 112))
    with pytest.raises(RunError, match="too few to match 3"):
        matched(scored(4), [100], [100, 101, 102], 1, np.random.default_rng(0))


def test_the_split_is_the_runs_or_what_an_older_run_had() -> None:
    facts = {"scores": {"data": {"share_to_hold_out": 0.5}}, "options": {"seed": 4}}
    assert held_out_texts(facts) == (0.5, 4) and held_out_texts({}) == (0.3, 0)
