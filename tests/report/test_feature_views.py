"""Windows of features: the places that tables name, or the strongest; their text is cut out to the character."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.report.feature_views import (
    AROUND,
    STRONGEST,
    Window,
    cut,
    cut_all,
    feature_view,
    known_of,
    logits_of,
    pages_of_feature,
    windows_of,
)
from actkit.report.text_views import Scale
from actkit.runs.by_sequence import TokenizedText, sequences_of

SCALE = Scale("sae", np.array([4.0], dtype=np.float32))


def table(*rows: tuple[int, int, float]) -> pa.Table:
    sequences, positions, values = zip(*rows, strict=True)
    return pa.table(
        {
            "sequence_id": pa.array(sequences, pa.int64()),
            "position": pa.array(positions, pa.int32()),
            "activation": pa.array(values, pa.float32()),
        }
    )


def test_without_named_places_each_text_has_its_strongest_token() -> None:
    rows = table((0, 1, 1.0), (0, 2, 4.0), (0, 2 + AROUND, 2.0), (0, 3 + AROUND, 2.0), (3, 0, 4.0), (5, 7, 0.001))
    found = windows_of(0, rows, SCALE, None)
    assert [(window.sequence, window.position) for window in found] == [(0, 2), (3, 0), (5, 7)]
    assert found[0].levels == {1: 64, 2: 255, 2 + AROUND: 128}, "as far as the window goes"
    assert found[2].levels == {7: 1}, "what is active has a level"
    special = np.array([False, True, False, False, False, False])
    assert windows_of(0, rows, SCALE, None, special)[1].position != 2
    many = table(*((number, 0, 1.0) for number in range(STRONGEST + 5)))
    assert [window.sequence for window in windows_of(0, many, SCALE, {})] == list(range(STRONGEST))


def test_named_places_come_in_their_order_and_quantiles_have_their_number() -> None:
    rows = table((0, 1, 1.0), (2, 4, 2.0), (7, 0, 4.0))
    known = {
        "contexts": [{"sequence_id": 2, "position": 4}, {"sequence_id": 0, "position": 1}],
        "quantile_contexts": [
            {"contexts": [{"sequence_id": 7, "position": 0}]},
            [None],
            {"sequence_id": 0, "position": 1},
        ],
    }
    found = windows_of(0, rows, SCALE, known)
    assert [(window.sequence, window.position, window.quantile) for window in found] == [
        (2, 4, None),
        (0, 1, None),
        (7, 0, 0),
        (0, 1, 2),
    ]
    assert [window.levels for window in found] == [{4: 128}, {1: 64}, {0: 255}, {1: 64}]
    (lost,) = windows_of(0, rows, SCALE, {"contexts": [{"sequence_id": 5, "position": 4}]})
    assert lost.levels == {}


def text_of(n: int) -> TokenizedText:
    """One character a token, the third one of two units in UTF-16."""
    text = "".join("🌊" if at == 2 else chr(97 + at % 26) for at in range(n))
    tokens = tuple(
        {
            "sequence_id": 3,
            "position": at,
            "token_id": at,
            "token": text[at],
            "char_start": at,
            "char_end": at + 1,
            "role": None,
            "is_special": False,
        }
        for at in range(n)
    )
    return TokenizedText({"sequence_id": 3, "record_id": 9, "text": text, "label": "positive"}, tokens)


def test_a_window_is_cut_out_of_its_text() -> None:
    window = Window(3, 3, {2: 10, 3: 255})
    cut(window, text_of(100))
    assert window.text is not None and window.text["text"] == text_of(100).row["text"][: 3 + AROUND + 1]
    assert window.text["sizes"][:4] == [1, 1, 2, 1] and window.text["levels"][:5] == [0, 0, 10, 255, 0]
    assert (window.text["at"], window.text["record"], window.text["label"]) == (3, 9, "positive")
    assert "quantile" not in window.text
    window = Window(3, 60, {}, quantile=1)
    cut(window, text_of(100))
    assert window.text is not None and (len(window.text["sizes"]), window.text["at"]) == (2 * AROUND + 1, AROUND)
    assert window.text["quantile"] == 1


def test_a_page_has_what_is_known_and_both_kinds_of_contexts() -> None:
    first, second = Window(3, 3, {}), Window(3, 4, {}, quantile=0)
    for window in (first, second):
        cut(window, text_of(9))
    page = feature_view(
        1, 0, SCALE, {"density": 0.5, "auroc": None, "other": 3}, [first, second, Window(0, 0, {})], {"top": []}
    )
    assert page["contexts"] == [first.text] and page["quantiles"] == [second.text]
    assert {name: page[name] for name in ("sae", "id", "scale", "density", "logits")} == {
        "sae": 1,
        "id": 0,
        "scale": 4.0,
        "density": 0.5,
        "logits": {"top": []},
    }
    assert not {"auroc", "other"} & page.keys() and "logits" not in feature_view(0, 0, SCALE, None, [])


@pytest.fixture
def run(six_runs: Mapping[str, Path]) -> Path:
    return six_runs["feature-dataset"]


def test_what_the_tables_say_of_some_features(run: Path) -> None:
    stats = {(row["sae"], row["feature_id"]): row for row in pq.read_table(run / "feature_stats").to_pylist()}
    (sae,) = {name for name, _ in stats}
    some = [0, 5, max(feature for _, feature in stats)]
    found = known_of(run, sae, some)
    assert set(found) == set(some)
    for feature in some:
        row = stats[sae, feature]
        for name in ("n_active", "density", "mean", "max"):
            assert found[feature].get(name) == row[name]
        places = [{key: entry[key] for key in ("sequence_id", "position")} for entry in row["contexts"] or ()]
        assert found[feature].get("contexts", []) == places, "their texts are not read"
    logits = {row["feature_id"]: row for row in pq.read_table(run / "feature_logits").to_pylist()}
    assert 0 not in logits, "it is not active in this run"
    asked = [0, min(logits), max(logits)]
    assert logits_of(run, sae, asked) == {
        feature: {name: logits[feature][name] for name in ("sae", "feature_id", "top", "bottom", "norm_folded")}
        for feature in asked[1:]
    }
    assert known_of(run, "another", some) == {feature: {} for feature in some} and logits_of(run, sae, []) == {}


def test_a_features_page_and_one_that_no_sae_has(run: Path) -> None:
    rows = pq.read_table(run / "feature_stats").to_pylist()
    row = max(rows, key=lambda row: row["n_active"] or 0)
    ((name, page),) = pages_of_feature(run, row["feature_id"])
    assert name == row["sae"] and page["scale"] == pytest.approx(row["max"]) and page["n_active"] == row["n_active"]
    assert page["contexts"]
    for text in page["contexts"]:
        assert sum(text["sizes"]) == len(text["text"].encode("utf-16-le")) // 2 and len(text["sizes"]) == len(
            text["levels"]
        )
    assert max(text["levels"][text["at"]] for text in page["contexts"]) == 255
    with pytest.raises(RunError, match=f"no feature {10**9}") as error:
        next(pages_of_feature(run, 10**9))
    assert error.value.hint == f"they are numbered up to {len(rows) - 1}"
    with pytest.raises(RunError, match="no feature -1"):
        next(pages_of_feature(run, -1))


def test_without_an_sae_there_is_no_feature(six_runs: Mapping[str, Path]) -> None:
    with pytest.raises(RunError) as error:
        next(pages_of_feature(six_runs["capture"], 0))
    assert error.value.hint == "this run has no SAE"


def test_texts_are_gone_over_once_for_all_windows(run: Path) -> None:
    ids = pq.read_table(run / "sequences")["sequence_id"].to_pylist()
    windows = [Window(ids[0], 1, {}), Window(ids[-1], 2, {}), Window(ids[0], 3, {}), Window(10**9, 0, {})]
    cut_all(run, windows)
    assert [window.text is not None for window in windows] == [True, True, True, False]
    alone = Window(ids[-1], 2, {})
    cut(alone, sequences_of(run, [ids[-1]])[ids[-1]])
    assert windows[1].text == alone.text
