"""A row of `pairs` says what the sequences of its record say, whoever made the checksums anew."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.verify.tables.findings import Findings
from actkit.verify.tables.pairs import check_pairs, check_texts
from actkit.verify.tables.run import verify
from tests.verify.mutations import different
from tests.verify.tampering import change_part, put, seal

PART = "part-00000.parquet"


def problems(run: Path) -> list[str]:
    findings = Findings(run)
    for part in sorted(run.glob("pairs/*.parquet")):
        check_pairs(part, findings)
    return [str(problem) for problem in findings.problems]


@pytest.mark.parametrize(
    "column",
    [
        "status",
        "prompt_sha256",
        *(f"{side}_{of}" for side in ("chosen", "rejected") for of in ("divergence", "length", "response_start")),
    ],
)
def test_another_value_in_a_row_is_found(column: str, copy: Callable[[str], Path]) -> None:
    run = copy("pairs")
    assert problems(run) == []
    change_part(run / "pairs" / PART, put(column, 0, lambda old: different(old, random.Random(0))))
    seal(run)
    assert len(problems(run)) == 1 and column in problems(run)[0]


def test_a_side_that_is_not_there_is_said(copy: Callable[[str], Path]) -> None:
    run = copy("pairs")
    n = pq.read_metadata(run / "sequences" / PART).num_rows
    change_part(run / "sequences" / PART, lambda table: table.slice(n))
    assert any("the shard has not both of its sides" in text for text in problems(run))


def test_a_parent_of_another_record_is_found(copy: Callable[[str], Path]) -> None:
    run = copy("pairs")
    rows = pq.read_table(run / "sequences" / PART, partitioning=None).to_pylist()
    at = max(number for number, row in enumerate(rows) if row["parent_id"] is not None)
    change_part(run / "sequences" / PART, put("parent_id", at, rows[0]["sequence_id"]))
    seal(run)
    assert any("its parent is of another record" in str(problem) for problem in verify(run).problems)


def test_a_text_that_stands_alone_is_that_of_its_sequence(tmp_path: Path) -> None:
    """A row with answers has no text, and its sequences hold prompt and answer."""
    rows = {
        "sequences": [{"record_id": n, "text": text} for n, text in ((0, "a b"), (0, "a c"), (1, "d"))],
        "steered_texts": [
            {"record_id": 0, "positive": "b", "text": None},
            {"record_id": 1, "positive": None, "text": "d"},
        ],
    }
    for table, values in rows.items():
        (tmp_path / table).mkdir()
        pq.write_table(pa.Table.from_pylist(values), tmp_path / table / PART)

    def said() -> list[str]:
        findings = Findings(tmp_path)
        check_texts(tmp_path / "steered_texts" / PART, findings)
        return [str(problem) for problem in findings.problems]

    assert said() == []
    change_part(tmp_path / "steered_texts" / PART, put("text", 1, "dx"))
    assert said() == [f"steered_texts/{PART}: record 1: its text is not that of its sequence"]
