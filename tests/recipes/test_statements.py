"""Statements as contrast pairs: what their labels may be."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import InputError
from actkit.pipeline.data import Record, Rejected
from actkit.recipes.contrasts import contrasts_in
from actkit.recipes.statements import HINT, StatementPair
from tests.command_line import Run


def statements(path: Path, labels: list[Any]) -> str:
    path.write_text(
        "".join(json.dumps({"statement": f"s{n}", "label": label}) + "\n" for n, label in enumerate(labels))
    )
    return str(path)


@pytest.mark.parametrize("labels", [[1, 2, 3, 4, 5], ["1", "2", "2"], [1, 0, 3]], ids=str)
def test_grades_are_refused_for_one_is_the_worst_of_them(labels: list[Any], tmp_path: Path) -> None:
    """The 1 of 1 to 5 was taken for true, and the others were rejected as labels that mean nothing."""
    path = statements(tmp_path / "s.jsonl", labels)
    with pytest.raises(InputError, match="so it is not clear what 1 means") as raised:
        contrasts_in(path)
    assert raised.value.message.startswith(f"{path}: the field label has {', '.join(sorted(set(map(str, labels))))}, ")
    assert raised.value.hint == "a statement's label is true or false, 1 or 0, 1 or -1"


def test_a_label_that_makes_those_before_it_doubtful_is_named_with_its_line(tmp_path: Path) -> None:
    path = statements(tmp_path / "s.jsonl", [1, 0] * 600 + [-1])
    _, records = contrasts_in(path)
    with pytest.raises(InputError, match="has -1 after 0 and 1") as raised:
        list(records)
    assert raised.value.message.startswith(f"{path}:1201: ") and "--positive" not in raised.value.hint


def test_words_that_go_on_as_numbers_are_refused(tmp_path: Path) -> None:
    _, records = contrasts_in(statements(tmp_path / "s.jsonl", ["true", "false"] * 500 + [1]))
    with pytest.raises(InputError, match=r"s.jsonl:1001: the field label has 1 after words alone") as raised:
        list(records)
    assert "--positive" not in raised.value.hint


@pytest.mark.parametrize("labels", [[1, 0], [1, -1], [True, False], ["true", "false"], ["1.0", "0.0"]], ids=str)
def test_two_labels_make_a_pair(labels: list[Any], tmp_path: Path) -> None:
    _, records = contrasts_in(statements(tmp_path / "s.jsonl", labels))
    (pair,) = records
    assert isinstance(pair, Record) and pair.value == StatementPair("s0", "s1", ())


def test_the_hint_for_labels_without_a_meaning_names_no_option_of_another_command(tmp_path: Path, actkit: Run) -> None:
    """`--positive` is a wording here."""
    path = statements(tmp_path / "s.jsonl", ["SUPPORTS", "REFUTES"])
    found = actkit("concept", path, "--layers", 1, "-o", tmp_path / "x")
    assert found.status == 1 and "SUPPORTS" in found.err and HINT in found.err and "--positive" not in found.err


def test_a_label_without_a_meaning_is_shown(tmp_path: Path) -> None:
    _, records = contrasts_in(statements(tmp_path / "s.jsonl", ["T1", "F1"]))
    assert [record.found for record in records if isinstance(record, Rejected)] == ["T1", "F1"]
