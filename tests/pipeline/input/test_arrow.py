"""Tables of Arrow's as records: each row once, a value that Python cannot hold rejected alone with its column."""

import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input import arrow as arrow_rows
from actkit.pipeline.input.arrow import (
    check_columns,
    count_arrow,
    count_parquet,
    is_saved,
    read_arrow,
    read_parquet,
    read_saved,
    records_of,
    seekable,
    unpack_hint,
)
from actkit.pipeline.input.records import Record, Rejected
from actkit.pipeline.input.zip_members import inside, is_archive, member_bytes, members

TABLE = pa.table({"text": ["a", None, "c"], "n": [1, 2, 3]})
ROWS = TABLE.to_pylist()
SPEC = ReadSpec()


def values(records: Any) -> list[Any]:
    found = list(records)
    assert [record.record_id for record in found] == list(range(len(found)))
    assert all(record.line is None for record in found)
    return [record.value if isinstance(record, Record) else (record.field, record.reason) for record in found]


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def write(name: str, table: pa.Table = TABLE) -> str:
        path = str(tmp_path / name)
        if name.endswith(".parquet"):
            pq.write_table(table, path, row_group_size=2)
        else:
            kind = pa.ipc.new_stream if name.startswith("stream") else pa.ipc.new_file
            with kind(path, table.schema) as writer:
                for batch in table.to_batches(max_chunksize=2):
                    writer.write_batch(batch)
        return path

    return write


@pytest.mark.parametrize("name", ["file.arrow", "stream.arrow", "x.feather", "x.parquet"])
def test_the_rows_of_a_file(put: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_rows, "ROWS", 2)
    path = put(name)
    read = read_parquet if name.endswith("parquet") else read_arrow
    assert values(read(path, SPEC)) == ROWS
    assert values(read(put(name, TABLE.slice(0, 0)), SPEC)) == []


def test_rows_are_counted_where_a_file_says_how_many(put: Any) -> None:
    assert count_arrow(Path(put("file.arrow"))) == 3 and count_arrow(Path(put("stream.arrow"))) is None
    assert count_parquet(Path(put("x.parquet"))) == 3


def test_names_of_classes_stand_for_their_numbers(put: Any) -> None:
    about = b'{"info": {"features": {"n": {"names": ["zero", "one", "two"], "_type": "ClassLabel"}}}}'
    table = TABLE.replace_schema_metadata({b"huggingface": about})
    for name, read in (("x.arrow", read_arrow), ("x.parquet", read_parquet)):
        assert [row["n"] for row in values(read(put(name, table), SPEC))] == ["one", "two", 3]


def odd() -> pa.RecordBatch:
    """Text that is no UTF-8 in the second row, a date beyond the year 9999 in the third."""
    raw = pa.array([b"fine", b"\xff\xfe", b"c", b"d"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    when = pa.array([0, 0, 2**62, 0], pa.int64()).cast(pa.timestamp("s"))
    return pa.record_batch([text, when], ["text", "when"])


def test_a_value_that_python_cannot_hold_rejects_its_row_alone() -> None:
    found = values(records_of([odd()], "x", {}))
    assert found[0]["text"] == "fine" and found[3]["text"] == "d"
    assert found[1] == ("text", "not valid UTF-8")
    assert found[2][0] == "when" and found[2][1].startswith("a value that cannot be read: ")


def test_two_columns_of_one_name_are_an_error(put: Any) -> None:
    check_columns(["a", "b"], "x")
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a" * 99, "a" * 99])
    for name, read in (("x.arrow", read_arrow), ("x.parquet", read_parquet)):
        with pytest.raises(InputError, match=f"two columns are named '{'a' * 60}'") as error:
            list(read(put(name, twice), SPEC))
        assert error.value.hint == "rename one of them"


@pytest.mark.parametrize(
    ("name", "read", "kind"), [("x.arrow", read_arrow, "Arrow"), ("x.parquet", read_parquet, "Parquet")]
)
@pytest.mark.parametrize("text", [b"", b"PAR1", b"ARROW1\0\0 and no more", b"x" * 100])
def test_what_is_no_such_file_is_said(tmp_path: Path, name: str, read: Any, kind: str, text: bytes) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=rf"{name}: not a readable {kind} file \(.+\)") as error:
        list(read(str(tmp_path / name), SPEC))
    assert error.value.hint == "write the file again" and "\n" not in error.value.message


def test_a_flipped_bit_is_no_number(put: Any) -> None:
    """Where pages have checksums."""
    path = Path(put("x.parquet"))
    pq.write_table(
        pa.table({"n": list(range(1000))}), path, use_dictionary=False, compression="none", write_page_checksum=True
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(read_parquet(str(path), SPEC))


def test_what_cannot_be_read_from_its_end(tmp_path: Path, put: Any) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.parquet")
    with (
        pytest.raises(InputError, match="Parquet cannot be read from a pipe"),
        seekable(str(tmp_path / "pipe.parquet"), "Parquet"),
    ):
        pass
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(put("x.parquet"), "x y.parquet")
    where = str(tmp_path / "a.zip" / "x y.parquet")
    with pytest.raises(InputError, match="Parquet is not read inside an archive") as error, seekable(where, "Parquet"):
        pass
    assert f"unzip {tmp_path / 'a.zip'} 'x y.parquet', and give 'x y.parquet'" in error.value.hint
    assert "gunzip" in unpack_hint("x.parquet.GZ") and unpack_hint("x.parquet") == "write the file again"


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    import datasets

    own = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}).cast_column(
        "label", datasets.ClassLabel(names=["no", "yes"])
    )
    own.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": own, "test": own.select([1])}).save_to_disk(str(tmp_path / "several"))
    assert is_saved(tmp_path / "one") and is_saved(tmp_path / "several") and not is_saved(tmp_path)
    rows = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]
    assert values(read_saved(str(tmp_path / "one"), SPEC)) == rows
    assert values(read_saved(str(tmp_path / "several"), ReadSpec(split="test"))) == rows[1:]
    with pytest.raises(InputError, match="there is no split dev") as error:
        list(read_saved(str(tmp_path / "several"), ReadSpec(split="dev")))
    assert error.value.hint == "--split names one of test, train"
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(InputError, match="not a readable dataset of save_to_disk"):
        list(read_saved(str(tmp_path / "one"), SPEC))


@pytest.fixture
def archive(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("b/two.txt", "one.txt", "__MACOSX/one.txt", ".hidden/x", "b/.DS_Store", "empty/"):
            file.writestr(name, name)
    return str(tmp_path / "a.zip")


def test_members_of_an_archive(archive: str, tmp_path: Path) -> None:
    assert members(archive) == ["b/two.txt", "one.txt"]
    assert is_archive(archive) and not is_archive(str(tmp_path / "b.zip")) and not is_archive("a\0.zip")
    assert inside(f"{archive}/b/two.txt") == (archive, "b/two.txt")
    assert inside(archive) is None and inside(f"{archive}/") is None and inside(str(tmp_path / "b.zip/x")) is None
    (tmp_path / "folder.zip").mkdir()
    Path(archive).rename(tmp_path / "folder.zip" / "A.ZIP")
    assert inside(str(tmp_path / "folder.zip/A.ZIP/x")) == (str(tmp_path / "folder.zip/A.ZIP"), "x")


def test_bytes_of_a_member_and_what_is_wrong_with_one(archive: str, tmp_path: Path) -> None:
    with member_bytes(archive, "b/two.txt") as file:
        assert file.read() == b"b/two.txt"
    with (
        pytest.raises(InputError, match="a.zip/zwei.txt: there is no such file in the archive") as error,
        member_bytes(archive, "zwei.txt"),
    ):
        pass
    assert error.value.hint == "it has b/two.txt, one.txt"
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match="the zip archive is damaged"):
        members(str(tmp_path / "x.zip"))
    for folder, what in (("xl", "an Excel workbook"), ("word", "a Word document")):
        with zipfile.ZipFile(tmp_path / "o.zip", "w") as office:
            office.writestr(f"{folder}/document.xml", "")
        with pytest.raises(InputError, match=f"this is {what}"):
            members(str(tmp_path / "o.zip"))


def test_an_encrypted_member_is_said_to_be(archive: str) -> None:
    data = bytearray(Path(archive).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        data[start + at] |= 1
    Path(archive).write_bytes(data)
    with pytest.raises(InputError, match="encrypted") as error, member_bytes(archive, "b/two.txt"):
        pass
    assert error.value.hint == "unpack the archive with another program"


def test_a_rejected_row_has_its_place() -> None:
    (rejected,) = list(records_of([odd().slice(1, 1)], "x.arrow", {}))
    assert isinstance(rejected, Rejected) and rejected.place == "x.arrow, record 0"
