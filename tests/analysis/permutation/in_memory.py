"""p-values and the null's largest AUROC of columns that are in memory."""

import numpy as np

from actkit.analysis.columns import BLOCK, Bools, Columns, Floats
from actkit.analysis.permutation.design import Design, permuted_units
from actkit.analysis.permutation.p_values import Exchange, PValues


def p_values(columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int = 10_000) -> PValues:
    return _exchange(columns, labels, design).p_values(rng, draws)


def largest_under_null(
    columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int = 1000
) -> Floats:
    return _exchange(columns, labels, design).largest(rng, draws)


def _exchange(columns: Columns, labels: Bools, design: Design) -> Exchange:
    found = Exchange(labels, design)
    for first, last in columns.blocks(BLOCK):
        found.add(columns.slice(first, last))
    return found


def permuted(design: Design, rng: np.random.Generator, draws: int) -> Bools:
    """[n, draws] labels exchanged at random, every allowed exchange as likely as any other."""
    found = np.repeat(design.labels[:, None], draws, axis=1)
    found[design.used] = permuted_units(design, rng, draws)[design.unit]
    return found
