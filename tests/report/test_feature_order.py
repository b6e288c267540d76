"""Features are given pages by density, or by how far from chance a ranking has them; silent ones get none."""

from typing import Any

import numpy as np
import pyarrow as pa

from actkit.report.features_in_order import ordered_features
from actkit.report.text_views import Scale

STATS = {"sae": ["a"] * 4 + ["b"], "feature_id": [0, 1, 2, 3, 1], "n_active": [5, 9, 0, 5, 99]}
SCORES = {"sae": ["a"] * 2, "feature_id": [3, 0], "rank": [1, 2], "auroc": [0.6, 0.1], "q_value": [0.2, 0.01]}


class Tables:
    def __init__(self, **tables: dict[str, list[Any]]) -> None:
        self.tables = tables

    def table(self, name: str, columns: list[str]) -> pa.Table:
        return pa.table(self.tables[name]).select(columns)


def test_the_densest_come_first_and_equal_ones_by_number() -> None:
    stats = {**STATS, "density": [n / 100 for n in STATS["n_active"]]}
    order, rows = ordered_features(Tables(feature_stats=stats), Scale("a", np.array([1.0, 2.0, 0.0, 3.0])))
    assert order == [1, 0, 3]
    assert rows[0] == [1, 9, 0.09, 2.0, None, None, None, None]


def test_a_ranking_puts_those_furthest_from_chance_first() -> None:
    order, rows = ordered_features(Tables(feature_scores=SCORES), Scale("a", np.array([1.0, 2.0, 0.0, 3.0])))
    assert order == [0, 3, 1]
    assert rows[0][5:] == [2, 0.1, 0.01] and rows[2][5:] == [None, None, None]
