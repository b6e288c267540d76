"""What is chosen, and what is said of it."""

from typing import Any

import numpy as np
import pytest

from actkit.analysis.steering.effects import Made, effect_rows
from actkit.analysis.steering.samples import Changes, Measured
from actkit.analysis.steering.verdict import choose, is_shown, spelled, verdict

ROW: dict[str, Any] = {
    "metric": "answers",
    "effect": 0.29,
    "low": 0.15,
    "high": 0.43,
    "p_value": 1 / 21,
    "control_low": -0.12,
    "control_high": 0.05,
    "n_controls": 20,
    "share_right": 0.77,
    "delta_nll": 0.04,
    "expected": 1,
}


def test_an_effect_in_words() -> None:
    assert verdict(ROW, 0.1) == (
        "moves answers by +.29 nats a token (.15 to .43); chance −.12 to +.05; 77 % of prompts; costs .04 nats"
    )
    words = {
        **ROW,
        "metric": "words",
        "effect": -0.36,
        "low": -0.43,
        "high": -0.28,
        "control_low": -0.2,
        "expected": -1,
    }
    assert verdict(words, 0.1).startswith(
        "moves positive words against negative ones by −.36 nats (−.43 to −.28); chance"
    )
    assert verdict({**ROW, "delta_nll": 0.3}, 0.1).endswith("costs .30 nats, over the budget of .10")
    assert verdict({**ROW, "delta_nll": -0.2}, 0.1).endswith("; costs nothing")


@pytest.mark.parametrize(
    "other",
    [
        {"low": -0.01},
        {"p_value": 2 / 21},
        {"control_high": 0.3},
        {"effect": -0.29, "low": -0.43, "high": -0.15},
        {"n_controls": 0, "p_value": None, "control_low": np.nan, "control_high": np.nan},
        {"low": None, "high": None},
    ],
)
def test_what_is_not_shown(other: dict[str, Any]) -> None:
    assert is_shown(ROW) and not is_shown({**ROW, **other})
    assert verdict({**ROW, **other}, 0.1).startswith("not shown: ")


def test_of_what_was_chosen_the_layers_that_were_tried_count() -> None:
    assert is_shown({**ROW, "p_chosen": 1 / 21}) and not is_shown({**ROW, "p_chosen": 2 / 21})
    line = verdict({**ROW, "p_chosen": 2 / 21}, 0.1)
    assert line.startswith("not shown: +.29") and line.endswith(
        "; p = .10 among all layers and methods that were tried"
    )
    assert "among" not in verdict({**ROW, "p_chosen": 2 / 21, "low": -0.1}, 0.1), "another reason is enough"


def test_too_few_controls_are_named() -> None:
    row = {**ROW, "n_controls": 10, "p_value": 1 / 11}
    assert verdict(row, 0.1).endswith("10 controls are too few for p ≤ 0.05")


def test_numbers_as_in_a_text() -> None:
    assert [spelled(number) for number in (0.29, -0.047, 1.5, 0.001, None)] == [".29", "−.05", "1.50", "0", "unknown"]
    assert spelled(0.3, sign=True) == "+.30"


def candidate(layer: int, strength: float, gain: float, **more: Any) -> dict[str, Any]:
    row = {"layer": layer, "strength": strength, "effect": gain, "effect_minus_control": gain, "error": 0.05}
    return {**row, "is_control": False, "split": "validation", "within_budget": True, "expected": 1, **more}


def test_the_largest_effect_within_the_budget_is_chosen() -> None:
    rows = [candidate(5, 2.0, 0.3), candidate(5, 4.0, 0.9, within_budget=False), candidate(6, 2.0, 0.2)]
    assert choose(rows, 10) is rows[0]
    assert choose([rows[1]], 10) is None


def test_an_earlier_layer_within_one_standard_error_is_preferred() -> None:
    rows = [candidate(3, 1.0, 0.24), candidate(3, 2.0, 0.26), candidate(5, 2.0, 0.3), candidate(1, 2.0, 0.2)]
    assert choose(rows, 10) is rows[1]


def test_late_layers_controls_test_rows_and_negative_strengths_do_not_choose() -> None:
    good = candidate(4, 1.0, 0.1)
    others = [
        candidate(8, 1.0, 0.9),
        candidate(4, 1.0, 0.9, is_control=True),
        candidate(4, 2.0, 0.9, split="test"),
        candidate(4, -2.0, -0.9, expected=-1),
    ]
    assert choose([good, *others], 10) is good
    assert choose([others[-1]], 10) is others[-1], "where no strength is above zero"


def made(number: int, strength: float, is_control: bool, group: int = 0) -> Made:
    expected = int(np.sign(strength))
    return Made(number, "add", 3, "mean-diff", strength, is_control, group, expected, ("m",))


def test_rows_of_effects_worked_out_by_hand() -> None:
    """Two prompts in two stems; the intervention moves answers by +1 and +3, its controls by 0 and -1 on average."""
    change = np.array(
        [  # unsteered, strength 1, strength 2, two controls of strength 1
            [0.0, 0.5, 1.0, 0.0, -1.0],
            [0.0, 1.0, 2.0, 0.0, -1.0],
            [0.0, -0.5, -1.0, 0.0, 0.0],
            [0.0, -2.0, -4.0, 0.0, 0.0],
        ]
    )
    answers = Changes(
        "answers", "test", np.array([0, 1, 0, 1]), np.array([1, 1, -1, -1]), np.array([0, 1, 0, 1]), change
    )
    cost = np.array([[0.0, 0.02, 0.3, 0.0, 0.0], [0.0, 0.04, 0.5, 0.0, 0.0]])
    neutral = Changes("cost", "neutral", np.array([2, 3]), np.ones(2, dtype=np.int64), np.array([2, 3]), cost)
    measured = Measured([answers, neutral], np.array([0.0, 0.1, 0.2, 0.3, 0.4]))
    several = [made(1, 1.0, False), made(2, 2.0, False, 1), made(3, 1.0, True), made(4, 1.0, True)]
    first, second, control, _ = effect_rows(measured, several, 0.1)
    assert (first["effect"], first["delta_positive"], first["delta_negative"]) == (2.0, 0.75, -1.25)
    assert first["effect_minus_control"] == 2.5 and (first["control_low"], first["control_high"]) == (-1.0, 0.0)
    assert first["p_value"] == 1 / 3 and first["n_controls"] == 2 and np.isnan(second["p_value"])
    assert first["share_right"] == 1.0 and first["n"] == first["n_stems"] == 2
    assert first["slope"] == pytest.approx(2.0) and first["anti_steerable"] == 0.0
    assert first["delta_nll"] == pytest.approx(0.03) and first["within_budget"] and not second["within_budget"]
    assert first["kl"] == 0.1 and control["is_control"] and np.isnan(control["p_value"])
    assert first["q_value"] == 1 / 3
