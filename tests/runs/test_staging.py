"""A run that goes to a store has one directory on this machine, and what was put there is known by its digest."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import WriteError
from actkit.remote.path import RemotePath
from actkit.runs.staging import STAGING, fetched, staging


def test_a_run_has_the_same_directory_each_time_and_no_other_run_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STAGING, str(tmp_path))
    first = staging(RemotePath("s3://bucket/a/run"))
    assert first == staging(RemotePath("s3://bucket/a/run")) and first.name == "run" and first.parent.is_dir()
    assert first != staging(RemotePath("s3://bucket/b/run"))
    monkeypatch.delenv(STAGING)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert staging(RemotePath("s3://bucket/a/run")).is_relative_to(tmp_path / "cache" / "actkit" / "uploads")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STAGING, str(tmp_path / "file"))
    with pytest.raises(WriteError, match="cannot make .*file") as error:
        staging(RemotePath("s3://bucket/run"))
    assert error.value.hint == "ACTKIT_STAGING names another folder"


@pytest.mark.parametrize("is_finished", [False, True])
def test_what_is_in_the_store_is_fetched_with_its_digests(tmp_path: Path, is_finished: bool) -> None:
    """Of a finished run no table, and never its lock, its log or what `verify` found."""
    there: Any = tmp_path / "store"  # a folder stands for it
    files = [
        "fingerprint.json",
        "shards/part-00000.json",
        "tokens/part-00000.parquet",
        "lock",
        "run.log",
        "verify.json",
    ]
    files += ["run.json"] if is_finished else []
    for name in files:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(name * 1000)
    found = fetched(there, dict.fromkeys(files, 0), tmp_path / "here")
    wanted = {"fingerprint.json", "shards/part-00000.json"}
    wanted |= {"run.json"} if is_finished else {"tokens/part-00000.parquet"}
    assert found == {name: hashlib.sha256((name * 1000).encode()).hexdigest() for name in wanted}
    here = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert here == wanted
