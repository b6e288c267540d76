"""Means, rates and correlations of sparse columns, by class."""

import numpy as np

from actkit.analysis.columns import BLOCK, Columns
from actkit.analysis.feature_tests.labelled import Bools, Floats


def class_means(columns: Columns, labels: Bools, weights: Floats) -> dict[str, Floats]:
    """Six figures of each column [n_columns], by weight [n].

    Share of active texts and mean (zeros included) of the positive and of the negative texts; mean of the texts in
    which it is active, NaN where it is in none; Pearson's correlation with the label, NaN where it does not vary.
    """
    blocks = [_block(columns.slice(*block), labels, weights) for block in columns.blocks(BLOCK)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _block(x: Columns, labels: Bools, weights: Floats) -> dict[str, Floats]:
    n_columns = len(x.starts) - 1
    owner = np.repeat(np.arange(n_columns), np.diff(x.starts))
    here, values = labels[x.rows], x.values.astype(np.float64)
    of: Floats = weights[x.rows]

    def per_column(entries: Floats) -> Floats:
        return np.bincount(owner, weights=entries, minlength=n_columns).astype(np.float64)

    total, positive = float(weights.sum()), float(weights[labels].sum())
    negative = total - positive
    balance = (positive - negative) / total
    sums, sums_positive = per_column(of * values), per_column(of * values * here)
    active, active_positive = per_column(of), per_column(of * here)
    mean = sums / total
    variance = np.maximum(per_column(of * values**2) / total - mean**2, 0.0)
    covariance = (2 * sums_positive - sums) / total - mean * balance
    spread = np.sqrt(variance * (1 - balance**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "active_rate_positive": active_positive / positive,
            "active_rate_negative": (active - active_positive) / negative,
            "mean_positive": sums_positive / positive,
            "mean_negative": (sums - sums_positive) / negative,
            "activation_strength": sums / active,
            "correlation": np.where(spread > 0, covariance / spread, np.nan),
        }
