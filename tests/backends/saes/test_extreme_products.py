"""The largest and smallest products are those of all of them, one by one, whatever they are found in."""

import numpy as np
import pytest
import torch

from actkit.backends.saes import extreme_products as module
from actkit.backends.saes.extreme_products import Others, extremes


def vectors(n: int, width: int, seed: int = 0) -> torch.Tensor:
    """Some long, some short."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=random) * 4 * torch.rand(n, 1, generator=random)


def units(n: int, width: int) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors(n, width, 1), dim=1)


@pytest.mark.parametrize("n", [7, 10, 21, 640, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_they_are_the_furthest_of_all(n: int, dtype: torch.dtype) -> None:
    own, others = units(50, 32), vectors(n, 32).to(dtype)
    exact = (own.double() @ others.double().T).numpy()
    found = [extremes(own, Others.of(others, in_bfloat16), 10) for in_bfloat16 in (True, False)]
    for end, sign in (("top", -1), ("bottom", 1)):
        values, ids = (each.numpy() for each in found[0][end])
        assert values.shape == ids.shape == (50, min(n, 10))
        assert values == pytest.approx(sign * np.sort(sign * exact, 1)[:, :10], rel=1e-5, abs=1e-6)
        assert values == pytest.approx(np.take_along_axis(exact, ids, 1), rel=1e-5, abs=1e-6)
        for low, full in zip(*(each[end] for each in found), strict=True):
            assert torch.equal(low, full), "what it is found in is not seen"


def test_of_equal_ones_the_first_come_first() -> None:
    """Where all are equal, none is above a bar, and few vectors are looked at together: every token is furthest."""
    others = vectors(3, 8)[torch.tensor([0, 1, 2] * 200)]
    own = units(5, 8)
    order = torch.argsort(own @ others[:3].T, dim=1, descending=True)
    for in_bfloat16 in (True, False):
        found = extremes(own, Others.of(others, in_bfloat16), 10)
        for end, best in (("top", order[:, :1]), ("bottom", order[:, -1:])):
            assert torch.equal(found[end][1], best + 3 * torch.arange(10))


@pytest.mark.parametrize("most", [1, 1 << 10])
def test_what_is_looked_at_together_changes_nothing(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = units(40, 16), vectors(900, 16)
    own[3], others[5] = 0, 0
    expected = extremes(own, Others.of(others, True), 10)
    monkeypatch.setattr(module, "MOST_FOUND", most)
    monkeypatch.setattr(module, "ELEMENTS", 900 * 17)
    found = extremes(own, Others.of(others, True), 10)
    for end in ("top", "bottom"):
        assert all(torch.equal(*both) for both in zip(found[end], expected[end], strict=True))
        assert found[end][1][3].tolist() == list(range(10)), "the zero vector has the same product with all"


def test_what_is_no_number_is_not_lost() -> None:
    own, others = units(3, 8), vectors(400, 8)
    others[17], others[18] = torch.nan, torch.inf
    exact = (own.double() @ torch.cat([others[:17], others[19:]]).double().T).topk(8, dim=1).values.float()
    values = extremes(own, Others.of(others, True), 10)["top"][0]
    finite = [row[row.isfinite()].tolist() for row in values]
    assert all(row[:8] == pytest.approx(top.tolist(), rel=1e-5) for row, top in zip(finite, exact, strict=True))


def test_a_product_that_is_multiplied_in_less_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch may be told to multiply float32 in less: what rounding to bfloat16 takes is allowed for then."""
    own, others = units(30, 64), vectors(3000, 64)
    expected = extremes(own, Others.of(others, False), 10)
    usual = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda x, weight: usual(x.bfloat16(), weight.bfloat16()).to(x.dtype).float()
    )
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    found = extremes(own, Others.of(others, False), 10)
    assert all(torch.equal(found[end][1], expected[end][1]) for end in ("top", "bottom"))


@pytest.mark.parametrize("allowed", [True, False])
def test_bfloat16_alone_would_miss_some(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of products that are nearly equal, one in each group, rounding decides which are largest."""
    own, others = units(30, 64), torch.zeros(64 * module.GROUP, 64)
    others[:: module.GROUP] = vectors(1, 64) + 1e-3 * vectors(64, 64, 2)
    expected = extremes(own, Others.of(others, False), 10)["top"][1]
    if not allowed:
        monkeypatch.setattr(module, "_lost", lambda some, _: some.new_zeros(len(some)))
        monkeypatch.setattr(module, "OF_STORED", {torch.bfloat16: 0.0})
    found = extremes(own, Others.of(others, True), 10, ("top",))["top"][1]
    assert torch.equal(found, expected) == allowed
