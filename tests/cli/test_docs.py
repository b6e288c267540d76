"""`actkit docs` and `actkit schema`: what a page says, and what a column means."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.docs import pages, title
from actkit.schemas import TABLES
from actkit.schemas.units import BY_TABLE, UNITS, unit_of
from tests.command_line import Run


def test_every_page_is_listed_and_shown_as_it_is(actkit: Run) -> None:
    listed = actkit("docs")
    assert listed.status == 0 and len(pages()) >= 10
    for name, path in pages().items():
        assert name in listed.out and title(path).split(":")[0] in listed.out
        assert actkit("docs", name).out == path.read_text(encoding="utf-8")
    assert actkit("docs", "DPO.md").out == actkit("docs", "dpo").out


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["docs", "dop"], "did you mean dpo?"),
        (["schema", "feature_score"], "feature_scores"),
        (["docs", "xyzzy"], "dpo"),
    ],
)
def test_a_name_that_is_none_says_what_there_is(arguments: list[str], meant: str, actkit: Run) -> None:
    wrong = actkit(*arguments)
    assert (wrong.status, wrong.out) == (2, "") and meant in wrong.err and "hint: " in wrong.err


def test_a_column_means_the_same_on_the_screen_in_json_and_in_the_file(actkit: Run, tmp_path: Path) -> None:
    said = json.loads(actkit("schema", "--json").out)
    assert list(said) == list(TABLES)
    assert actkit("capture", "-p", "One.", "-o", tmp_path / "x", "-q").status == 0
    field = pq.read_schema(next((tmp_path / "x/tokens").glob("*.parquet"))).field("char_start")
    meaning = next(column["meaning"] for column in said["tokens"] if column["name"] == "char_start")
    assert field.metadata[b"description"].decode() == meaning
    assert field.metadata[b"unit"].decode() == "Unicode characters"
    shown = " ".join(actkit("schema", "tokens").out.split())
    assert meaning[:20] in shown


def test_numbers_have_units_and_nothing_else_has() -> None:
    """What has none is a number of a thing, a seed, a sum of chances, or told by the meaning alone."""
    without = {"parent_id", "line", "chunk", "score", "token_id", "rank", "histogram", "n_active", "feature_id"}
    without |= {
        "intervention_id",
        "control_group",
        "expected",
        "seed",
        "values",
        "feature_ids",
        "sequence_id",
        "record_id",
    }
    for table, columns in TABLES.items():
        for column in columns:
            kind = getattr(column.type, "value_type", column.type)
            number = kind is None or pa.types.is_integer(kind) or pa.types.is_floating(kind)
            assert bool(unit_of(table, column.name)) == number or column.name in without, (table, column.name)
    assert set(UNITS) <= {column.name for columns in TABLES.values() for column in columns}
    assert all(name in {column.name for column in TABLES[table]} for table, name in BY_TABLE)


def test_a_table_on_the_screen_says_what_its_columns_are(actkit: Run, tmp_path: Path) -> None:
    assert actkit("capture", "-p", "One.", "-o", tmp_path / "x", "-q").status == 0
    shown = actkit("show", tmp_path / "x", "--table", "tokens", "--columns", "position,token").out
    assert "position: 0-based" in shown and "(tokens from the sequence's first, 0-based)" in shown
    assert "actkit schema sequences" in actkit("show", tmp_path / "x", "--table", "sequences").out
