"""Errors about records: the first is named with field and place, what is missing with the fields that are there."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.pipeline.input.records import Rejected
from actkit.pipeline.rejections import nearest, told
from tests.command_line import Run


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        (["chosen"], ["instruction", "chosen_response"], "chosen_response"),
        (["prompt"], ["Prompt", "text"], "Prompt"),
        (["labels"], ["text", "lables"], "lables"),
        (["prompt"], ["a", "b"], None),
        (["id"], ["idea"], None),
        (["text", "response"], ["body", "respones"], "respones"),
    ],
)
def test_the_nearest_field_is_told(wanted: list[str], there: list[str], found: str | None) -> None:
    assert nearest(wanted, there) == found


def test_what_is_missing_is_told_with_what_is_there() -> None:
    value = {"instruction": "x", "chosen_response": "y", **{f"c{n}": n for n in range(12)}}
    text = told(Rejected(0, "p.jsonl", 1, "chosen", "missing"), value)
    assert text.startswith("p.jsonl:1, field chosen: missing; it has instruction, chosen_response, c0, c1")
    assert text.endswith(" and 2 more; nearest: chosen_response")
    assert told(Rejected(0, "p", 2, None, "empty line"), None) == "p:2: empty line"
    assert told(Rejected(0, "p", 2, "label", "neither positive nor negative", "\x1b[2Jso"), {"label": 1}) == (
        "p:2, field label: neither positive nor negative (\\x1b[2Jso)"
    )


def test_an_error_names_the_first_record_without_another_run(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = lines(tmp_path / "a.jsonl", [{"body_text": "x"}] * 3)
    found = actkit("sae-extract", path, "-o", "run")
    said = " ".join(found.err.split())
    assert found.status == 1 and f"the first: {path}:1" in said and "it has body_text" in said
    assert not list(tmp_path.glob("run*"))


def test_labels_that_mean_nothing_are_listed_with_their_counts(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"number {n}", "label": "spam" if n % 3 else "ham"} for n in range(9)]
    path = lines(tmp_path / "a.jsonl", rows)
    found = " ".join(actkit("reward-detect", path, "-o", "run").err.split())
    assert "nothing was kept of 9 records: 9 × neither positive nor negative" in found
    assert "the labels are spam (6), ham (3): --positive and --negative" in found
    assert not list(tmp_path.glob("run*"))
