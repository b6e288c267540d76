"""Rows of a table fit the terminal, and every column that has a value is shown once."""

import io

from rich.cells import cell_len
from rich.console import Console

from actkit.cli.screen.table_rows import WIDEST, draw_rows


def drawn(rows: list[dict[str, object]], width: int) -> str:
    file = io.StringIO()
    draw_rows(list(rows[0]), rows, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_a_table_that_is_too_wide_goes_on_below() -> None:
    row = {f"column_{number}": number * 1000 for number in range(12)}
    shown = drawn([row, row], 40)
    assert all(shown.count(f"column_{number} ") + shown.count(f"column_{number}\n") == 1 for number in range(12))
    assert max(cell_len(line) for line in shown.splitlines()) <= 40
    assert len(shown.splitlines()) > 3 > len(drawn([row, row], 400).splitlines()) - 1


def test_columns_without_a_value_are_named_and_not_drawn() -> None:
    shown = drawn([{"a": 1, "b": None, "c": ""}, {"a": 2, "b": None, "c": ""}], 80)
    assert "no value in these rows: b, c" in shown and shown.splitlines()[0].split() == ["a"]
    kept = drawn([{"a": 1, "b": None}, {"a": 2, "b": 0}], 80)
    assert "no value" not in kept and kept.splitlines()[0].split() == ["a", "b"]


def test_lists_of_lists_and_of_any_objects_are_drawn() -> None:
    """As `feature_stats` has them: show ended in a traceback at its contexts of quantiles."""
    together = [{"feature_id": 7, "share": 0.5}]
    row = {"quantiles": [[], [{"token": "a", "activation": 1.5}]], "together": together, "names": ["b"], "part": [None]}
    cells = drawn([row], 200).splitlines()[1]
    assert "[[] × 0, ['a'] × 1] × 2" in cells and "[7] × 1" in cells and "['b'] × 1" in cells and "[] × 1" in cells


def test_a_cell_says_how_long_a_list_is_and_is_cut_where_it_is_long() -> None:
    shown = drawn(
        [{"ids": [1, 2, 3, 4], "text": "x" * 99, "logits": [{"token": "a"}], "line": "a\nb", "p": 0.123456}], 200
    )
    cells = shown.splitlines()[1]
    assert "[1, 2, 3, …] × 4" in cells and "['a'] × 1" in cells
    assert "x" * (WIDEST - 1) + "…" in cells and "x" * WIDEST not in cells
    assert r"a\nb" in cells and "0.1235" in cells
