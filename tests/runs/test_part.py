"""Whoever reads a run asks one module for its Parquet files, and that refuses what Arrow would end the process over."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.runs import part as parts_of_runs
from actkit.runs.part import open_part, read_part, schema_of_part
from tests.runs.test_plausible_footers import changed

PACKAGE = Path(parts_of_runs.__file__).parents[1]
MAY = {"runs/part.py", "pipeline/input/arrow.py"}
"""An input is none of a run's files."""
OPENS = re.compile(r"\b(?:pq|parquet)\.(?:ParquetFile|ParquetDataset|read_\w+)\(|pyarrow\.dataset")


def test_one_module_opens_the_files_of_runs() -> None:
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if OPENS.search(path.read_text("utf-8"))}
    assert found == MAY


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "numbers" / "part-00000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"number": pa.array([2, 2], pa.int64()), "text": ["a", "b"]}), path, use_dictionary=False)
    return path


def test_a_sound_part_is_read_whole_or_some_columns_of_it(sound: Path) -> None:
    assert read_part(sound).equals(pq.read_table(sound))
    assert read_part(sound, ["text"]).column_names == ["text"] and read_part(sound, []).num_columns == 0
    assert schema_of_part(sound).equals(pq.read_schema(sound), check_metadata=True)
    with pytest.raises(pa.ArrowKeyError, match="no column 'other'"):
        read_part(sound, ["text", "other"])
    with pytest.raises(FileNotFoundError):
        open_part(sound.with_name("part-00001.parquet"))


STATISTICS = """
import sys
from pathlib import Path
from actkit.runs.part import open_part
with open_part(Path(sys.argv[1])) as file:
    print(file.metadata.row_group(0).column(0).statistics)
"""


def test_a_footer_that_contradicts_its_schema_is_refused(sound: Path) -> None:
    """In a process of its own, which Arrow ends without a word where it is asked for such statistics."""
    damaged = changed(sound, b"\x18\x08" + (2).to_bytes(8, "little"), b"\x18\x07" + (2).to_bytes(7, "little"))
    shutil.move(damaged, sound)
    asked = subprocess.run([sys.executable, "-c", STATISTICS, str(sound)], capture_output=True, text=True, check=False)
    assert asked.returncode == 1 and f"{sound}: row group 0: number has a smallest or largest value" in asked.stderr


def test_a_file_is_looked_at_once_until_it_is_another(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    plain = parts_of_runs.implausible
    monkeypatch.setattr(parts_of_runs, "implausible", lambda *given: looked.append(given) or plain(*given))
    for _ in range(3):
        read_part(sound)
    assert len(looked) == 1
    sound.write_bytes(b"PAR1 and nothing more")
    for _ in range(2):
        with pytest.raises(RunError, match=r"numbers.part-00000\.parquet: .*Parquet") as refused:
            schema_of_part(sound)
        assert refused.value.hint == f"actkit verify {sound.parent.parent} says what else is wrong with it"


@pytest.mark.slow
def test_what_claims_too_much_and_what_is_no_file_is_refused(sound: Path) -> None:
    bomb = pa.table({"number": pa.repeat(pa.scalar(0, pa.int64()), 20_000_000)})
    pq.write_table(bomb, sound, compression="zstd", row_group_size=20_000_000, use_dictionary=False)
    with pytest.raises(RunError, match="too many to be read"):
        read_part(sound)
    sound.unlink()
    os.mkfifo(sound)
    with pytest.raises(RunError, match="no regular file"):
        open_part(sound)
