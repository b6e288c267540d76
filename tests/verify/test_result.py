"""What comes of records that were computed again: problems in words, figures as plain values."""

import json

import numpy as np

from actkit.verify.recompute.differences import Recomputed, Tolerance


def result() -> Recomputed:
    return Recomputed(Tolerance(1e-3, 5e-3))


def test_nothing_looked_at_is_no_problem_and_no_share() -> None:
    found = result()
    found.features_of("sae")
    assert found.problems == []
    assert found.facts()["saes"]["sae"] == {
        "rows": 0,
        "worst_error": 0.0,
        "tolerance": 5e-3,
        "identical": None,
        "common": None,
    }


def test_a_record_that_goes_on_in_the_next_shard_is_one() -> None:
    found = result()
    for record in (0, 0, 3, 3, 3, 0):
        found.count(record)
    assert found.records == 3


def test_a_vector_that_is_further_off_than_allowed_is_named_with_its_place() -> None:
    found = result()
    fine = np.array([[1.0, 0.0]])
    found.vectors_of("a").compare(fine, fine, ["here"])
    found.vectors_of("b").compare(fine * 1.5, fine, ["there"])
    assert found.problems == ["b is 5.00e-01 off the plain model, at there; 1e-03 is allowed"]
    assert found.vectors_of("a") is found.vectors["a"]
    assert found.facts()["hook_points"]["b"] == {"vectors": 1, "worst_error": 0.5, "tolerance": 1e-3, "where": "there"}


def test_a_figure_that_is_no_number_is_a_problem() -> None:
    found = result()
    found.vectors_of("a").compare(np.array([[np.nan]]), np.array([[1.0]]), ["here"])
    assert found.problems == ["a is inf off the plain model, at here; 1e-03 is allowed"]
    found.vectors.clear()
    found.features_of("sae").count({1}, {1}, float("nan"), "there")
    assert found.problems == ["activations of sae are nan off, at there; 5e-03 is allowed"]


def test_features_that_differ_are_named_the_first_three_and_the_others_counted() -> None:
    found = result()
    seen = found.features_of("sae")
    seen.count({1, 2}, {1, 3}, 0.01, "token 4")
    for number in range(5):
        seen.differs(f"feature {number} is not there")
    assert found.problems == [
        "activations of sae are 1.00e-02 off, at token 4; 5e-03 is allowed",
        *(f"sae: feature {number} is not there (and 2 more)" for number in range(3)),
    ]
    about = found.facts()["saes"]["sae"]
    assert (about["rows"], about["identical"], about["common"]) == (1, 0.0, 1 / 3)


def test_other_faults_come_first_and_texts_last_and_all_is_json() -> None:
    found = result()
    found.others.append("another model")
    found.texts.count(same=False, what="record 3: token 1 is 2")
    found.texts.count(same=True, what="")
    found.features_of("sae").differs("x")
    assert found.problems == ["another model", "sae: x", "text and token ids of record 3: token 1 is 2"]
    facts = json.loads(json.dumps(found.facts()))
    assert facts["problems"] == found.problems and facts["texts"] == {"sequences": 2, "same": 1, "not_defined": 0}
