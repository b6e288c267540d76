"""The page's table of architectures is what is found when they are run; a few of them in the quick suite."""

import warnings
from pathlib import Path

import pytest

from tests.conftest import ARCHITECTURES
from tests.matrix import HEADER, MORE, NAMES, between, examine, markdown

PAGE = Path(__file__).parent.parent / "actkit/docs/models.md"
QUICK = ("gpt2", "falcon_alibi", "deepseek_v3")


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", QUICK)
def test_a_row_of_the_page_is_what_is_found(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row = examine(name, tmp_path)
    assert str(row) in between(PAGE.read_text(encoding="utf-8")).splitlines()
    assert max(row.equals_plain, row.equals_alone, row.stops_early, row.pairs) < 1e-5


def test_every_architecture_has_a_row() -> None:
    rows = between(PAGE.read_text(encoding="utf-8")).splitlines()
    assert "\n".join(rows[:2]) == HEADER
    assert [row.split(" | ")[0] for row in rows[2:]] == [f"| {name}" for name in NAMES.values()]
    assert set(NAMES) == {*ARCHITECTURES, *MORE} and len(NAMES) >= 20


@pytest.mark.slow
def test_the_table_is_what_is_found() -> None:
    """`python -m tests.matrix --write actkit/docs/models.md` writes it anew."""
    assert between(PAGE.read_text(encoding="utf-8")) == markdown()
