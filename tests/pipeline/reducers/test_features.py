"""Top features: exact order, honest counts, bounded memory."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actkit.backends.saes.sae import Active, Sae
from actkit.errors import ModelError, NonFiniteError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Kept
from actkit.pipeline.reducers import features as module
from actkit.pipeline.reducers import sae_health as health_module
from actkit.pipeline.reducers.features import top_features
from actkit.pipeline.reducers.sae_health import Health, levels_of

POINT = HookPoint(0, "hook_resid_post")


def looked_up(table: torch.Tensor) -> Sae:
    """An SAE whose encoding of the number i is row i of `table`."""

    def encode(x: torch.Tensor) -> torch.Tensor:
        return table[x[:, 0].long()]

    return Sae("sae", POINT, 1, table.shape[1], "standard", encode, lambda x, features: x)


def kept(n: int, special: list[int] | None = None) -> Kept:
    flags = np.zeros(n, dtype=bool)
    flags[special or []] = True
    x = torch.arange(n, dtype=torch.float32)[:, None]
    return Kept(np.arange(n), np.zeros(n, dtype=np.int64), flags, {str(POINT): x})


def reduced(table: torch.Tensor, top_k: int | None, threshold: float = 0.0) -> list[tuple[list[int], list[float], int]]:
    sae = looked_up(table)
    rows = top_features([sae], top_k, threshold, {"sae": Health(sae)})(kept(len(table)))["sae"].to_pylist()
    return [(row["feature_ids"], row["feature_activations"], row["n_active"]) for row in rows]


def test_order_ties_and_no_padding() -> None:
    """Largest first, equal ones by id, never padded with zeros; n_active counts all, before the cut."""
    table = torch.tensor([[0.0, 2.0, 5.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 3.0, 0.0]])
    assert reduced(table, 3) == [
        ([2, 1, 3], [5.0, 2.0, 2.0], 3),
        ([], [], 0),
        ([0, 1, 2], [1.0, 1.0, 1.0], 4),
        ([2], [3.0], 1),
    ]
    assert reduced(table, None, threshold=1.5)[0] == ([2, 1, 3], [5.0, 2.0, 2.0], 3)
    assert reduced(table, None, threshold=2.5)[0] == ([2], [5.0], 3)


tables = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0]), min_size=width, max_size=width), min_size=1, max_size=9
    )
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(tables, st.integers(1, 7), st.sampled_from([0.0, 0.5, 0.7]), st.integers(1, 40))
def test_it_is_sorting_by_hand(rows: list[list[float]], top_k: int, threshold: float, chunk: int) -> None:
    """Whatever the size of chunks, the same as sorting each row in Python."""
    before = module.CHUNK_ELEMENTS
    module.CHUNK_ELEMENTS = chunk
    try:
        found = reduced(torch.tensor(rows), top_k, threshold)
    finally:
        module.CHUNK_ELEMENTS = before
    for row, (ids, values, n_active) in zip(rows, found, strict=True):
        order = sorted((number for number, value in enumerate(row) if value > threshold), key=lambda n: (-row[n], n))[
            :top_k
        ]
        assert ids == order
        assert values == [row[number] for number in order]
        assert n_active == sum(value > 0 for value in row)


def test_health_is_what_numpy_says() -> None:
    """L0, explained variance and shares of silent and dense features, special tokens left out."""
    torch.manual_seed(0)
    codes, decoder = torch.relu(torch.randn(400, 30) - 1), torch.randn(30, 6)
    codes[:, 3] = 0
    codes[:, 4] = 1
    reconstruction = codes @ decoder
    x = reconstruction + torch.randn(400, 6) * torch.arange(1, 7) / 9
    flags = np.zeros(400, dtype=bool)
    flags[::10] = True
    sae = Sae(
        "sae", POINT, 6, 30, "standard", lambda part: codes[: len(part)], lambda _, found: found.to_dense() @ decoder
    )
    health = Health(sae)
    for start in range(0, 400, 64):
        plain = torch.from_numpy(~flags[start : start + 64])
        part = slice(start, start + 64)
        rows, ids = (codes[part] > 0).nonzero(as_tuple=True)
        health.count(
            x[part], Active(rows, ids, codes[part][rows, ids]), plain, torch.zeros(len(plain), dtype=torch.int64)
        )
    row = health.summary()
    used = ~flags
    error = ((x - reconstruction).numpy()[used] ** 2).sum()
    variance = ((x.numpy()[used] - x.numpy()[used].mean(0)) ** 2).sum()
    assert row["n_tokens"] == used.sum()
    assert row["l0"] == pytest.approx((codes.numpy()[used] > 0).sum(1).mean())
    assert row["explained_variance"] == pytest.approx(1 - error / variance, rel=1e-5)
    assert row["dead_fraction"] == pytest.approx(((codes.numpy()[used] > 0).sum(0) == 0).mean())
    assert row["dense_fraction"] == pytest.approx(((codes.numpy()[used] > 0).mean(0) > 0.1).mean())


def test_variance_that_an_sae_does_not_read_is_not_explained_by_it() -> None:
    """Centred, a vector has lost its mean over d_model: putting that back is no explaining."""
    torch.manual_seed(0)
    read = torch.randn(500, 6)
    read -= read.mean(1, keepdim=True)
    x = read + 10 * torch.randn(500, 1)

    def half(part: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        centre = part.mean(1, keepdim=True)
        return centre + (part - centre) / 2

    sae = Sae("sae", POINT, 6, 6, "standard", torch.relu, half, facts={"centred_input": True})
    health, none = Health(sae), torch.zeros(0, dtype=torch.int64)
    health.count(
        x, Active(none, none, torch.zeros(0)), torch.ones(500, dtype=torch.bool), torch.zeros(500, dtype=torch.int64)
    )
    assert health.summary()["explained_variance"] == pytest.approx(0.75, abs=1e-3)


def test_tokens_that_are_all_the_same_have_no_variance_to_explain() -> None:
    """What rounding leaves of it, once divided by, was printed as -367175075725901.875."""
    x = torch.full((3, 6), 0.1) * torch.arange(1, 7)
    sae = Sae("sae", POINT, 6, 6, "standard", torch.relu, lambda part, _: part * 0.9)
    health, none = Health(sae), torch.zeros(0, dtype=torch.int64)
    health.count(
        x, Active(none, none, torch.zeros(0)), torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)
    )
    health.counts.sums[0, 2] += 1e-13  # as another order of adding leaves it
    assert health.summary()["explained_variance"] is None


def counted(sae: Sae, x: torch.Tensor, contents: Any, positions: Any, cuts: list[int], order: list[int]) -> Health:
    """The health of tokens [n] in parts that end at `cuts`, each a shard of its own, put together in some order."""
    levels = torch.from_numpy(levels_of(contents, positions))
    whole = Health(sae)
    ends = [0, *cuts, len(x)]
    for number in order:
        part, here = Health(sae), slice(ends[number], ends[number + 1])
        own = x[here]
        rows, ids = (own > 0).nonzero(as_tuple=True)
        part.count(own, Active(rows, ids, own[rows, ids]), torch.ones(len(own), dtype=torch.bool), levels[here])
        whole.restore(part.end_shard())  # as it is written and read
    return whole


def test_health_is_of_the_same_tokens_in_whatever_parts_and_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which tokens are decoded is theirs alone: counts are equal, and sums but for the order of adding."""
    monkeypatch.setattr(health_module, "DECODED", 1000)
    torch.manual_seed(0)
    n = 20_000
    x = torch.randn(n, 6) * torch.arange(1, 7)
    sae = Sae("sae", POINT, 6, 6, "standard", torch.relu, lambda part, _: part * 0.6)
    contents, positions = np.repeat(np.arange(200) * 7919, 100), np.tile(np.arange(100), 200)
    draw = np.random.default_rng(0)
    whole = dict(counted(sae, x, contents, positions, [], [0]).summary())
    explained = whole.pop("explained_variance")
    assert whole["n_tokens"] == n and whole["l0"] == pytest.approx(float((x > 0).sum(1).double().mean()))
    assert n / 16 * 0.8 < whole["n_decoded"] < n / 16 * 1.2
    assert explained == pytest.approx(1 - 0.4**2, abs=1e-3)
    for _ in range(20):
        cuts = sorted(draw.choice(np.arange(1, n), size=draw.integers(1, 9), replace=False).tolist())
        order = draw.permutation(len(cuts) + 1).tolist()
        found = dict(counted(sae, x, contents, positions, cuts, order).summary())
        assert found.pop("explained_variance") == pytest.approx(explained, rel=1e-12)
        assert found == whole
    shuffled = draw.permutation(n)
    again = dict(counted(sae, x[shuffled], contents[shuffled], positions[shuffled], [7000], [0, 1]).summary())
    assert again.pop("explained_variance") == pytest.approx(explained, rel=1e-12)
    assert again == whole


def test_few_tokens_are_all_decoded_and_more_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "DECODED", 1000)
    sae = Sae("sae", POINT, 2, 2, "standard", torch.relu, lambda part, _: part)
    for n, low, high in ((1000, 1000, 1000), (1500, 600, 900), (3000, 600, 900), (40_000, 2300, 2700)):
        found = counted(sae, torch.ones(n, 2), np.zeros(n, dtype=np.int64), np.arange(n), [n // 2], [0, 1]).summary()
        assert low <= found["n_decoded"] <= high


def test_levels_have_no_pattern() -> None:
    """Neither a sequence's first token nor those of one position, nor each eighth, are drawn more often."""
    contents, positions = np.repeat(np.arange(4000), 64), np.tile(np.arange(64), 4000)
    drawn = levels_of(contents, positions) == 4
    assert drawn.mean() == pytest.approx(1 / 16, rel=0.05)
    for step in (2, 8, 64):
        for at in (0, 1):
            assert drawn[at::step].mean() == pytest.approx(1 / 16, rel=0.2)


def test_a_feature_that_is_no_number_is_an_error() -> None:
    table = torch.zeros(3, 4)
    table[1, 2] = float("nan")
    with pytest.raises(NonFiniteError, match="no number at position 0") as caught:
        reduced(table, 3)
    assert caught.value.sequence_id == 1


def test_an_sae_of_another_width_is_an_error() -> None:
    sae = Sae("sae", POINT, 5, 8, "standard", lambda x: x, lambda x, _: x)
    with pytest.raises(ModelError, match="reads 5 numbers, but blocks.0.hook_resid_post has 1"):
        top_features([sae], 3, 0.0, {"sae": Health(sae)})(kept(3))


WIDE = """
import resource, sys
import numpy as np, torch
from actkit.backends.saes.sae import Sae
from actkit.hooks import HookPoint
from actkit.pipeline.data import Kept
from actkit.pipeline.reducers.features import Health, top_features
d_in, d_sae, n = 8, int(sys.argv[1]), 2000
point = HookPoint(0, "hook_resid_post")
weights = torch.randn(d_in, d_sae)
sae = Sae("wide", point, d_in, d_sae, "jumprelu", lambda x: torch.relu(x @ weights - 7), lambda x, f: x)
x = torch.randn(n, d_in)
kept = Kept(np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), {str(point): x})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = top_features([sae], 50, 0.0, {"wide": Health(sae)})(kept)["wide"]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, table.num_rows)
"""


@pytest.mark.slow
@pytest.mark.parametrize("d_sae", [131_072, 1_048_576])
def test_memory_does_not_grow_with_an_saes_width(d_sae: int, tmp_path: Path) -> None:
    """2,000 tokens × a million features would be 8 GB: the chunks need a few hundred MB."""
    done = subprocess.run([sys.executable, "-c", WIDE, str(d_sae)], capture_output=True, text=True, check=True)
    grown, rows = done.stdout.split()
    assert int(rows) == 2000
    assert float(grown) < 700
