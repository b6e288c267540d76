"""Comparing stored numbers with the same computed again: what is rounding and what is not, on an SAE made by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from actkit.backends.saes.sae import Sae
from actkit.hooks import HookPoint
from actkit.pipeline.recipe import Pooling
from actkit.schemas import arrow_schema
from actkit.verify.recompute.differences import Features, Tolerance, Vectors, relative, tolerance
from actkit.verify.recompute.features import Cut, compare_pooled, compare_token, flips, pooled_vector, positions_pooled
from actkit.verify.recompute.stored import StoredSequence

TOLERANCE = Tolerance(1e-3, 5e-3)
Stored = tuple[list[int], list[float], int]


def jump(thresholds: list[float]) -> Sae:
    """A JumpReLU SAE whose features are the coordinates of its input."""
    least = torch.tensor(thresholds)
    n = len(thresholds)

    def encode(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > least, x, torch.zeros(()))

    return Sae(
        "hand", HookPoint(0, "hook_resid_post"), n, n, "jumprelu", encode, lambda _x, features: features @ torch.eye(n)
    )


def compared(x: list[float], stored: Stored, thresholds: list[float], cut: Cut | None = None) -> Features:
    """One token's stored features against those of `x`."""
    seen = Features(TOLERANCE)
    sae = jump(thresholds)
    values = sae.encode(torch.tensor(x)[None])[0].numpy()
    ids, activations, n_active = stored
    own = np.array(ids, dtype=np.int32), np.array(activations, dtype=np.float32), n_active
    compare_token(seen, sae, torch.tensor(x), values, own, cut or Cut(), "here")
    return seen


def test_equal_features_are_identical() -> None:
    seen = compared([3.0, 0.0, 2.0, 0.5], ([0, 2], [3.0, 2.0], 2), [1.0] * 4)
    assert (seen.n, seen.identical, seen.members, seen.common, seen.worst, seen.problems("x")) == (1, 1, 2, 2, 0.0, [])


def test_the_error_is_the_norm_of_the_difference_over_the_norm_found_again() -> None:
    seen = compared([3.0, 4.0], ([1, 0], [4.0, 3.05], 2), [0.0] * 2)
    assert seen.worst == pytest.approx(0.05 / 5.0, rel=1e-5)
    assert seen.problems("x") and seen.n_wrong == 0


def test_a_feature_at_its_own_threshold_is_rounding_and_one_far_from_it_is_not() -> None:
    near = compared([3.0, 1.0 - 1e-3], ([0, 1], [3.0, 1.001], 2), [0.0, 1.0])
    assert not near.problems("x") and (near.identical, near.members, near.common) == (0, 2, 1)
    far = compared([3.0, 1.0 - 1e-2], ([0, 1], [3.0, 1.001], 1), [0.0, 1.0])
    assert far.problems("x") and far.wrong == ["here: feature 1 is stored, but not active when encoded again"]
    missing = compared([3.0, 1.0 + 1e-2], ([0], [3.0], 2), [0.0, 1.0])
    assert missing.problems("x") and missing.wrong == ["here: feature 1 is not stored, but 1.01 when encoded again"]
    assert not compared([3.0, 1.0 + 1e-3], ([0], [3.0], 1), [0.0, 1.0]).problems("x")


def test_a_made_up_feature_that_is_the_smallest_stored_is_no_rounding() -> None:
    assert compared([3.0, 2.0, 0.0], ([0, 1, 2], [3.0, 2.0, 0.01], 3), [0.0] * 3).problems("x") == [], (
        "so close to zero"
    )
    assert compared([3.0, 2.0, 0.0], ([0, 1, 2], [3.0, 2.0, 0.5], 3), [0.0, 0.0, 0.4]).problems("x")


def test_ties_at_the_end_of_top_k_are_rounding_and_others_are_not() -> None:
    cut = Cut(top_k=2)
    assert not compared([3.0, 2.0, 2.001], ([0, 1], [3.0, 2.0005], 3), [0.0] * 3, cut).problems("x")
    seen = compared([3.0, 2.0, 2.5], ([0, 1], [3.0, 2.0], 3), [0.0] * 3, cut)
    assert seen.problems("x") and "feature 2 is not stored, but 2.5 when encoded again" in "".join(seen.wrong)


def test_a_feature_that_another_pushes_out_of_top_k_by_rounding_is_rounding_too() -> None:
    cut = Cut(top_k=2)
    seen = compared([3.0, 0.5, 2.0005], ([0, 1], [3.0, 0.5], 2), [0.0, 0.0, 2.0], cut)
    assert not seen.problems("x"), seen.wrong
    assert compared([3.0, 0.5, 2.5], ([0, 1], [3.0, 0.5], 2), [0.0, 0.0, 2.0], cut).problems("x")


def test_features_about_a_runs_own_threshold_are_rounding() -> None:
    cut = Cut(threshold=1.0)
    assert not compared([3.0, 1.001], ([0], [3.0], 2), [0.0] * 2, cut).problems("x")
    assert compared([3.0, 1.1], ([0], [3.0], 2), [0.0] * 2, cut).problems("x")
    assert compared([3.0, 0.9], ([0, 1], [3.0, 0.9], 2), [0.0] * 2, cut).problems("x")


def test_the_number_of_active_features_is_compared() -> None:
    assert compared([3.0, 2.0, 1.0], ([0], [3.0], 5), [0.0] * 3, Cut(top_k=1)).wrong == [
        "here: n_active is 5, but 3 are active"
    ]
    assert compared([3.0, 2.0, 1.0], ([0], [3.0], 2), [0.0] * 3, Cut(top_k=1)).problems("x"), (
        "none is near its threshold"
    )
    assert not compared([3.0, 2.0, 1e-3], ([0], [3.0], 2), [0.0] * 3, Cut(top_k=1)).problems("x"), (
        "one is at its threshold"
    )


def test_flips_needs_a_direction_and_a_change_within_the_tolerance() -> None:
    sae = jump([0.0, 1.0])
    assert flips(sae, torch.tensor([0.0, 1.0005]), 1, 1e-3) and not flips(sae, torch.tensor([0.0, 1.1]), 1, 1e-3)
    without = Sae("w", sae.hook_point, 2, 2, "jumprelu", sae.encode, lambda _x, features: features * 0.0)
    assert not flips(without, torch.tensor([0.0, 1.0005]), 1, 1e-3)
    shown = replace(without, weights={"W_enc": torch.eye(2)})
    assert flips(shown, torch.tensor([0.0, 1.0005]), 1, 1e-3), "an encoder is looked at first"
    transcoder = replace(sae, reconstruct=None)
    assert flips(transcoder, torch.tensor([0.0, 1.0005]), 1, 1e-3)


def test_what_is_no_number_is_infinitely_far() -> None:
    assert relative(np.array([0.0, 1.0, np.nan, 1.0]), np.array([0.0, 2.0, 1.0, 0.0])).tolist() == [
        0.0,
        0.5,
        np.inf,
        np.inf,
    ]
    seen = Vectors(1e-5)
    seen.compare(np.array([[1.0, np.nan]]), np.array([[1.0, 2.0]]), ["here"])
    assert seen.problems("x") and seen.where == "here"


def test_the_vector_that_is_furthest_off_is_named() -> None:
    seen = Vectors(1e-2)
    again = np.array([[3.0, 4.0], [0.3, 0.4], [3.0, 4.0]])
    seen.compare(again + np.array([[0.0, 0.0], [0.0, 0.004], [0.0, 0.02]]), again, ["a", "b", "c"])
    assert (seen.n, seen.where) == (3, "b") and seen.worst == pytest.approx(0.008) and not seen.problems("x")


def pooled_row(ids: list[int], values: list[float], positions: list[int]) -> pa.Table:
    row = {
        "sequence_id": 0,
        "sae": "hand",
        "feature_ids": ids,
        "feature_activations": values,
        "feature_positions": positions,
    }
    return pa.Table.from_pylist([row], schema=arrow_schema("pooled_features"))


@pytest.mark.parametrize(
    ("pool", "values"),
    [("max", [4.0, 3.0]), ("mean", [2.5, 1.5]), ("sum", [5.0, 3.0])],
)
def test_pooled_features_are_those_of_the_positions_that_were_read(pool: str, values: list[float]) -> None:
    x = torch.tensor([[1.0, 3.0], [4.0, 0.0]])
    seen = Features(TOLERANCE)
    compare_pooled(seen, jump([0.0, 0.0]), x, np.array([7, 9]), pooled_row([0, 1], values, [9, 7]), pool, "here")  # type: ignore[arg-type]
    assert not seen.problems("x") and seen.identical == 1, seen.wrong
    other = Features(TOLERANCE)
    compare_pooled(other, jump([0.0, 0.0]), x, np.array([7, 9]), pooled_row([0, 1], values, [7, 7]), pool, "here")  # type: ignore[arg-type]
    assert other.wrong == ["here: feature 0 is not strongest at position 7"]


def test_a_pooled_feature_is_rounding_only_where_each_of_its_positions_is() -> None:
    x = torch.tensor([[3.0, 1.0005], [3.0, 1.5]])
    for thresholds, fails in (([0.0, 1.0], True), ([0.0, 1.4999], False)):
        seen = Features(TOLERANCE)
        compare_pooled(seen, jump(thresholds), x, np.array([0, 1]), pooled_row([0], [3.0], [0]), "max", "here")
        assert bool(seen.problems("x")) is fails, seen.wrong
    seen = Features(TOLERANCE)
    compare_pooled(
        seen, jump([0.0, 1.0]), x, np.array([0, 1]), pooled_row([0, 1, 1], [3.0, 1.5, 1.0], [0, 1, 5]), "max", "x"
    )
    assert seen.problems("x"), "position 5 was not read"


def test_a_pooled_vector_is_the_mean_in_double_precision() -> None:
    x = torch.tensor([[1e8, 1.0], [1.0, 2.0], [-1e8, 3.0]])
    assert pooled_vector(x)[0] == pytest.approx([1 / 3, 2.0])


def sequence(n_kept: int, start: int | None, roles: list[str | None], special: list[bool]) -> StoredSequence:
    row = {"sequence_id": 0, "record_id": 0, "response_start": start, "n_kept": n_kept}
    return StoredSequence(row, np.arange(len(roles)), np.array(special), tuple(roles), pa.table({}))


def test_pooled_positions_are_the_answers_and_must_be_as_many_as_n_kept() -> None:
    roles = ["user", "user", "template", "assistant", "assistant", "template"]
    special = [True, False, True, False, False, True]
    pooling = Pooling("max", False)
    found = positions_pooled(pooling, sequence(2, 3, [*roles], special))
    assert found is not None and found.tolist() == [3, 4]
    assert positions_pooled(pooling, sequence(3, 3, [*roles], special)) is None
    whole = positions_pooled(pooling, sequence(3, None, [*roles], special))
    assert whole is not None and whole.tolist() == [1, 3, 4]
    last = positions_pooled(Pooling("last"), sequence(2, 3, [*roles], special))
    assert last is not None and last.tolist() == [4]


def test_float16_on_disk_allows_its_rounding_and_another_attention_its_difference() -> None:
    assert tolerance("float32", "float32", True).vectors == 5e-5
    assert tolerance("float32", "float16", True).vectors == pytest.approx(5e-5 + 2**-11)
    assert tolerance("float32", "float32", False).vectors == 1e-3
    assert tolerance("bfloat16", "float32", False) == tolerance("bfloat16", "float32", True)
    rows = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    error = relative(np.linalg.norm(rows.astype(np.float16) - rows, axis=1), np.linalg.norm(rows, axis=1))
    assert error.max() < 2**-11
