"""No password, key or signature of an address is in a file, a message or an error, whatever is done with it."""

import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import actkit as api
from actkit.errors import ActkitError, UsageError, WriteError
from actkit.remote.url import public, publicly
from actkit.runs.writer import RunDirectory
from tests.command_line import Result, Run
from tests.remote.conftest import Web

SECRET = "S3CR3T"
Address = Callable[[str], str]


@pytest.fixture
def at(web: Web) -> Address:
    """A path of the web server → its address with a user, a password and a signature."""
    return lambda path: f"http://me:{SECRET}@{web.url.removeprefix('http://')}{path}?X-Amz-Signature={SECRET}&version=2"


@pytest.fixture
def served(web: Web, six_runs: Mapping[str, Path]) -> Callable[[str], str]:
    """A finished run's command → its address, with a user and a password."""

    def of(command: str) -> str:
        for path in six_runs[command].rglob("*"):
            if path.is_file():
                web.files[f"/runs/{command}/{path.relative_to(six_runs[command]).as_posix()}"] = path.read_bytes()
        return f"http://me:{SECRET}@{web.url.removeprefix('http://')}/runs/{command}"

    return of


def check(folder: Path, *said: Result, status: int | None = 0) -> None:
    """Nothing that was said, and nothing in the folder, has the secret in it."""
    for result in said:
        assert status is None or result.status == status, result.err
        assert SECRET not in result.out + result.err
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET not in path.name and SECRET.encode() not in path.read_bytes(), path
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                assert SECRET not in repr((table.schema.metadata, table.to_pylist())), path


def test_of_inputs(
    at: Address, web: Web, six_runs: Mapping[str, Path], actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second input too, bad records, a run that breaks off, and the line that continues it."""
    monkeypatch.chdir(tmp_path)
    web.files = {
        "/a.jsonl": b'{"prompt": "one"}\n{\n{"prompt": "two"}\n',
        "/choices.jsonl": (six_runs["steer"].parent / "choices.jsonl").read_bytes(),
    }
    asked = ("capture", at("/a.jsonl"), "--layers", "1", "--verbose")
    check(tmp_path, actkit(*asked, "-o", "x"))
    assert json.loads(Path("x/run.json").read_text())["counts"]["rejected"] == 1
    check(tmp_path, actkit(*asked, "-o", "x"), actkit(*asked, "-o", "y", "--on-bad-record", "fail"), status=1)
    steered = ("steer", six_runs["concept"], "--layers", "2", "--strengths", "1", "--random", "2")
    check(tmp_path, actkit(*steered, "--answers", at("/choices.jsonl"), "-o", "steered"))
    assert "version=2" in Path("steered/config.yaml").read_text()

    def full(*_: object, **__: object) -> None:
        raise WriteError("cannot write x: No space left on device", "is the disk full?")

    monkeypatch.setattr(RunDirectory, "write", full)
    stopped = actkit(*asked, "-o", "z")
    check(tmp_path, stopped, status=1)
    assert "continue: actkit capture" in stopped.err, stopped.err


@pytest.mark.slow
def test_of_runs(served: Callable[[str], str], actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads a run, and whatever is made from it."""
    monkeypatch.chdir(tmp_path)
    run = served("concept")
    for arguments in (
        ("show", run),
        ("show", run, "--table", "directions"),
        ("verify", run),
        ("export", run, "--to", "npz"),
        ("report", run),
        ("plot", run, "layers", "-o", "layers.html"),
        ("concept", "--from", run, "--seed", "3", "-o", "again"),
        ("steer", run, "--layers", "2", "--strengths", "1", "--random", "2", "-o", "steered"),
    ):
        check(tmp_path, actkit(*arguments))
    opened = api.open_run(run)
    assert SECRET not in repr(opened) + str(opened.path) + opened._repr_html_()
    assert len(opened.table("directions"))  # and yet it is read


def test_of_errors_in_python_and_their_tracebacks(served: Callable[[str], str], web: Web, s3: object) -> None:
    run = served("capture")
    web.statuses["/runs/capture/run.json"] = 403
    wrong: list[Callable[[], object]] = [
        lambda: api.open_run(run),
        lambda: api.open_run(f"s3://key:{SECRET}@bucket/x"),
        lambda: api.open_run(f"az://me:{SECRET}@container/x"),
        lambda: api.capture(f"s3://key:{SECRET}@bucket/x.jsonl", layers=1),
        lambda: api.open_run(f"{run}/none?sig={SECRET}"),
    ]
    for call in wrong:
        with pytest.raises(ActkitError) as caught:
            call()
        assert SECRET not in f"{caught.value}{caught.value!r}"
    with pytest.raises(UsageError, match="credentials are not read from an address\nhint: aws configure") as caught:
        wrong[1]()
    assert SECRET not in "".join(traceback.format_exception(caught.value)[-1:])


def test_of_a_store_that_a_run_is_to_be_put_to(s3: object, actkit: Run, tmp_path: Path) -> None:
    said = actkit("capture", "-p", "One.", "--model", "/no/such/model", "-o", f"s3://key:{SECRET}@bucket/x")
    check(tmp_path, said, status=2)
    assert "credentials are not read from an address" in said.err


def test_what_of_a_text_with_addresses_may_be_repeated() -> None:
    for text, expected in (
        (f"https://h/a b.gz?sig={SECRET}&version=2: no such file", "https://h/a b.gz?sig=***&version=2: no such file"),
        (
            f"see 'https://u:{SECRET}@h/x?a={SECRET}' (or s3://k:{SECRET}@b/x)",
            "see 'https://***@h/x?a=***' (or s3://***@b/x)",
        ),
        (f"https:/u:{SECRET}@h/x", "https:/***@h/x"),
        (f"https://{SECRET}@h/x?token={SECRET}.", "https://***@h/x?token=***."),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("what? a=b&c=d, me:you@home", "what? a=b&c=d, me:you@home"),
    ):
        assert publicly(text) == expected
        assert publicly(text) == expected
    assert public(f"az://me:{SECRET}@container/x") == "az://***@container/x"
