"""Whole texts as one row: the pooled numbers are those of brute force, special tokens and neighbours left out."""

from typing import Any

import numpy as np
import pytest
import torch

from actkit.backends.saes.sae import Sae
from actkit.config import Pool
from actkit.errors import NonFiniteError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Kept
from actkit.pipeline.reducers import features
from actkit.pipeline.reducers.pooled import pooled_activations, pooled_features
from actkit.pipeline.reducers.sae_health import Health

POINT = HookPoint(0, "hook_resid_post")
POOLS: tuple[Pool, ...] = ("max", "mean", "last", "sum")


def kept(seed: int = 0, d: int = 7) -> Kept:
    """Three sequences, their rows mixed as batches mix them, with negative numbers and special tokens."""
    rng = np.random.default_rng(seed)
    sequences = np.repeat([5, 2, 9], [6, 1, 4])
    positions = np.concatenate([np.arange(6), [3], np.arange(2, 6)])
    special = rng.random(11) < 0.3
    special[[6, 10]] = False
    special[5] = True  # the last position of sequence 5 is special, so another one is its last
    order = rng.permutation(11)
    x = torch.from_numpy(rng.normal(size=(11, d)).round(1).astype(np.float32))
    return Kept(sequences[order], positions[order], special[order], {str(POINT): x[torch.from_numpy(order)]})


def identity(d: int = 7) -> Sae:
    return Sae("sae", POINT, d, d, "standard", torch.relu, lambda x, _: x)


def brute(part: Kept, pool: Pool, positive: bool) -> dict[int, np.ndarray[Any, Any]]:
    """sequence_id → [d] pooled."""
    x = part.activations[str(POINT)].numpy().astype(np.float64)  # type: ignore[union-attr]
    x = np.maximum(x, 0) if positive else x
    found = {}
    for sequence_id in np.unique(part.sequence_ids):
        rows = np.flatnonzero((part.sequence_ids == sequence_id) & ~part.is_special)
        rows = rows[np.argsort(part.positions[rows])]
        made = {"max": x[rows].max(0), "mean": x[rows].mean(0), "last": x[rows[-1]], "sum": x[rows].sum(0)}
        found[int(sequence_id)] = made[pool]
    return found


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("seed", range(5))
def test_pooled_features_are_brute_force(pool: Pool, seed: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the tokens are cut into chunks for encoding; a text is longer than some of them."""
    monkeypatch.setattr(features, "CHUNK_ELEMENTS", chunk * 7)
    part = kept(seed)
    table = pooled_features([identity()], pool, {"sae": Health(identity())})(part)["sae"]
    expected = brute(part, pool, positive=True)
    assert table["sequence_id"].to_pylist() == sorted(expected)
    for row in table.to_pylist():
        dense = np.zeros(7)
        dense[row["feature_ids"]] = row["feature_activations"]
        np.testing.assert_allclose(dense, expected[row["sequence_id"]], rtol=1e-6)
        pairs = list(zip([-value for value in row["feature_activations"]], row["feature_ids"], strict=True))
        assert pairs == sorted(pairs)
        for feature, position in zip(row["feature_ids"], row["feature_positions"], strict=True):
            mine = np.flatnonzero((part.sequence_ids == row["sequence_id"]) & ~part.is_special)
            if pool == "last":
                assert position == part.positions[mine].max()
                continue
            values = part.activations[str(POINT)].numpy()[mine, feature]  # type: ignore[union-attr]
            best = mine[values == values.max()]
            assert position == part.positions[best].min()


@pytest.mark.parametrize("pool", POOLS)
def test_pooled_activations_are_means_or_the_last(pool: Pool) -> None:
    part = kept(3)
    table = pooled_activations([POINT], pool)(part)[str(POINT)]
    expected = brute(part, "last" if pool == "last" else "mean", positive=False)
    for row in table.to_pylist():
        np.testing.assert_allclose(row["activation"], expected[row["sequence_id"]], rtol=1e-6)
    assert set(table["layer"].to_pylist()) == {0}


def test_a_row_does_not_depend_on_the_others() -> None:
    """TRAPS 2."""
    part = kept(1)
    whole = pooled_features([identity()], "mean", {"sae": Health(identity())})(part)["sae"].to_pylist()
    for row in whole:
        mine = np.flatnonzero(part.sequence_ids == row["sequence_id"])
        x = part.activations[str(POINT)][torch.from_numpy(mine)]  # type: ignore[index]
        alone = Kept(part.sequence_ids[mine], part.positions[mine], part.is_special[mine], {str(POINT): x})
        assert pooled_features([identity()], "mean", {"sae": Health(identity())})(alone)["sae"].to_pylist() == [row]


def test_a_text_without_an_active_feature_has_an_empty_row() -> None:
    x = -torch.ones(2, 7)
    part = Kept(np.array([4, 4]), np.array([0, 1]), np.array([True, False]), {str(POINT): x})
    rows = pooled_features([identity()], "max", {"sae": Health(identity())})(part)["sae"].to_pylist()
    assert rows == [
        {"sequence_id": 4, "sae": "sae", "feature_ids": [], "feature_activations": [], "feature_positions": []}
    ]


@pytest.mark.parametrize(("dtype", "hint"), [("float32", "fetch the model's files"), ("bfloat16", "--dtype float32")])
def test_a_nan_names_its_sequence_and_a_way_out_that_was_not_taken_yet(dtype: str, hint: str) -> None:
    part = kept()
    x = part.activations[str(POINT)].clone().to(getattr(torch, dtype))  # type: ignore[union-attr]
    row = int(np.flatnonzero((part.sequence_ids == 9) & ~part.is_special)[0])
    x[row, 2] = torch.nan
    with pytest.raises(NonFiniteError) as raised:
        pooled_activations([POINT], "mean")(Kept(part.sequence_ids, part.positions, part.is_special, {str(POINT): x}))
    assert raised.value.sequence_id == 9
    assert hint in raised.value.hint and ("--dtype" in raised.value.hint) == (dtype != "float32")
