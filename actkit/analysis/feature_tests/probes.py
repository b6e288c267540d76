"""Probes: logistic regressions of the label on activations, fitted on some texts and scored on others.

SAE features do not beat a plain probe as a rule (Kantamneni et al. 2025, arXiv 2502.16681), so both are shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from actkit.analysis.auroc import auroc
from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.feature_tests.column_file import ColumnFile
from actkit.analysis.feature_tests.labelled import Texts, hold_out
from actkit.runs.part import read_part
from actkit.runs.reader import parts, places

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of the inverse regularisation, of which a fifth of the training groups chooses one."""
MOST_ELEMENTS = 1 << 26
"""The most texts × d_model of a dense probe: 256 MB, 7 in 10 of them in memory at once. More are sampled."""
AT_ONCE = 1 << 20
"""Elements whose squares are in memory at once."""
PROBE_SIZES = (1, 2, 5, 10)
Matrix = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """A fitted probe's scores on texts that it was not fitted on."""

    auroc: float
    low: float
    high: float
    strength: float
    n_train: int


def fit_and_score(rows: Callable[[Bools], Matrix], texts: Texts, held: Bools, seed: int) -> Probe:
    """Fit an L2-regularised logistic regression to the texts that are not held out, and score it on the others.

    `rows` returns the matrix [k, d] of the wanted texts ([n] True: wanted), as an array that may be written to. It is
    called for a part when the last part is freed, so that memory never holds more than the training texts. Columns are
    standardised.
    """
    train = texts.where(~held)
    x = rows(~held)
    middle = x.mean(0)
    scale = _centre(x, middle)
    del x

    def standardised(wanted: Bools) -> Matrix:
        found: Matrix = rows(wanted)
        found -= middle
        found /= scale
        return found

    inner = hold_out(train, 0.2, seed)
    strength = 1e-2
    if inner is not None:
        strength = STRENGTHS[int(np.argmax(_tried(standardised, train, inner, ~held)))]
    weights = _fit(standardised(~held), train.positive, strength)
    scores = _projected(standardised(held), weights).astype(np.float64)
    test = texts.where(held)
    found = auroc(scores, test.positive, test.groups)
    return Probe(found.value, found.low, found.high, strength, len(train.positive))


def feature_probes(columns: ColumnFile, order: Ints, texts: Texts, held: Bools, seed: int) -> dict[int, Probe]:
    """Fit probes to the first 1, 2, 5 and 10 columns of `order`, which was made without the held-out texts."""

    def rows(size: int, wanted: Bools) -> Matrix:
        found = np.empty((int(wanted.sum()), size))
        for at, column in enumerate(order[:size]):
            found[:, at] = columns.column(int(column))[wanted]
        return found

    sizes = [size for size in PROBE_SIZES if size <= len(order)]
    return {size: fit_and_score(partial(rows, size), texts, held, seed) for size in sizes}


def dense_probe(run: Path, hook_point: str, texts: Texts, held: Bools, seed: int) -> Probe:
    """Fit a probe to the pooled activations themselves."""
    width = _width(run, hook_point)
    most = max(MOST_ELEMENTS // width, 1)
    chosen = np.ones(len(held), dtype=np.bool_)
    if len(held) > most:
        chosen[np.random.default_rng(seed).permutation(len(held))[most:]] = False
    some, part = texts.where(chosen), held[chosen]
    return fit_and_score(lambda wanted: dense_rows(run, hook_point, some.sequence_ids[wanted]), some, part, seed)


def dense_rows(run: Path, hook_point: str, sequence_ids: Ints) -> npt.NDArray[np.float32]:
    """Read the pooled activations [n, d_model] of these sequences [n], ids ascending."""
    found = np.zeros((len(sequence_ids), _width(run, hook_point)), dtype=np.float32)
    for part in parts(run, "pooled_activations"):
        table = read_part(part, ["sequence_id", "hook_point", "activation"])
        table = table.filter(pc.equal(table["hook_point"], hook_point))
        at, there = places(sequence_ids, table["sequence_id"].to_numpy())
        wanted = np.flatnonzero(there)
        values = pc.list_flatten(table["activation"].take(wanted)).to_numpy()
        found[at[wanted]] = values.reshape(len(wanted), found.shape[1])
    return found


def _width(run: Path, hook_point: str) -> int:
    for part in parts(run, "pooled_activations"):
        table = read_part(part, ["hook_point", "activation"])
        table = table.filter(pc.equal(table["hook_point"], hook_point))
        if len(table):
            return len(table["activation"][0])
    raise ValueError(f"no pooled activations of {hook_point} in {run}")


def _centre(x: Matrix, middle: Matrix) -> Matrix:
    """Centre columns [n, d] with these means [d] in place; return their standard deviations [d], with 1 for 0.

    Squares are of some columns at a time, at least two: numpy adds up a single column in another order.
    """
    x -= middle
    scale = np.empty_like(middle)
    step = max(2, AT_ONCE // max(len(x), 1))
    last = len(scale)
    for first in range(0, last, step):
        here = slice(min(first, max(last - 2, 0)), min(first + step, last))
        scale[here] = np.sqrt(np.square(x[:, here]).mean(0))
    scale[scale == 0] = 1
    return scale


def _tried(standardised: Callable[[Bools], Matrix], train: Texts, inner: Bools, training: Bools) -> list[float]:
    """Return an AUROC for each strength, of the `inner` training texts, with a fit to the other training texts."""
    fitted_on, scored = training.copy(), training.copy()
    fitted_on[training], scored[training] = ~inner, inner
    x = standardised(fitted_on)
    weights = [_fit(x, train.positive[~inner], strength) for strength in STRENGTHS]
    del x
    rest = standardised(scored)
    return [auroc(_projected(rest, weight), train.positive[inner]).value for weight in weights]


def _projected(x: Matrix, weights: Floats) -> Floats:
    """Multiply rows [n, d] by weights [d] so that equal rows tie: a product may round its last rows otherwise."""
    found: Floats = np.einsum("nd,d->n", x, weights.astype(x.dtype))
    return found


def _fit(x: Matrix, positive: Bools, strength: float) -> Floats:
    """Fit and return the weights [d]; the intercept does not matter to an AUROC."""
    from sklearn.linear_model import LogisticRegression

    model: Any = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    weights: Floats = model.fit(x, positive).coef_[0]
    return weights
