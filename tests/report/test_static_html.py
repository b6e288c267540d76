"""HTML for notebooks: nothing of a run's is markup, numbers are short, tokens keep their ground."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actkit.report.static_html import MOST_TOKENS, cell, feature_html, run_html, table, text, text_html, tokens
from actkit.runs.facts import facts_of

HOSTILE = "<script>alert('x')</script> & \"q\""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (3, "3"),
        (-0.000012345, "−1.234\u00a0×\u00a010⁻⁵"),
        (0.123456, "0.1235"),
        ("a\nb", "a⏎b"),
        ([1.23456, 2.0, -3.0, 4.0], "[1.23, 2, −3, …] × 4"),
        (["a", 2], "[a, 2] × 2"),
        ([], "[] × 0"),
        ("x" * 80, "x" * 59 + "…"),
    ],
)
def test_a_value_in_a_cell(value: Any, shown: str) -> None:
    assert cell(value) == shown


def test_nothing_of_a_value_is_markup() -> None:
    view = {"sequence_id": 1, "label": HOSTILE, "texts": [HOSTILE, HOSTILE]}
    context = {"text": HOSTILE, "sizes": [len(HOSTILE)], "levels": [255], "at": 0}
    page = {"id": 3, "scale": 2.0, "max": 2.0, "contexts": [context]}
    for made in (
        text(HOSTILE),
        table([HOSTILE], [[HOSTILE]], {HOSTILE: HOSTILE}),
        text_html(view, [0, 9]),
        tokens([(HOSTILE, 200)]),
        feature_html(HOSTILE, page),
    ):
        assert "<script" not in made and "&lt;script&gt;" in made and "'x'" not in made
        assert '"q"' not in made


def test_a_table_has_its_columns_titles_and_rows() -> None:
    made = table(["a", "b"], [[1, None], [2, "x"]], {"b": "what it is"})
    assert made.count("<tr>") == 3 and 'title="what it is">b</th>' in made and 'title="">a</th>' in made
    assert "x" * 80 in table(["a"], [["x" * 80]], longest=None)


def test_tokens_are_on_a_ground_of_their_level() -> None:
    assert tokens([("a", 0), ("b", 255)]) == (
        '<bdi style="white-space:pre-wrap;">a</bdi>'
        '<bdi style="white-space:pre-wrap;background:rgba(224,123,0,0.80)">b</bdi>'
    )
    assert "0.44)" in tokens([("a", 128)])


def test_a_long_text_is_cut_and_says_so() -> None:
    view: dict[str, Any] = {"sequence_id": 7, "record_id": 0, "side": "chosen", "n_tokens": 2, "texts": ["a", "b"]}
    made = text_html(view, [0])
    assert "text 7: record_id 0, side chosen, n_tokens 2" in made and made.count("<bdi") == 2 and "more" not in made
    made = text_html({**view, "texts": ["a"] * (MOST_TOKENS + 1200)}, [])
    assert made.count("<bdi") == MOST_TOKENS and "… and 1,200 tokens more" in made


def test_a_features_contexts_are_cut_in_units_of_utf_16() -> None:
    context = {"text": "a🌊b", "sizes": [1, 2, 1], "levels": [0, 255, 51], "at": 2}
    page = {"id": 3, "scale": 5.0, "density": 0.5, "contexts": [context]}
    made = feature_html("sae", page)
    assert ">🌊</bdi>" in made and ">a</bdi>" in made and ">1</td>" in made, "51 of 255 of 5"
    assert "density" in made and "auroc" not in made


def test_a_run_has_its_header_its_warnings_and_its_tables(six_runs: Any) -> None:
    path: Path = six_runs["capture"]
    facts = {**facts_of(path), "warnings": [HOSTILE]}
    made = run_html(SimpleNamespace(path=path, facts=facts))
    assert "<b>capture</b>" in made and "⚠ &lt;script" in made
    for name, about in facts["tables"].items():
        assert f">{name}</td>" in made and f">{about['rows']:,}</td>" in made
    assert "--config capture/config.yaml --out AGAIN" in made
