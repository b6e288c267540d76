"""What `actkit verify` prints of what was found: every check, and no more problems than can be read."""

from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import verify as module
from actkit.verify.tables.findings import Findings

AGAIN: dict[str, Any] = {"not_recomputed": {}, "texts": {"not_defined": 0}}


def shown(capsys: pytest.CaptureFixture[str], findings: Findings, problems: list[str]) -> str:
    module._show(Path("run"), findings, None, problems)
    return capsys.readouterr().err


def test_every_check_has_a_line_and_those_that_found_nothing_to_look_at_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    findings = Findings(Path("run"), {"files": 1234, "counts": 5}, notes=["a table was left out"])
    findings.wrong("counts", "tokens", "7 rows, not 8")
    findings.wrong("counts", "sequences", "1 row, not 2")
    findings.wrong("pairs", "tokens", "backwards")
    said = [line.split() for line in shown(capsys, findings, ["one", "two", "three"]).splitlines()]
    assert ["files", "1,234", "ok"] in said and ["counts", "5", "2", "wrong"] in said
    assert ["pairs", "0", "1", "wrong"] in said, "it found something, and counted nothing"
    assert [line[-1] for line in said if line[:1] == ["wrong:"]] == ["one", "two", "three"]
    assert ["note:", "a", "table", "was", "left", "out"] in said


def test_of_many_problems_the_first_are_printed_and_the_others_counted(capsys: pytest.CaptureFixture[str]) -> None:
    for n, more in ((module.MOST_SHOWN, False), (module.MOST_SHOWN + 1200, True)):
        said = shown(capsys, Findings(Path("run")), [f"problem {k}." for k in range(n)])
        assert f"problem {module.MOST_SHOWN - 1}." in said and f"problem {module.MOST_SHOWN}." not in said
        assert ("and 1,200 more; --json has them all" in said) is more


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, []),
        (AGAIN, []),
        ({**AGAIN, "not_recomputed": {"sae a": "it is gone"}}, ["not computed again: sae a (it is gone)"]),
        ({**AGAIN, "texts": {"not_defined": 1}}, ["1 shared beginning has no tokens of their own to compare"]),
        ({**AGAIN, "texts": {"not_defined": 1500}}, ["1,500 shared beginnings have no tokens of their own to compare"]),
    ],
)
def test_what_was_not_computed_again_is_named(found: dict[str, Any] | None, says: list[str]) -> None:
    assert module._not_again(found) == says
