"""Errors of the packages behind addresses in a sentence, whoever raised them; and file systems that ask for nothing."""

import socket
import sys
import types
import urllib.error
from pathlib import Path
from typing import Any

import fsspec
import pytest

from actkit.errors import InputError, RunError, UsageError, WriteError, pip_install
from actkit.remote.failures import CREDENTIALS, check_no_password, explained, is_final, said
from actkit.remote.file_system import WEB, WebFileSystem, file_system, for_arrow
from actkit.remote.web import WebFile
from actkit.runs.pushing import HubPlace
from tests.remote.conftest import Web
from tests.remote.in_memory import Bucket, bucket

AT = "s3://bucket/x"


def of(name: str, text: str = "no words", **about: Any) -> Exception:
    """An error of a class that a package would have, with what it knows."""
    made: Exception = type(name, (Exception,), {})(text)
    for key, value in about.items():
        setattr(made, key, value)
    return made


def boto(status: int) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": status}}


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (of("NoCredentialsError"), "no credentials were found", CREDENTIALS["s3"]),
        (ValueError("Unable to locate credentials"), "no credentials were found", CREDENTIALS["s3"]),
        (caused(OSError("x"), of("ProfileNotFound")), "no credentials were found", CREDENTIALS["s3"]),
        (of("ClientError", response=boto(403)), "access is denied (403)", CREDENTIALS["s3"]),
        (of("HTTPError", status=401), "access is denied (401)", CREDENTIALS["s3"]),
        (PermissionError("Forbidden"), "access is denied", CREDENTIALS["s3"]),
        (OSError("Forbidden: https://x"), "access is denied (403)", CREDENTIALS["s3"]),
        (
            ValueError("Must provide either a connection_string or account_name"),
            "no account was named",
            CREDENTIALS["s3"],
        ),
        (of("EndpointConnectionError"), "cannot be reached", "check the connection and the address"),
        (caused(OSError("x"), socket.gaierror("y")), "cannot be reached", "check the connection and the address"),
        (ConnectionResetError(), "cannot be reached", "check the connection and the address"),
        (of("ClientError", response=boto(500)), "the server answers 500", "the server's fault: try again"),
        (of("HTTPError", code=418), "the server answers 418", "check the address"),
        (
            of("HTTPError", response=types.SimpleNamespace(status_code=404)),
            "the server answers 404",
            "check the address",
        ),
        (of("Odd", "\n first line \nsecond"), "cannot be used (first line)", "check the address"),
        (of("Odd", ""), "cannot be used (Odd)", "check the address"),
        (caused(of("Outer", "a"), of("Inner", "b")), "cannot be used (b)", "check the address"),
    ],
)
def test_what_went_wrong_is_one_sentence(error: Exception, says: str, hint: str) -> None:
    found = said(error, AT, WriteError)
    assert isinstance(found, WriteError) and (found.message, found.hint) == (f"{AT}: {says}", hint)


def test_nothing_of_it_that_may_be_a_secret_is_repeated() -> None:
    text = "GET https://x.org/a?sig=S3CR3T failed; token=S3CR3T secret_key: S3CR3T Authorization: S3CR3T"
    found = said(of("Odd", text), "https://me:S3CR3T@x.org/a?sig=S3CR3T&version=2")
    assert "S3CR3T" not in found.message and "token ***" in found.message and "version=2" in found.message


def test_a_package_that_is_missing_is_to_be_installed() -> None:
    found = said(caused(OSError("x"), ModuleNotFoundError("no", name="s3fs")), AT)
    assert isinstance(found, UsageError) and (found.message, found.hint) == (
        "s3:// needs s3fs",
        pip_install("'actkit[cloud]'"),
    )


def test_what_is_said_already_and_what_is_not_there_pass() -> None:
    for own in (RunError("said"), FileNotFoundError("x"), GeneratorExit()):
        with pytest.raises(type(own)) as caught, explained(AT):
            raise own
        assert caught.value is own
    with pytest.raises(InputError), explained(AT):
        raise ValueError("x")


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (PermissionError(), True),
        (ModuleNotFoundError(), True),
        (of("NoCredentialsError"), True),
        (of("ClientError", response=boto(404)), True),
        (of("ClientError", response=boto(429)), False),
        (of("ClientError", response=boto(503)), False),
        (ConnectionResetError(), False),
        (caused(OSError(), PermissionError()), True),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: Exception, final: bool) -> None:
    assert is_final(error) is final


@pytest.mark.parametrize("url", ["s3://me:S3CR3T@bucket/x", "gs://me@bucket/x", "az://a:b@c/x", "hf://datasets:x@me/y"])
def test_an_address_has_no_password(url: str) -> None:
    with pytest.raises(UsageError, match="credentials are not read from an address") as error:
        check_no_password(url)
    assert "S3CR3T" not in str(error.value)


def test_a_container_of_an_account_is_no_password() -> None:
    for url in ("abfs://container@account/x", "s3://bucket/a@b", "https://me:x@example.org/a"):
        check_no_password(url)


def test_a_store_is_opened_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with bucket():
        system, key = file_system("GS:/bucket/a b")
        assert isinstance(system, Bucket) and key == "/bucket/a b"
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # outside: what the store put there would come back after it
    with pytest.raises(UsageError, match="gs:// needs gcsfs"):
        file_system("gs://bucket/x")
    with pytest.raises(UsageError, match="credentials are not read"):
        file_system("s3://a:b@bucket/x")


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {"s3": {"default_cache_type": "all"}})
    with bucket():
        file_system("gs://bucket/x")
    assert fsspec.config.conf["s3"]["default_cache_type"] == "all" and "config_kwargs" in fsspec.config.conf["s3"]


def test_addresses_of_the_web_and_for_arrow() -> None:
    system, address = file_system("HTTPS:/example.org/a b?x=1")
    assert type(system).__name__ == "WebFileSystem" and address == "https://example.org/a b?x=1"
    assert for_arrow("https://example.org/a") == f"fsspec+{WEB}://https://example.org/a"
    assert for_arrow("s3:/bucket/x") == "fsspec+s3://bucket/x"


@pytest.mark.parametrize(
    ("where", "repo", "revision"),
    [
        ("hf://datasets/me/x", "me/x", None),
        ("HF://datasets/me/x-1.0/", "me/x-1.0", None),
        ("hf://datasets/me/x@v1", "me/x", "v1"),
    ],
)
def test_a_place_on_the_hub(where: str, repo: str, revision: str | None) -> None:
    found = HubPlace.of(where)
    assert (found.repo, found.revision) == (repo, revision)
    assert HubPlace.of(found.url) == found


@pytest.mark.parametrize("where", ["hf://datasets/x", "hf://datasets/me/x/data", "hf://me/x", "hf://datasets/me/x@"])
def test_what_is_no_dataset_of_its_own(where: str) -> None:
    with pytest.raises(UsageError, match="a run is pushed to a dataset of its own") as error:
        HubPlace.of(where)
    assert error.value.hint == "such as hf://datasets/me/name"


DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_of_the_web_is_read_like_one_of_the_disk(web: Web, ranges: bool, tmp_path: Path) -> None:
    web.files["/x"], web.ranges = DATA, ranges
    (tmp_path / "x").write_bytes(DATA)
    with WebFile(f"{web.url}/x") as file, (tmp_path / "x").open("rb") as plain:
        assert (file.size, file.has_ranges, file.readable(), file.seekable()) == (len(DATA), ranges, True, True)
        for move in ((0, 0), (5, 1), (100_000, 0), (100_010, 0), (-10, 2), (7, 0), (0, 2), (300_000, 0)):
            assert file.seek(*move) == plain.seek(*move) == file.tell()
            assert file.read(20) == plain.read(20), move
    if ranges:
        with WebFile(f"{web.url}/x") as file, pytest.raises(ValueError, match="before the beginning"):
            file.seek(-1)


def test_what_breaks_off_is_asked_for_again(web: Web) -> None:
    web.files["/x"], web.breaks_after = DATA, 100_000
    with WebFile(f"{web.url}/x") as file:
        assert file.readall() == DATA
    assert [wanted for _, wanted in web.requests] == ["bytes=0-", "bytes=100000-", "bytes=200000-"]
    web.ranges = False
    with WebFile(f"{web.url}/x") as file, pytest.raises((InputError, OSError)):
        file.readall()


def test_a_file_that_has_changed_meanwhile_is_refused(web: Web) -> None:
    web.files["/x"] = DATA
    with WebFile(f"{web.url}/x") as file:
        file.etag = '"another"'
        file.seek(200_000)
        with pytest.raises(InputError, match="the file has changed while it was read"):
            file.read(1)


def test_a_server_that_gives_the_whole_file_for_a_part_is_not_believed(web: Web) -> None:
    web.files["/x"] = DATA
    with WebFile(f"{web.url}/x") as file:
        web.ranges = False
        file.seek(200_000)
        with pytest.raises(InputError, match="the file has changed while it was read"):
            file.read(1)


def test_files_that_are_empty_or_not_there(web: Web) -> None:
    web.files["/empty"] = b""
    with WebFile(f"{web.url}/empty") as file:
        assert file.size == 0 and file.readall() == b""
    with pytest.raises(FileNotFoundError):
        WebFile(f"{web.url}/nothing")
    web.statuses["/x"] = 500
    with pytest.raises(urllib.error.HTTPError):
        WebFile(f"{web.url}/x")


def test_user_and_password_are_sent_as_such_and_not_in_the_address(web: Web) -> None:
    web.files["/a%20b"] = b"x"
    with WebFile(f"http://me:p%20w@{web.url.removeprefix('http://')}/a b") as file:
        assert file.read() == b"x"
    assert web.headers[0]["Authorization"] == "Basic bWU6cCB3"


def test_folders_of_the_web_are_those_of_a_runs_manifest(web: Web) -> None:
    import json

    files = {
        "run.json": {"bytes": 2},
        "tokens/part-00000.parquet": {"bytes": 3},
        "tokens/part-00001.parquet": {"bytes": 4},
    }
    web.files |= {
        "/runs/x/manifest.json": json.dumps({"files": files}).encode(),
        "/runs/x/run.json": b"{}",
        "/runs/x/verify.json": b"[]",
    }
    system, root = WebFileSystem(skip_instance_cache=True), f"{web.url}/runs/x"
    assert {entry["name"].removeprefix(f"{root}/"): (entry["type"], entry["size"]) for entry in system.ls(root)} == {
        "run.json": ("file", 2),
        "tokens": ("directory", 0),
        "manifest.json": ("file", len(web.files["/runs/x/manifest.json"])),
    }
    assert system.ls(f"{root}/tokens", detail=False) == [f"{root}/tokens/part-0000{n}.parquet" for n in (0, 1)]
    assert (
        system.info(f"{root}/tokens/part-00001.parquet")["size"] == 4
        and system.info(f"{root}/tokens")["type"] == "directory"
    )
    assert system.info(root)["type"] == "directory" and system.info(f"{root}/verify.json")["size"] == 2
    for missing in (f"{root}/nothing.json", f"{web.url}/elsewhere/x"):
        with pytest.raises(FileNotFoundError):
            system.info(missing)
    with pytest.raises(FileNotFoundError):
        system.ls(f"{web.url}/elsewhere/x")
    with system.open(f"{root}/run.json") as file:
        assert file.read() == b"{}"
    with pytest.raises(OSError, match="the web is read only"):
        system.open(f"{root}/run.json", "wb")
