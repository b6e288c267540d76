"""What nobody foresaw is one sentence on the screen; the traceback is in a file, and on the screen where asked for."""

import errno
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from actkit.cli.unforeseen import is_memory, is_unforeseen, leave_in_log, said
from actkit.errors import RunError
from actkit.runs.writer import RunDirectory
from tests.command_line import Run

PanicException = type("PanicException", (BaseException,), {})
"""What a panic of a library in Rust is in Python: no Exception."""
UNFORESEEN: list[tuple[BaseException, str]] = [
    (ValueError("cannot reshape\n \x1b[31marray\x1b[0m hf_abcdefghijklmnopqrstuvwxyz0123"), "unforeseen ValueError"),
    (KeyError("layer"), "unforeseen KeyError"),
    (ZeroDivisionError(), "unforeseen ZeroDivisionError"),
    (MemoryError(), "out of memory"),
    (pa.ArrowMemoryError("malloc of size 10 failed"), "out of memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "out of memory"),
    (RecursionError("maximum recursion depth exceeded"), "something is nested too deeply"),
    (PanicException("index out of bounds"), "unforeseen PanicException"),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, actkit: Run) -> object:
    """A run that ends in an exception once its directory is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def run(error: BaseException, *options: str, method: str = "finish") -> object:
        def fail(*_: object, **__: object) -> object:
            raise error

        monkeypatch.setattr(RunDirectory, method, fail)
        return actkit("capture", "-p", "a", "--layers", "0", "--positions", "last", "-o", "x", *options)

    return run


def no_room(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, "no room")


@pytest.mark.quick(4)
@pytest.mark.parametrize(("error", "sentence"), UNFORESEEN, ids=lambda case: type(case).__name__)
def test_what_nobody_foresaw_is_a_sentence(failing: Run, tmp_path: Path, error: BaseException, sentence: str) -> None:
    found = failing(error)
    assert found.status == 1 and found.out == ""
    assert "Traceback" not in found.err and "\x1b" not in found.err and "hf_abc" not in found.err
    said, _, hint = found.err.partition("error: ")[2].partition("\nhint: ")
    assert said.startswith(f"{sentence} in actkit/") and re.search(r"\.py:\d+", said) and said.count("\n") == 1
    assert "its traceback is in x.partial/run.log" in hint and "ACTKIT_TRACEBACK=1" in hint
    log = (tmp_path / "x.partial" / "run.log").read_text()
    assert "\x1b" not in log
    assert "Traceback (most recent call last):" in log and type(error).__name__ in log and "hf_abc" not in log
    assert not list(tmp_path.glob("*.traceback.txt"))


@pytest.mark.parametrize("how", ["environment", "--log-level"])
def test_the_traceback_is_printed_where_it_is_asked_for(
    failing: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("ACTKIT_TRACEBACK", "1")
    found = failing(ValueError("a\x1b[31mb"), *(["--log-level", "debug"] if how == "--log-level" else []))
    assert found.status == 1 and found.err.count("Traceback (most recent call last):") == 1
    assert "error: unforeseen ValueError in actkit/" in found.err and "\x1b" not in found.err


def test_without_a_run_the_traceback_is_in_a_file_of_its_own(
    failing: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that fails before its first shard is whole leaves nothing, and no log."""
    found = failing(LookupError("no such thing"), method="write")
    assert found.status == 1 and found.err.startswith("error: unforeseen LookupError in "), found.err
    (file,) = tmp_path.glob("actkit-*.traceback.txt")
    assert str(file) in found.err and "Traceback" in file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "NamedTemporaryFile", no_room)
        err = failing(LookupError("no such thing"), method="write").err
    assert "ACTKIT_TRACEBACK=1 prints it here" in err and "its traceback" not in err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_a_sentence(failing: Run, number: int) -> None:
    found = failing(OSError(number, "what the system says"))
    assert found.status == 1 and "Traceback" not in found.err and "what the system says" in found.err


def test_what_was_foreseen_has_no_traceback_and_each_exception_one(tmp_path: Path) -> None:
    left: list[str] = []

    def add(text: str) -> Path:
        left.append(text)
        return tmp_path / "run.log"

    foreseen, error = RunError("no"), ValueError("odd")
    for each in (foreseen, error, error):
        leave_in_log(each, add, loud=False)
    assert not is_unforeseen(foreseen) and is_unforeseen(error)
    assert len(left) == 1 and "ValueError: odd" in left[0]
    sentence, hint = said(error, is_printed=False)
    assert sentence == "unforeseen ValueError: odd" and str(tmp_path / "run.log") in hint
    assert is_memory(MemoryError()) and is_memory(RuntimeError("can't allocate memory")) and not is_memory(error)
