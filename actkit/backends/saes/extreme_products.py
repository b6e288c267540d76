"""Find the k largest products of each of some vectors with very many others, without sorting all products.

1. Multiply all, in bfloat16 where that is faster; the rounding error of each product has a known bound.
2. Take the largest of each GROUP of products. The k-th largest of these, less its bound, is a bar that k reach.
3. Compute the products that may reach the bar, a few more than k, again in float32, one by one, and sort them.

So the result is that of all products in float32, one by one, whichever dtype finds them.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from actkit.backends.kernels import fast_products
from actkit.backends.saes.sae import nonzeros

GROUP = 16
ELEMENTS = 1 << 24
"""Most products in memory at once: 64 MB in float32."""
TOGETHER = 1024
"""Most vectors of a batch."""
MOST_FOUND = ELEMENTS >> 4
"""Most candidates of a batch: with more products that may be among the largest, the batch is halved."""
OF_SUM = 2.0**-23
"""Twice the largest rounding error of an addition in float32, as a share of the vectors' norms: for two sums."""
OF_STORED = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
"""Twice the largest rounding error of storing a product, as a share of it."""
SIGNS = {"top": 1, "bottom": -1}
Ends = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""`top` and `bottom`: values and ids [m, k], the most extreme first; equal values by id."""


@dataclass(frozen=True)
class Others:
    """The many vectors [n, width], in float32 or a smaller dtype, on any device."""

    vectors: torch.Tensor
    found_in: torch.dtype
    """The dtype of the first product: float32 or bfloat16."""
    low: torch.Tensor
    """The vectors for the first product: `vectors` itself where that needs no copy."""
    slack: torch.Tensor
    """[n, 2] a bound of the error of a product with a unit vector: the first times the norm of that vector's rounding
    error, plus the second."""

    @classmethod
    def of(cls, vectors: torch.Tensor, in_bfloat16: bool) -> "Others":
        """Prepare the vectors; `in_bfloat16` makes a copy of them in bfloat16."""
        n, width = vectors.shape
        slack = torch.empty(n, 2, device=vectors.device)
        for some in _slices(n, max(ELEMENTS // width, 1)):
            exact = vectors[some].float()
            slack[some, 0] = exact.norm(dim=1)
            slack[some, 1] = slack[some, 0] * (OF_SUM * width) + _lost(exact, in_bfloat16)
        low = vectors.bfloat16() if in_bfloat16 else vectors
        return cls(vectors, torch.bfloat16 if in_bfloat16 else torch.float32, low, slack * 1.01)


def extremes(units: torch.Tensor, others: Others, k: int, wanted: Sequence[str] = tuple(SIGNS)) -> Ends:
    """Find the `k` largest and smallest products of unit vectors [m, width] with the others; all if there are fewer.

    `wanted` are `top`, `bottom` or both.
    """
    n = len(others.vectors)
    waiting = list(_slices(len(units), max(min(ELEMENTS // max(n, 1), TOGETHER) // 8 * 8, 1)))[::-1]
    found: list[Ends] = []
    with torch.inference_mode(), fast_products():
        while waiting:
            some = waiting.pop()
            ends = _ends(units[some], others, min(k, n), wanted)
            if ends is not None:
                found.append(ends)
            else:
                middle = (some.start + some.stop) // 2
                waiting += [slice(middle, some.stop), slice(some.start, middle)]
    return {
        end: (torch.cat([each[end][0] for each in found]), torch.cat([each[end][1] for each in found]))
        for end in wanted
    }


def _ends(units: torch.Tensor, others: Others, k: int, wanted: Sequence[str]) -> Ends | None:
    """The extremes of one batch; None for more than `MOST_FOUND` candidates, where the batch must be halved."""
    products = _products(units, others)
    lost = float(_lost(units, others.found_in == torch.bfloat16).max())
    slack = (others.slack[:, 0] * lost + others.slack[:, 1])[:, None]
    ends: Ends = {}
    for end in wanted:
        sign = SIGNS[end]
        found = _found(products, slack, k, sign)
        if found is None:
            return None
        ends[end] = _in_order(units, others.vectors, *found, k, sign)
    return ends


def _products(units: torch.Tensor, others: Others) -> torch.Tensor:
    """[n, m] all products, in the dtype `found_in`."""
    low = units.to(others.found_in)
    if others.low.dtype == others.found_in:
        return torch.nn.functional.linear(others.low, low)
    products = low.new_empty(len(others.low), len(low))
    for some in _slices(len(others.low), max(ELEMENTS // low.shape[1], 1)):
        products[some] = torch.nn.functional.linear(others.low[some].to(low), low)
    return products


def _found(products: torch.Tensor, slack: torch.Tensor, k: int, sign: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Columns and rows of the products that may be among the k largest of a column, or smallest; `slack` is [n, 1].

    NaN counts as a candidate, so it is never lost. None for more than `MOST_FOUND` candidates.
    """
    most = sign * _of_groups(products, sign).float()
    off = most.abs() * OF_STORED[products.dtype] + _of_groups(slack, 1)
    least = most - off
    while len(least) >= 4 * k * GROUP:
        least = _of_groups(least, 1)
    bar = least.new_full(least.shape[1:], -torch.inf)
    if len(least) >= k:
        bar = least.T.contiguous().topk(k, dim=1).values[:, -1]
    groups, columns = nonzeros((most + off < bar).logical_not_())
    if len(groups) * GROUP > MOST_FOUND and products.shape[1] > 1:
        return None
    whole = len(products) // GROUP
    inside = groups < whole
    each = groups[inside][:, None] * GROUP + torch.arange(GROUP, device=groups.device)
    rows = torch.cat([each.flatten(), groups[~inside] + whole * (GROUP - 1)])
    columns = torch.cat([columns[inside].repeat_interleave(GROUP), columns[~inside]])
    values = sign * products[rows, columns].float()
    reach = values + values.abs() * OF_STORED[products.dtype] + slack[rows, 0]
    kept = (reach < bar[columns]).logical_not_()
    return columns[kept], rows[kept]


def _of_groups(values: torch.Tensor, sign: int) -> torch.Tensor:
    """The largest of each GROUP of rows, or the smallest; the remaining rows follow, each by itself."""
    whole = len(values) // GROUP * GROUP
    grouped = values[:whole].view(-1, GROUP, values.shape[1])
    return torch.cat([grouped.amax(1) if sign > 0 else grouped.amin(1), values[whole:]])


def _in_order(
    units: torch.Tensor, vectors: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, k: int, sign: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort the candidates of each unit vector; return the k most extreme, values and ids [m, k], on the CPU."""
    order = torch.argsort(columns * len(vectors) + rows)
    columns, rows = columns[order], rows[order]
    values = _exact(units, vectors, columns, rows)
    # Two stable sorts: by value, then by vector. Candidates are by id before, and stay so where values are equal.
    order = torch.sort(sign * values, descending=True, stable=True).indices
    order = order[torch.sort(columns[order], stable=True).indices]
    counts = torch.bincount(columns, minlength=len(units))
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[columns[order]]
    first = order[rank < k].cpu()
    return values.cpu()[first].view(-1, k), rows.cpu()[first].view(-1, k)


def _exact(units: torch.Tensor, vectors: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The products of these pairs [m] in float32."""
    if vectors.device.type != "cpu":  # other devices may lack sparse products
        pairs = _slices(len(rows), max(ELEMENTS // vectors.shape[1], 1))
        return torch.cat([(units[columns[some]] * vectors[rows[some]].float()).sum(1) for some in pairs])
    if vectors.dtype != torch.float32:
        distinct, rows = torch.unique(rows, return_inverse=True)
        vectors = vectors[distinct].float()
    return products_at(units, vectors, columns, rows)


def products_at(rows: torch.Tensor, columns: torch.Tensor, at: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """[m] the products of `rows` [n, d_in] with `columns` [d_sae, d_in], for the pairs (`at`, `ids`) [m] alone."""
    ends = torch.cumsum(torch.bincount(at, minlength=len(rows)), 0)
    starts = torch.cat([ends.new_zeros(1), ends])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        zeros = torch.zeros(len(ids), device=rows.device)
        places = torch.sparse_csr_tensor(starts, ids, zeros, (len(rows), len(columns)), check_invariants=False)
        found: torch.Tensor = torch.sparse.sampled_addmm(places, rows, columns.T, beta=0.0).values()
    return found


def _lost(vectors: torch.Tensor, in_bfloat16: bool) -> torch.Tensor:
    """[n] norms of vectors' rounding errors in bfloat16, to which torch may round factors in float32 too."""
    if not in_bfloat16 and torch.get_float32_matmul_precision() == "highest":
        return vectors.new_zeros(len(vectors))
    lost: torch.Tensor = (vectors - vectors.bfloat16().float()).norm(dim=1)
    return lost


def _slices(n: int, step: int) -> Iterator[slice]:
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))
