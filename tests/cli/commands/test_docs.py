"""`actkit docs` finds a page however its name is written, and names the nearest of one that is not there."""

import pytest

from actkit.cli.commands import docs as module
from tests.command_line import Run


@pytest.mark.parametrize("written", ["tables", "TABLES", "tables.md"])
def test_a_page_is_found_by_its_name(actkit: Run, written: str) -> None:
    assert actkit("docs", written).out == module.pages()["tables"].read_text(encoding="utf-8")


def test_of_a_page_that_is_not_there_the_nearest_are_named(actkit: Run) -> None:
    found = actkit("docs", "tabels")
    assert found.status == 2 and "no page 'tabels'" in found.err and "did you mean tables" in found.err
    assert "did you mean" not in actkit("docs", "qqqqqqq").err
