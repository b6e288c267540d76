"""A footer that contradicts its schema is found before Arrow is asked for what it would end the process over."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.runs import plausible
from actkit.runs.plausible import contradiction


def table() -> pa.Table:
    """Columns of every kind that a run has."""
    lists = pa.array([[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]], pa.list_(pa.float32(), 2))
    return pa.table(
        {
            "flag": pa.array([True, False, None]),
            "number": pa.array([1, 2, 3], pa.int64()),
            "small": pa.array([1, 2, 3], pa.int32()),
            "share": pa.array([0.5, None, 1.5]),
            "half": pa.array([1, 2, 3], pa.float16()),
            "text": ["a", "b", "c"],
            "vector": lists,
            "ids": pa.array([[1], [], [2, 3]], pa.list_(pa.int32())),
            "contexts": pa.array([[{"before": "a", "at": 1}], [], None]),
        }
    )


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.parquet"
    pq.write_table(table(), path, row_group_size=2)
    return path


def changed(path: Path, old: bytes, new: bytes) -> Path:
    """The file with the last such bytes of its footer changed, and the footer's length with them."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[-8:-4], "little")
    head, footer = raw[: -8 - length], raw[-8 - length : -8]
    before, found, after = footer.rpartition(old)
    assert found
    footer = before + new + after
    out = path.with_name("changed.parquet")
    out.write_bytes(head + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return out


def test_a_sound_file_contradicts_nothing(sound: Path) -> None:
    assert contradiction(sound, pq.read_metadata(sound)) is None
    pq.write_table(table().slice(0, 0), sound)
    assert contradiction(sound, pq.read_metadata(sound)) is None


def test_a_footer_longer_than_what_is_read_at_once(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plausible, "AT_ONCE", 1000)
    length = int.from_bytes(sound.read_bytes()[-8:-4], "little")
    assert length > 1000 and contradiction(sound, pq.read_metadata(sound)) is None


ASKED = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from actkit.runs.plausible import contradiction
path = Path(sys.argv[1])
print(contradiction(path, pq.read_metadata(path)))
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        # The histogram of definition levels of a flat column (field 3 of SizeStatistics: two numbers) has three.
        (b"\x19\x26\x00\x04\x00", b"\x19\x36\x00\x04\x00\x00", "levels that it does not have"),
        # A smallest value of int64 of seven bytes.
        (b"\x18\x08" + (2).to_bytes(8, "little"), b"\x18\x07" + (2).to_bytes(7, "little"), "of another length"),
    ],
)
def test_what_arrow_would_end_the_process_over(sound: Path, old: bytes, new: bytes, says: str) -> None:
    pq.write_table(pa.table({"number": pa.array([2, 2], pa.int64())}), sound)
    damaged = changed(sound, old, new)
    asked = subprocess.run([sys.executable, "-c", ASKED, str(damaged)], capture_output=True, text=True, check=False)
    assert asked.returncode == 0 and says in asked.stdout, asked.stderr


@pytest.mark.slow
def test_damaged_footers_end_no_process(sound: Path, tmp_path: Path) -> None:
    """Each of 1,500 is refused, or every column can be asked for; a process of their own, since it may end."""
    draw = random.Random(0)
    raw = sound.read_bytes()
    begin = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    for number in range(1500):
        footer = bytearray(raw[begin:-8])
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(len(footer))
            kind = draw.randrange(4)
            if kind == 0:
                footer[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                footer[at] = draw.randrange(256)
            elif kind == 2:
                footer[at:at] = draw.randbytes(draw.randrange(1, 5))
            else:
                del footer[at : at + draw.randrange(1, 6)]
        end = len(footer).to_bytes(4, "little") + b"PAR1"
        (tmp_path / f"{number}.parquet").write_bytes(raw[:begin] + bytes(footer) + end)
    code = """
import sys
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from actkit.runs.plausible import contradiction
asked = 0
for number in range(1500):
    path = Path(sys.argv[1]) / f"{number}.parquet"
    print(number, flush=True)
    try:
        about = pq.read_metadata(path)
        if contradiction(path, about) is None:
            for group in range(about.num_row_groups):
                for column in range(about.num_columns):
                    about.row_group(group).column(column).statistics
            asked += 1
    except (OSError, ValueError, pa.ArrowException):
        continue
print("asked", asked)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout[-40:], done.stderr[-300:])
    assert int(done.stdout.split()[-1]) > 50
