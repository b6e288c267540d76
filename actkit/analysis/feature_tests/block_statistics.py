"""Statistics of each column of a block but its p: means, AUROCs, and how these hold on other texts and lengths."""

import numpy as np

from actkit.analysis.auroc import column_aurocs, stratified_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.columns import BLOCK, Columns
from actkit.analysis.feature_tests.labelled import Bools, Floats, Texts
from actkit.analysis.length import strata_of


class BlockStatistics:
    """The statistics of a data set's columns: what is the same for all blocks is worked out once."""

    def __init__(self, texts: Texts, discovery: Texts, held: Bools | None, mixed: bool) -> None:
        """For all texts [n], those of the discovery part, which are held out [n], whether groups have both labels."""
        self._labels, self._weights = discovery.positive, discovery.weights
        self._clusters = _clusters_of(discovery)
        strata = strata_of(discovery.lengths)
        self._strata = None if strata is None else Clusters.of(self._labels, strata)
        self._groups = Clusters.of(self._labels, discovery.groups) if mixed else None
        if held is not None:
            self._held_labels = texts.positive[held]
            self._held_clusters = _clusters_of(texts.where(held))

    def of(self, x: Columns, later: Columns | None) -> dict[str, Floats]:
        """Figures [n_columns] of a block over the discovery part, and AUROCs of the same columns over the held-out one.

        `n_active` is whole; NaN stands for what cannot be said.
        """
        empty = np.full(x.n_columns, np.nan)
        area = column_aurocs(x, self._labels, self._clusters)
        after = None if later is None else column_aurocs(later, self._held_labels, self._held_clusters)
        strata, groups = self._strata, self._groups
        return {
            "n_active": np.diff(x.starts),
            **class_means(x, self._labels, self._weights),
            "auroc": area.value,
            "auroc_low": area.low,
            "auroc_high": area.high,
            "auroc_heldout": after.value if after else empty,
            "auroc_heldout_low": after.low if after else empty,
            "auroc_heldout_high": after.high if after else empty,
            "auroc_length_adjusted": empty if strata is None else stratified_aurocs(x, self._labels, strata),
            "auroc_within_group": empty if groups is None else stratified_aurocs(x, self._labels, groups),
        }


def _clusters_of(texts: Texts) -> Clusters:
    return Clusters.of(texts.positive, texts.groups if texts.grouped else None)


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
            # Of a feature that is the label itself rounding would leave a little more than 1.
            "correlation": np.clip(np.where(spread > 0, covariance / spread, np.nan), -1, 1),
        }
