"""How much of what the machine's matrix products reach a run reaches: its forward pass, and its SAE.

Counted are the products with weights alone, two operations an element, of the tokens that a run computes, without
padding; attention over the keys, norms and activations are what the rest of the time goes to. The peak is that of the
same products by themselves, by the kernels that actkit chose: rows of 1,024 tokens with an MLP's matrix, and with an
encoder's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from actkit.backends.kernels import fast_products
from tests.benchmarks.workloads import Size, layers_read

ROWS, REPEATS = 1024, 12
WEIGHTS = 12
"""A block's weights in squares of its width: queries, keys, values and output, and an MLP of four times the width."""


@dataclass(frozen=True)
class Peak:
    """GFLOP/s of products by themselves."""

    block: float
    encoder: float


def peak(size: Size) -> Peak:
    """The best of a few products of each kind."""
    return Peak(product(size.d_model, 4 * size.d_model), product(size.d_model, size.d_sae))


def product(d_in: int, d_out: int) -> float:
    """GFLOP/s of a batch's rows with a matrix."""
    x, weight, least = torch.randn(ROWS, d_in), torch.randn(d_out, d_in), float("inf")
    with torch.inference_mode(), fast_products():
        for _ in range(REPEATS):
            began = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            least = min(least, time.perf_counter() - began)
    return 2 * ROWS * d_in * d_out / least / 1e9


def reached(facts: Mapping[str, Any], workload: str, size: Size) -> tuple[float, float | None]:
    """GFLOP/s of a run's forward pass and of its SAE, None where it has none; `facts` is its run.json.

    Of the last block only the positions that are read go through the MLP: it is not counted but where all are read.
    """
    whole = workload in ("documents", "pairs")
    n_blocks = max(layers_read(workload, size)) + (1 if whole else 0)
    forward, encode = rates(facts, WEIGHTS * size.d_model**2 * n_blocks, size.d_model * size.d_sae)
    return forward, encode if facts.get("saes") else None


def rates(facts: Mapping[str, Any], model_weights: int, encoder_weights: int) -> tuple[float, float]:
    """GFLOP/s of a run's forward pass and of its SAEs, by the weights that a token and a row are multiplied with."""
    rows = facts["tables"].get("features", {}).get("rows", 0)
    forward = 2 * model_weights * facts["counts"]["tokens"] / facts["seconds"]["forward"] / 1e9
    return forward, 2 * encoder_weights * rows / max(facts["profile"]["encode"]["seconds"] or 0.0, 1e-9) / 1e9


def table(found: Mapping[str, Sequence[Mapping[str, Any]]], size: Size, most: Peak) -> str:
    """A row a work: GFLOP/s, and as a share of the peak; of each the best of the rounds."""
    return shown({name: [reached(facts, name, size) for facts in rounds] for name, rounds in found.items()}, most)


def shown(found: Mapping[str, Sequence[tuple[float, float | None]]], most: Peak) -> str:
    """The table of such rates, a list of them a work."""
    lines = [
        f"| GFLOP/s; products alone reach {most.block:,.0f} and {most.encoder:,.0f} | forward pass | of the peak "
        "| SAE, top-k and health | of the peak |",
        "|---|---|---|---|---|",
    ]
    for workload, rounds in found.items():
        forward = max(blocks for blocks, _ in rounds)
        encode = max((encoder for _, encoder in rounds if encoder is not None), default=None)
        of_sae = "– | –" if encode is None else f"{encode:,.0f} | {encode / most.encoder:.2f}"
        lines.append(f"| {workload} | {forward:,.0f} | {forward / most.block:.2f} | {of_sae} |")
    return "\n".join(lines) + "\n"
