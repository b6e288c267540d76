"""Inputs at addresses are read as local files are, and what is wrong with one is said in a sentence."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import actkit as api
from actkit.errors import ActkitError, InputError, UsageError
from actkit.pipeline.input.reader import Record, read_records
from actkit.remote.reading import version_of
from actkit.remote.url import as_url, file_name, public
from tests.command_line import Run
from tests.remote.conftest import Web

LINES = b'{"prompt": "one"}\n{"prompt": "two"}\n'
ROWS = [{"prompt": "one"}, {"prompt": "two"}]
Put = Callable[[str, bytes], str]


def values(where: str) -> list[Any]:
    return [record.value for record in read_records(where) if isinstance(record, Record)]


def parquet(rows: int = 2) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"prompt": [["one", "two"][n % 2] + "x" * 0 for n in range(rows)]}), file)
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("inner/a.jsonl", LINES)
    return file.getvalue()


NAMES = (
    "a.jsonl",
    "with blanks and ünï.jsonl",
    "100%25 of+it&more.jsonl",
    "a[1]*.jsonl",
    "x=1/y#2/z?.jsonl",
    "d//e.jsonl",
    "a::b.jsonl",
)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_a_store_is_read_whatever_it_is_called(put: Put, name: str) -> None:
    assert values(put(name, LINES)) == ROWS


@pytest.mark.slow
def test_packing_and_format_go_by_the_name_or_the_bytes(put: Put) -> None:
    assert values(put("a.jsonl.gz", gzip.compress(LINES))) == ROWS
    assert values(put("packed.jsonl", gzip.compress(LINES))) == ROWS
    assert values(put("a.parquet", parquet())) == ROWS
    assert values(put("a.zip", archive())) == ROWS
    assert values("s3://bucket/a.zip/inner/a.jsonl") == ROWS
    assert values("S3://bucket/a.jsonl.gz") == ROWS


@pytest.mark.slow
def test_a_folder_and_a_pattern_are_their_files_in_order(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")  # a listing comes in pages, as of more than 1,000 objects
    for number in (2, 1):
        put(f"in here/{number}.jsonl", json.dumps({"prompt": str(number)}).encode())
    put("in here/.hidden.jsonl", LINES)
    put("in here/made/run.json", b"{}")
    put("in here/made/features/part-00000.parquet", parquet())
    put("in here/notes.bin", b"")
    expected = [{"prompt": "1"}, {"prompt": "2"}]
    for where in ("in here", "in here/", "in here/*.jsonl", "in */[12].jsonl"):
        assert values(f"s3://bucket/{where}") == expected, where
    put("top.jsonl", LINES)
    assert values("s3://bucket/*.jsonl") == ROWS
    assert len(values("s3://bucket/")) == len(values("s3://bucket")) == 4


@pytest.mark.slow
def test_what_is_not_there_is_named_with_what_is_near(put: Put) -> None:
    put("data/train.jsonl", LINES)
    for where, says in {
        "s3://bucket/data/trian.jsonl": "in the same folder: train.jsonl",
        "s3://bucket/dta/train.jsonl": "nor folder s3://bucket/dta",
        "s3://bukcet/train.jsonl": "bukcet",
        "s3://bukcet": "no such bucket",
        "s3://": "",
        "s3:///x.jsonl": "",
        "s3://bucket/data/*.csv": "no such file",
        "ftp://host/x.jsonl": "inputs are local files, or at s3://",
    }.items():
        with pytest.raises(ActkitError) as caught:
            values(where)
        assert says in f"{caught.value}", where


def test_parquet_of_a_store_is_read_by_the_bytes_that_are_needed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    fetched = []
    real = s3fs.core.S3File._fetch_range
    monkeypatch.setattr(
        s3fs.core.S3File, "_fetch_range", lambda self, start, end: fetched.append(end - start) or real(self, start, end)
    )
    table = pa.table(
        {"prompt": [f"text {n}" for n in range(4000)], "other": [n.to_bytes(2, "big") * 300 for n in range(4000)]}
    )
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=500, compression="none", use_dictionary=False)
    where = put("big.parquet", file.getvalue())
    records = read_records(where)
    assert next(records).value["prompt"] == "text 0"
    records.close()
    assert sum(fetched) < len(file.getvalue()) / 3


class TestWeb:
    @pytest.mark.parametrize("ranges", [True, False])
    def test_lines_archives_and_parquet_with_and_without_ranges(self, web: Web, ranges: bool) -> None:
        web.ranges = ranges
        web.files = {
            "/a.jsonl": LINES,
            "/b.jsonl": gzip.compress(LINES),
            "/c.parquet": parquet(),
            "/d.zip": archive(),
            "/e.jsonl.gz": gzip.compress(LINES),
            "/with%20blanks%20%C3%BC.jsonl": LINES,
            "/empty.jsonl": b"",
        }
        web.redirects = {"/to": "/b.jsonl", "/to.jsonl": f"{web.url}/to"}
        for name in (
            "a.jsonl",
            "b.jsonl",
            "c.parquet",
            "d.zip",
            "d.zip/inner/a.jsonl",
            "e.jsonl.gz?sig=x&download=true",
            "with%20blanks%20%C3%BC.jsonl",
            "with blanks ü.jsonl",
            "to.jsonl",
        ):
            assert values(f"{web.url}/{name}") == ROWS, name
        assert values(f"{web.url}/empty.jsonl") == []

    def test_what_breaks_off_goes_on_or_is_said(self, web: Web) -> None:
        text = b"".join(b'{"prompt": "%06d"}\n' % n for n in range(40_000))
        web.files, web.breaks_after = {"/a.jsonl": text}, 500_000
        assert [value["prompt"] for value in values(f"{web.url}/a.jsonl")] == [f"{n:06}" for n in range(40_000)]
        web.ranges = False
        with pytest.raises(InputError, match="cut off after 500,000 of 840,000 bytes"):
            values(f"{web.url}/a.jsonl")

    def test_answers_and_silence_are_sentences(self, web: Web) -> None:
        web.statuses = {"/401.jsonl": 401, "/403.jsonl": 403, "/500.jsonl": 500, "/418.jsonl": 418}
        web.redirects = {"/round.jsonl": "/round.jsonl"}
        for name, says in {
            "401": "access is denied",
            "403": "access is denied",
            "500": "the server answers 500",
            "418": "answers 418",
            "404": "no such file",
            "round": "answers 302",
        }.items():
            with pytest.raises(InputError, match=says):
                values(f"{web.url}/{name}.jsonl")
        for where in ("http://127.0.0.1:9/a.jsonl", "https://nowhere.invalid/a.jsonl"):
            with pytest.raises(InputError, match="cannot be reached"):
                values(where)

    def test_user_password_and_signature_are_sent_and_never_repeated(
        self, web: Web, actkit: Run, tmp_path: Path
    ) -> None:
        web.files = {"/a.jsonl": LINES}
        web.redirects = {"/away.jsonl": f"{web.url.replace('127.0.0.1', 'localhost')}/a.jsonl"}
        host = web.url.removeprefix("http://")
        where = f"http://me:pass%40word@{host}/a.jsonl?X-Amz-Signature=s3cr3t&version=2"
        result = actkit("capture", where, "-o", tmp_path / "run", "--layers", "1")
        assert result.status == 0, result.err
        assert any(header.get("Authorization") == "Basic bWU6cGFzc0B3b3Jk" for header in web.headers)
        everything = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
        assert b"version=2" in everything
        for secret in (b"s3cr3t", b"pass%40word", b"pass@word"):
            assert secret not in everything and secret.decode() not in result.out + result.err
        web.headers.clear()
        assert values(f"http://me:pw@{host}/away.jsonl") == ROWS
        assert "Authorization" not in web.headers[-1] and "Authorization" in web.headers[0]
        web.statuses = {"/no.jsonl": 403}
        with pytest.raises(InputError) as caught:
            values(f"http://me:hidden@{host}/no.jsonl?sig=hidden")
        assert "hidden" not in str(caught.value)


@pytest.mark.slow
def test_a_run_says_which_version_of_a_file_it_read(put: Put, actkit: Run, tmp_path: Path) -> None:
    where = put("a b.jsonl", LINES)
    result = actkit("capture", where, "-o", tmp_path / "run", "--layers", "1", "--json")
    assert result.status == 0, result.err
    [read] = result.found["read_from"]
    assert len(api.capture(where, layers=1)["sequences"]) == 2
    assert read == version_of(where) and read["bytes"] == len(LINES) and len(read["etag"]) == 32
    assert "secret-that-is-nowhere" not in "".join(p.read_text("utf-8", "ignore") for p in tmp_path.rglob("*.*"))


@pytest.mark.slow
def test_a_store_without_its_package_credentials_or_network(
    s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    import s3fs

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match=r"gs:// needs gcsfs\nhint: .*pip install 'actkit\[cloud\]'"):
        values("gs://bucket/x.jsonl")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="s3://bucket/x.jsonl: cannot be reached"):
        values("s3://bucket/x.jsonl")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="no credentials were found\nhint: aws configure"):
        values("s3://bucket/x.jsonl")


def test_what_of_an_address_may_be_repeated() -> None:
    assert public("https://u:p@h/x?sig=1&version=2#f") == "https://***@h/x?sig=***&version=2#f"
    assert public("s3://key:secret@bucket/x?y@z") == "s3://***@bucket/x?y@z"
    assert public("abfs://container@account.dfs.core.windows.net/x").count("*") == 0
    assert public("a b?c=d") == "a b?c=d"
    assert as_url("S3:/b/x") == "s3://b/x" and file_name("https://h/a%20b.gz?x=.csv") == "https://h/a b.gz"
