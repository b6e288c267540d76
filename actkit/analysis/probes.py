"""How well feedback can be told from activations at all: logistic regressions, fitted on some texts, scored on others.

SAE features do not beat a plain probe as a rule (Kantamneni et al. 2025, arXiv 2502.16681), so both are shown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.analysis.auroc import auroc
from actkit.analysis.columns import Columns
from actkit.analysis.labelled import Bools, Floats, Texts, hold_out
from actkit.analysis.shards import Ints, parts

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation, tried on a fifth of the training groups."""
MOST_ELEMENTS = 1 << 27
"""Texts × d_model that a dense probe reads: 512 MB. Of more, a random part is taken."""
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


def fit_and_score(train: Matrix, train_texts: Texts, test: Matrix, test_texts: Texts, seed: int) -> Probe:
    """An L2-regularised logistic regression on standardised columns, [n, d] each."""
    middle, scale = train.mean(0), train.std(0)
    scale[scale == 0] = 1
    train, test = (train - middle) / scale, (test - middle) / scale
    inner = hold_out(train_texts, 0.2, seed)
    strength = 1e-2
    if inner is not None:
        tried = []
        for one in STRENGTHS:
            fitted = _fit(train[~inner], train_texts.positive[~inner], one)
            tried.append(auroc(train[inner] @ fitted, train_texts.positive[inner]).value)
        strength = STRENGTHS[int(np.argmax(tried))]
    scores = test @ _fit(train, train_texts.positive, strength)
    found = auroc(scores.astype(np.float64), test_texts.positive, test_texts.groups)
    return Probe(found.value, found.low, found.high, strength, len(train))


def feature_probes(columns: Columns, order: Ints, texts: Texts, held: Bools, seed: int) -> dict[int, Probe]:
    """Probes of the first 1, 2, 5 and 10 columns of `order`, which was made without the held-out texts."""
    found = {}
    for size in PROBE_SIZES:
        if size <= len(order):
            x = np.stack([columns.column(int(one)) for one in order[:size]], axis=1)
            found[size] = fit_and_score(x[~held], texts.where(~held), x[held], texts.where(held), seed)
    return found


def dense_probe(run: Path, hook_point: str, texts: Texts, held: Bools, seed: int) -> Probe:
    """A probe of the pooled activations themselves."""
    width = _width(run, hook_point)
    most = max(MOST_ELEMENTS // width, 1)
    chosen = np.ones(len(held), dtype=np.bool_)
    if len(held) > most:
        chosen[np.random.default_rng(seed).permutation(len(held))[most:]] = False
    some, part = texts.where(chosen), held[chosen]
    x = dense_rows(run, hook_point, some.sequence_ids)
    return fit_and_score(x[~part], some.where(~part), x[part], some.where(part), seed)


def dense_rows(run: Path, hook_point: str, sequence_ids: Ints) -> npt.NDArray[np.float32]:
    """[n, d_model]: the pooled activations of these sequences, ids ascending."""
    found = np.zeros((len(sequence_ids), _width(run, hook_point)), dtype=np.float32)
    for part in parts(run, "pooled_activations"):
        table = pq.read_table(part, partitioning=None)
        table = table.filter(pc.equal(table["hook_point"], hook_point))
        ids = table["sequence_id"].to_numpy()
        wanted = np.flatnonzero(np.isin(ids, sequence_ids))
        values = pc.list_flatten(table["activation"].take(wanted)).to_numpy().reshape(len(wanted), -1)
        found[np.searchsorted(sequence_ids, ids[wanted])] = values if len(wanted) else 0
    return found


def _width(run: Path, hook_point: str) -> int:
    for part in parts(run, "pooled_activations"):
        table = pq.read_table(part, columns=["hook_point", "activation"], partitioning=None)
        table = table.filter(pc.equal(table["hook_point"], hook_point))
        if len(table):
            return len(table["activation"][0])
    raise ValueError(f"no pooled activations of {hook_point} in {run}")


def _fit(x: Matrix, positive: Bools, strength: float) -> Floats:
    """The weights; the threshold does not matter to an AUROC."""
    from sklearn.linear_model import LogisticRegression

    model: Any = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
    weights: Floats = model.fit(x, positive).coef_[0]
    return weights
