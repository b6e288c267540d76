"""Run folders of others' making: a sentence and exit status 1, in bounded time and memory, whoever reads them."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from actkit.cli.app import main
from actkit.errors import ActkitError
from actkit.runs.manifest import finished as finished_shards
from actkit.runs.manifest import manifests
from actkit.runs.removal import check_out
from actkit.verify.tables.run import verify
from tests.fuzz.damage import fuzz, no_hang
from tests.fuzz.hostile_runs import Step, cases, make
from tests.verify.conftest import finished  # noqa: F401 - a fixture

MEMORY = 1 << 30
"""Bytes that Arrow may hold at once."""
READERS: dict[str, tuple[str, ...]] = {
    "show": ("--json",),
    "verify": ("-q",),
}
"""Commands that read any run."""
EXPORTS = {"pairs": "h5", "vectors": "pt", "features": "json", "chunks": "jsonl", "pooled": "json"}


def check_call(capfd: pytest.CaptureFixture[str], *arguments: str, statuses: tuple[int, ...] = (0, 1)) -> int:
    """The exit status of a call that ends in a result or in one sentence with a hint. Whatever is no exit fails."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    status, err = int(caught.value.code or 0), capfd.readouterr().err
    assert status in statuses and "\x1b" not in err, (arguments, err)
    assert "Traceback" not in err and "unforeseen" not in err, (arguments, err)
    assert status == 0 or ("error: " in err and err.count("\nhint: ") == 1), (arguments, err)
    return status


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [("features", 6), *(pytest.param(name, 450, marks=pytest.mark.slow, id=f"{name}-many") for name in EXPORTS)],
)
def test_a_hostile_run_ends_in_a_sentence(
    name: str,
    count: int,
    finished: Callable[[str], Path],  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = finished(name)
    ends = Counter[str]()

    def check(case: tuple[list[Step], str]) -> None:
        run = tmp_path / "x"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        make(run, *case)
        with no_hang():
            try:
                ends["found" if verify(run, deep=True).problems else "in order"] += 1
            except ActkitError:
                ends["refused"] += 1
            export = ("--to", EXPORTS[name], "--out", f"{run}.out", "-q", "--overwrite")
            for command, options in (*READERS.items(), ("export", export)):
                check_call(capfd, command, str(run), *options)
        assert pa.default_memory_pool().bytes_allocated() < MEMORY

    fuzz(count, cases, check)
    sys.stdout.write(f"{name}: {dict(ends)}\n")
    assert pa.default_memory_pool().max_memory() in range(2 * MEMORY)


@pytest.mark.slow
@pytest.mark.parametrize("count", [pytest.param(10, id="some"), pytest.param(2000, id="many", marks=pytest.mark.slow)])
def test_a_hostile_unfinished_run_ends_in_a_sentence(
    count: int,
    finished: Callable[[str], Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    """What `--resume` and `--overwrite` read before anything is computed."""
    whole = finished("features")

    def check(case: tuple[list[Step], str]) -> None:
        run = tmp_path / "x.partial"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        make(run, *case)
        with no_hang():
            for resume in (True, False):
                try:
                    check_out(tmp_path / "x", overwrite=not resume, resume=resume)
                except ActkitError as error:
                    assert error.message and error.hint
            found, _ = manifests(run)
            good, wrong = finished_shards(run, unfinished=False)
            assert len(good) <= len(found) and all(text.endswith("computed again") for text in wrong)

    fuzz(count, cases, check)
