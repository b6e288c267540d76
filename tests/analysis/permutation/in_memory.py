"""p-values and the null's largest AUROC of columns that are in memory, under labels that a design leads to."""

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from actkit.analysis.columns import Bools, Columns, Floats
from actkit.analysis.permutation.design import Design, permuted_units
from actkit.analysis.permutation.p_values import Exchange

FOLDER = Path(tempfile.gettempdir())


class Found(NamedTuple):
    """What `Exchange.p_values` gives."""

    p: Floats
    method: np.ndarray


def relabelled(design: Design, labels: Bools) -> Design:
    """The design of the same texts with labels [n] that one of its exchanges leads to."""
    units = np.zeros(len(design.stratum), dtype=np.bool_)
    units[design.unit[labels[design.used]]] = True
    return replace(design, labels=labels, unit_labels=units)


def p_values(columns: Columns, labels: Bools, design: Design, rng: np.random.Generator, draws: int = 10_000) -> Found:
    with closing(Exchange(relabelled(design, labels), FOLDER)) as exchange:
        exchange.add(columns)
        return Found(*exchange.p_values(rng, draws))


def largest_under_null(columns: Columns, design: Design, rng: np.random.Generator, draws: int = 1000) -> Floats:
    with closing(Exchange(design, FOLDER)) as exchange:
        exchange.add(columns)
        return exchange.largest(rng, draws)


def permuted(design: Design, rng: np.random.Generator, draws: int) -> Bools:
    """[n, draws] labels exchanged at random, every allowed exchange as likely as any other."""
    found = np.repeat(design.labels[:, None], draws, axis=1)
    found[design.used] = permuted_units(design, rng, draws)[design.unit]
    return found
