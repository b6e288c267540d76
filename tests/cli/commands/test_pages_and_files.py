"""`report`, `plot` and `export` write a file: where, and never over one that is there unless they are told to."""

from pathlib import Path

import pytest

from actkit.cli.commands import export, plot, report
from actkit.cli.run_argument import page_of
from tests.command_line import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of `capture`."""
    import actkit

    return actkit.capture(
        ["Hello there.", "A red rose."], layers=[1, 2], out=tmp_path_factory.mktemp("runs") / "x"
    ).path


def test_the_page_of_two_runs_is_named_after_both(run: Path) -> None:
    assert page_of([run]) == run.with_name("x.html")
    assert page_of([run, Path("my runs/y z")]) == run.with_name("x-and-y-z.html")


@pytest.mark.parametrize(
    ("command", "more", "file"),
    [
        (report.report.__name__, (), "x.html"),
        (plot.plot.__name__, ("layers",), "x-layers.svg"),
        (export.export.__name__, ("--to", "pt"), "x.pt"),
    ],
)
def test_a_file_beside_the_run_is_not_written_over(
    actkit: Run, run: Path, command: str, more: tuple[str, ...], file: str
) -> None:
    there = run.with_name(file)
    there.write_text("mine", encoding="utf-8")
    try:
        found = actkit(command, run, *more)
        assert found.status and found.out == "" and f"{there} exists already" in found.err
        assert there.read_text(encoding="utf-8") == "mine"
    finally:
        there.unlink()
    assert "-o " in actkit(command, run, *more, "-o", "-").err  # it is a file, and an example of one is given


def test_an_option_of_another_format_is_refused(actkit: Run, run: Path, tmp_path: Path) -> None:
    wrong = actkit("export", run, "--to", "pt", "--compression", "gzip", "-o", tmp_path / "x.pt")
    assert wrong.status == 2 and "--compression" in wrong.err and list(tmp_path.iterdir()) == []
    assert actkit("export", run, "--to", "pt", "-o", tmp_path / "x.pt", "-q").out == f"{tmp_path / 'x.pt'}\n"
