"""The statistics of a block's columns, all but p: means and AUROCs, also held out and among equal lengths."""

import numpy as np

from actkit.analysis.auroc import Aurocs, column_aurocs, stratified_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.column_ranks import sums
from actkit.analysis.columns import Bools, Columns, Floats
from actkit.analysis.feature_tests.labelled import Texts
from actkit.analysis.length import strata_of


class BlockStatistics:
    """Computes the statistics of columns, block by block, with clusters and strata that all blocks share."""

    def __init__(self, texts: Texts, discovery: Texts, held: Bools | None, mixed: bool) -> None:
        """Take all texts, those of the discovery part, a mask of held-out ones [n], whether groups have both labels."""
        labels, strata = discovery.positive, strata_of(discovery.lengths)
        self._weights = discovery.weights
        self._clusters = _clusters_of(discovery)
        self._strata = None if strata is None else Clusters.of(labels, strata)
        self._groups = Clusters.of(labels, discovery.groups) if mixed else None
        self._held = None if held is None else _clusters_of(texts.where(held))

    def of(self, x: Columns, later: Columns | None) -> dict[str, Floats]:
        """Return figures [n_columns] by name: of `x`, a block over the discovery part, and of `later`.

        `later` has the same columns over the held-out texts. `n_active` is whole; an unknown figure is NaN.
        """
        empty = np.full(x.n_columns, np.nan)
        area = column_aurocs(x, self._clusters)
        after = Aurocs(empty, empty, empty)
        if later is not None and self._held is not None:
            after = column_aurocs(later, self._held)
        return {
            "n_active": np.diff(x.starts),
            **class_means(x, self._clusters.labels, self._weights),
            "auroc": area.value,
            "auroc_low": area.low,
            "auroc_high": area.high,
            "auroc_heldout": after.value,
            "auroc_heldout_low": after.low,
            "auroc_heldout_high": after.high,
            "auroc_length_adjusted": empty if self._strata is None else stratified_aurocs(x, self._strata),
            "auroc_within_group": empty if self._groups is None else stratified_aurocs(x, self._groups),
        }


def _clusters_of(texts: Texts) -> Clusters:
    return Clusters.of(texts.positive, texts.groups if texts.grouped else None)


def class_means(x: Columns, labels: Bools, weights: Floats) -> dict[str, Floats]:
    """Return six figures of each column, [n_columns] each; texts count by `weights` [n].

    The share of active texts and the mean (zeros included), of the positive and of the negative texts. The mean of the
    texts in which the column is active; NaN where it is in none. Pearson's correlation with the label; NaN where the
    column does not vary.
    """
    owner, here, values = x.owners(), labels[x.rows], x.values.astype(np.float64)
    of: Floats = weights[x.rows]

    def per_column(entries: Floats) -> Floats:
        return sums(owner, entries, x.n_columns)

    total, positive = float(weights.sum()), float(weights[labels].sum())
    negative = total - positive
    balance = (positive - negative) / total
    every, positives = per_column(of * values), per_column(of * values * here)
    active, active_positive = per_column(of), per_column(of * here)
    mean = every / total
    variance = np.maximum(per_column(of * values**2) / total - mean**2, 0.0)
    covariance = (2 * positives - every) / total - mean * balance
    spread = np.sqrt(variance * (1 - balance**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "active_rate_positive": active_positive / positive,
            "active_rate_negative": (active - active_positive) / negative,
            "mean_positive": positives / positive,
            "mean_negative": (every - positives) / negative,
            "activation_strength": every / active,
            # Rounding would leave a little more than 1 for a feature that equals the label.
            "correlation": np.clip(np.where(spread > 0, covariance / spread, np.nan), -1, 1),
        }
