"""Token texts and the features that are active on them, counted again here token by token."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.report import token_index as module
from actkit.report.token_index import BEST, FEWEST, NONE, TokenIndex, token_index
from actkit.runs.by_feature import positions_of_feature


def made_up(texts: list[str | None], special: list[int], n_texts: int = 2) -> TokenIndex:
    """Tokens of two sequences, 0 from position 0 and 4 from position 3 on."""
    names = [f"t{number}" for number in range(n_texts)]
    numbers = np.array([int(NONE) if text is None else names.index(text) for text in texts], dtype=np.uint16)
    counts = np.array([texts.count(name) for name in names])
    half = len(texts) // 2
    is_special = np.isin(np.arange(len(texts)), special)
    return TokenIndex(names, counts, np.array([0, 4]), np.array([0, half - 3]), numbers, is_special)


def test_places_are_rows_of_the_numbered_tokens() -> None:
    index = made_up(["t0"] * 6, [])
    assert index.rows(pa.table({"sequence_id": [0, 0, 4, 4, 2, 9], "position": [0, 2, 3, 5, 0, 0]})).tolist() == [
        0,
        2,
        3,
        5,
        -1,
        -1,
    ]
    assert index.rows(pa.table({"sequence_id": [4], "position": [6]})).tolist() == [-1], (
        "beyond those that are numbered"
    )
    empty = TokenIndex(
        [], np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.uint16), np.zeros(0, bool)
    )
    assert empty.found() == []


def test_features_of_a_text_are_those_with_the_best_f1() -> None:
    index = made_up(["t0", "t0", "t1", "t1", "t1", None], [1])
    index.start_sae()
    index.count(7, np.array([0, 1, 2, -1]))  # a special token, and a place that is not numbered, are left out
    index.count(8, np.array([2, 3, 4]))
    index.count(9, np.array([5]))
    index.count(6, np.array([], dtype=np.int64))
    assert index.found() == [["t0", 2, [[[7, 1, 2]]]], ["t1", 3, [[[8, 3, 3], [7, 1, 2]]]]]


def test_only_the_best_are_kept_and_the_first_of_equal_ones_comes_first() -> None:
    index = made_up(["t0"] * 20, [], 1)
    index.start_sae()
    for feature in range(1, BEST + 4):
        index.count(feature, np.arange(min(feature, 5)))
    ((_, _, (rows,)),) = index.found()
    assert [row[0] for row in rows] == [5, 6, 7, 8, 9, 10, 11, 12, 13, 4]
    index.start_sae()
    index.count(1, np.arange(2))
    assert [len(of) for of in index.found()[0][2]] == [BEST, 1]


@pytest.fixture
def run(six_runs: Mapping[str, Path]) -> Path:
    return six_runs["feature-dataset"]


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(run / "tokens").to_pylist() if not (row["is_special"] or row.get("is_sink"))]


def test_texts_of_a_run_are_the_commonest_ones(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counter(row["token"] for row in rows_of(run))
    expected = sorted((text for text, n in counts.items() if n >= FEWEST), key=lambda text: (-counts[text], text))
    index = token_index(run)
    assert index.texts == expected and index.counts.tolist() == [counts[text] for text in expected]
    tokens = pq.read_table(run / "tokens")
    at = index.rows(tokens)
    assert at.tolist() == list(range(len(tokens)))
    named = [None if number == NONE else index.texts[number] for number in index.numbers[at].tolist()]
    left = tokens["is_special"].to_numpy() | tokens["is_sink"].fill_null(False).to_numpy()
    assert named == [
        text if text in expected and not out else None
        for text, out in zip(tokens["token"].to_pylist(), left, strict=True)
    ]
    monkeypatch.setattr(module, "TEXTS", 3)
    assert token_index(run).texts == expected[:3]
    monkeypatch.setattr(module, "MOST_TOKENS", 0)
    assert len(token_index(run).numbers) == 0


def test_hits_of_a_feature_are_counted_token_by_token(run: Path) -> None:
    index = token_index(run)
    stats = pq.read_table(run / "feature_stats").to_pylist()
    row = max(stats, key=lambda row: row["n_active"] or 0)
    places = positions_of_feature(run, row["sae"], row["feature_id"])
    index.start_sae()
    index.count(row["feature_id"], index.rows(places))
    active = set(zip(places["sequence_id"].to_pylist(), places["position"].to_pylist(), strict=True))
    hits = Counter(own["token"] for own in rows_of(run) if (own["sequence_id"], own["position"]) in active)
    found = {text: rows[0] for text, _, rows in index.found() if rows[0]}
    assert (
        found == {text: [[row["feature_id"], hits[text], sum(hits.values())]] for text in index.texts if hits[text]}
        and found
    )
