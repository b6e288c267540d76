"""Lines of hints with the file that is read in them, quoted as a shell needs it; of no file, none."""

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actkit.cli.screen.pasted import INPUT, to_paste
from tests.command_line import Run


@pytest.fixture(autouse=True)
def nothing_else() -> Iterator[None]:
    token = INPUT.set(None)
    yield
    INPUT.reset(token)


def pasted(given: str | Path | None, text: str) -> str:
    INPUT.set(None if given is None else str(given))
    return to_paste(text)


def test_a_file_stands_for_file_and_another_beside_it_for_new(tmp_path: Path) -> None:
    path = tmp_path / "a b.csv"
    path.write_text("x")
    assert pasted(path, "iconv -f cp1252 FILE > NEW") == f"iconv -f cp1252 '{path}' > '{tmp_path}/a b-utf8.csv'"
    assert (
        pasted(path, "actkit peek FILE, or --answers FILE; a FILENAME")
        == f"actkit peek '{path}', or --answers FILE; a FILENAME"
    )


def test_a_packed_file_is_unpacked_by_the_shell(tmp_path: Path) -> None:
    """Programs were given the packed bytes: what they made was no text of any kind."""
    path = tmp_path / "a b.csv.gz"
    path.write_bytes(gzip.compress("Où ?\n".encode("latin-1")))
    line = pasted(path, "iconv -f cp1252 -t UTF-8 FILE > NEW")
    assert line == f"iconv -f cp1252 -t UTF-8 <(gunzip -c '{path}') > '{tmp_path}/a b-utf8.csv'"
    assert pasted(path, "python3 x < FILE > NEW.jsonl") == f"python3 x < <(gunzip -c '{path}') > NEW.jsonl"
    assert pasted(path, "actkit peek FILE; tar -xf FILE") == f"actkit peek '{path}'; tar -xf '{path}'"
    if shutil.which("iconv") is not None:
        subprocess.run(["bash", "-c", line], check=True, timeout=30)
        assert (tmp_path / "a b-utf8.csv").read_text("utf-8") == "Où ?\n"


@pytest.mark.parametrize("given", [None, "-", "", "nothing.csv", ".", "*.csv", "a\0b", "x" * 5000])
def test_what_is_no_file_is_in_no_line(given: str | None) -> None:
    assert pasted(given, "iconv FILE > NEW") == "iconv FILE > NEW"
    shown = pasted(given, "actkit peek FILE")
    assert shown == "actkit peek FILE" or (given and given not in ("-", "") and shown.startswith("actkit peek "))


def test_a_folder_is_what_peek_is_told(tmp_path: Path) -> None:
    assert pasted(tmp_path, "actkit peek FILE; iconv FILE") == f"actkit peek {tmp_path}; iconv FILE"


def test_a_text_that_is_no_name_is_one_clear_error(actkit: Run) -> None:
    for given in ("x" * 5000, "a\nb" * 300):
        found = actkit("dpo", given)
        assert found.status in (1, 2) and found.err.startswith("error: ") and "Traceback" not in found.err
