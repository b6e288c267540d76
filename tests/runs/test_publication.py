"""A run goes to a store shard by shard, `run.json` last; what is in the way there is said before anything is put."""

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actkit.config import OutputSpec
from actkit.errors import RunError, UsageError, WriteError
from actkit.remote import store
from actkit.remote.path import RemotePath
from actkit.runs import publication as module
from actkit.runs.atomic_files import of_file
from actkit.runs.publication import Publication, check_place, check_store, published
from actkit.runs.staging import staging
from tests.remote.in_memory import AT, Bucket, bucket, objects, put


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ACTKIT_STAGING", str(tmp_path / "staging"))
    monkeypatch.setattr(store, "PAUSES", ())
    with bucket():
        yield


@pytest.fixture
def spec() -> OutputSpec:
    return OutputSpec(RemotePath(AT))


@pytest.fixture
def run(six_runs: Mapping[str, Path]) -> Path:
    return six_runs["capture"]


def files_of(run: Path) -> dict[str, bytes]:
    files = {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if name != "verify.json"}


def test_a_local_run_and_a_plan_have_none(tmp_path: Path, spec: OutputSpec) -> None:
    for output in (OutputSpec(tmp_path / "x"), replace(spec, plan_only=True)):
        with published(output) as publication:
            assert publication is None
    assert objects() == {} and not (tmp_path / "staging").exists()


def test_a_finished_run_is_put_there_and_the_local_directory_goes(run: Path, spec: OutputSpec, tmp_path: Path) -> None:
    shares: list[float] = []
    with published(spec) as publication:
        assert publication is not None and publication.output.published == spec.out
        assert publication.local == publication.output.out and json.loads(objects()["lock"])["mine"]
        shutil.copytree(run, publication.local)
        assert publication.finish(shares.append) == spec.out
    assert objects() == files_of(run), "and the claim is gone"
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert list((tmp_path / "staging").iterdir()) == []


def test_run_json_is_put_when_all_the_rest_is_there(
    run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    plain = store.put_file
    monkeypatch.setattr(
        store, "put_file", lambda url, path: (names.append(url.removeprefix(f"{AT}/")), plain(url, path))
    )
    with published(spec) as publication:
        assert publication is not None
        shutil.copytree(run, publication.local)
        publication.finish()
    assert names[0] == "fingerprint.json" and names[-1] == "run.json" and names.index("manifest.json") > 3
    assert sorted(names) == sorted(set(names)), "nothing twice"


def test_what_is_there_already_is_not_put_again_and_what_does_not_belong_goes(
    run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(
        {
            "tokens/part-00000.parquet": (run / "tokens/part-00000.parquet").read_bytes(),
            "tokens/part-00007.parquet": b"x",
        }
    )
    put({"sequences/part-00000.parquet": b"another size"})
    local = staging(RemotePath(AT))
    shutil.copytree(run, local)
    done = {name: of_file(run / name) for name in ("tokens/part-00000.parquet", "sequences/part-00000.parquet")}
    names: list[str] = []
    plain = store.put_file
    monkeypatch.setattr(
        store, "put_file", lambda url, path: (names.append(url.removeprefix(f"{AT}/")), plain(url, path))
    )
    publication = Publication(RemotePath(AT), replace(spec, out=local, published=spec.out), False, done)
    publication.put_all(lambda _share: None)
    assert "tokens/part-00000.parquet" not in names and "sequences/part-00000.parquet" in names
    assert objects() == files_of(run)
    journal = json.loads((local.parent / "uploaded.json").read_text())
    assert journal == {name: of_file(run / name) for name in files_of(run) if name != "run.log"} | (
        {"run.log": of_file(run / "run.log")} if (run / "run.log").exists() else {}
    )


def test_an_object_that_another_process_changed_ends_it_before_run_json(
    run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = store.put_file

    def other(url: str, path: Path) -> None:
        plain(url, path)
        if url.endswith("manifest.json") and "shards" not in url:
            put({"tokens/part-00000.parquet": b"cut"})

    monkeypatch.setattr(store, "put_file", other)
    with published(spec) as publication:
        assert publication is not None
        shutil.copytree(run, publication.local)
        with pytest.raises(
            WriteError, match="part-00000.parquet is not as it was put there; the whole run is kept"
        ) as error:
            publication.finish()
        assert error.value.hint == "does another process write there?"
        assert publication.local.exists()
    assert "run.json" not in objects() and "lock" not in objects()


def test_a_run_that_is_replaced_is_none_until_the_new_one_is_whole(
    run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(files_of(run))
    there: list[bool] = []
    plain = store.put_file
    monkeypatch.setattr(store, "put_file", lambda url, path: (there.append("run.json" in objects()), plain(url, path)))
    with published(replace(spec, overwrite=True)) as publication:
        assert publication is not None and publication.replaces
        assert set(objects()) == {*files_of(run), "lock"}, "what is there stays until then"
        shutil.copytree(run, publication.local)
        publication.finish()
    assert there and not any(there) and objects() == files_of(run)


def appear(run: Path, where: Path) -> None:
    """Copy a run so that it is there at once: a manifest without its shard's files is never seen."""
    shutil.copytree(run, where.with_name("copy")).rename(where)


def test_shards_are_put_while_the_run_goes_on(run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.001)
    arrived = threading.Event()
    plain = store.put_file

    def noticed(url: str, path: Path) -> None:
        plain(url, path)
        if url.endswith("shards/part-00000.json"):
            arrived.set()

    monkeypatch.setattr(store, "put_file", noticed)
    with published(spec) as publication:
        assert publication is not None
        appear(run, publication.local.with_name("x.partial"))
        assert arrived.wait(60)
        publication.stop()
        found = objects()
        assert "run.json" not in found and {"fingerprint.json", "shards/part-00000.json"} <= found.keys()
        assert {name for name in found if name.endswith(".parquet")} == {
            f"{table}/part-00000.parquet" for table in json.loads(found["shards/part-00000.json"])["tables"]
        }


def test_what_an_upload_ended_in_is_kept_and_no_further_shard_is_put(
    run: Path, spec: OutputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.001)

    def refused(_url: str, _path: Path) -> None:
        raise WriteError("no room")

    with published(spec) as publication:
        assert publication is not None
        monkeypatch.setattr(store, "put_file", refused)
        appear(run, publication.local.with_name("x.partial"))
        while publication.failed is None:
            publication._ended.wait(0.001)
        assert publication.failed.message == "no room"
    assert objects() == {}


@pytest.mark.parametrize(
    ("out", "kind", "says"),
    [
        ("hf://datasets/me/x", UsageError, "a run is not written to the hub file by file"),
        ("https://example.org/x", UsageError, "nothing can be written to the web"),
        ("gs://bucket", RunError, "gs://bucket is a whole bucket, no run"),
    ],
)
def test_where_no_run_can_be(out: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        check_store(RemotePath(out))
    check_store(RemotePath(AT))


def test_what_is_in_the_way_is_said_first(run: Path, spec: OutputSpec) -> None:
    at = RemotePath(AT)

    def refused(overwrite: bool = False, resume: bool = False) -> str:
        with pytest.raises(RunError) as error:
            check_place(at, store.files_at(AT), overwrite, resume)
        return error.value.message

    check_place(at, {}, overwrite=False, resume=False)
    put(files_of(run))
    assert refused() == f"{AT} exists already"
    check_place(at, store.files_at(AT), overwrite=True, resume=False)
    check_place(at, store.files_at(AT), overwrite=False, resume=True)
    put({"notes.txt": b"mine"})
    assert "holds notes.txt, which is not actkit's" in refused(overwrite=True)
    Bucket().rm_file(f"{AT}/notes.txt")
    put({"run.json": b"{}"})
    assert refused(overwrite=True) == f"{AT}: its run.json is not one of actkit's"
    Bucket().rm_file(f"{AT}/run.json")
    assert refused() == f"{AT} is an unfinished run"
    with pytest.raises(RunError, match="is an unfinished run"), published(spec):
        pass
    assert "lock" not in objects()


def test_an_unfinished_run_there_goes_on_here(run: Path, spec: OutputSpec) -> None:
    files = {name: data for name, data in files_of(run).items() if name not in ("run.json", "manifest.json")}
    put(files)
    with published(replace(spec, resume=True)) as publication:
        assert publication is not None and not publication.is_there and not publication.replaces
        partial = publication.local.with_name("x.partial")
        assert {path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()} == set(files) - {
            "run.log"
        }
        assert publication.uploaded["tokens/part-00000.parquet"] == of_file(run / "tokens/part-00000.parquet")


def test_a_finished_run_there_has_nothing_to_go_on_with(run: Path, spec: OutputSpec) -> None:
    put(files_of(run))
    with published(replace(spec, resume=True)) as publication:
        assert publication is not None and publication.is_there
        assert (publication.local / "run.json").exists() and not (publication.local / "tokens").exists()
        assert publication.finish() == spec.out
        assert not publication.local.exists()
    assert objects() == files_of(run)


def test_an_unfinished_run_here_may_only_replace_what_it_was_begun_to_replace(run: Path, spec: OutputSpec) -> None:
    put(files_of(run))
    partial = staging(RemotePath(AT)).with_name("x.partial")
    shutil.copytree(run, partial)
    with pytest.raises(RunError, match="was not begun to replace it") as error, published(replace(spec, resume=True)):
        pass
    assert error.value.hint == f"choose another --out, or remove {partial}"
    begun: dict[str, Any] = json.loads((partial / "fingerprint.json").read_text())
    (partial / "fingerprint.json").unlink()  # as where a process is killed at once
    with pytest.raises(RunError, match="was not begun to replace it"), published(replace(spec, resume=True)):
        pass
    (partial / "fingerprint.json").write_text(json.dumps({**begun, "replaces": True}))
    with published(replace(spec, resume=True)) as publication:
        assert publication is not None and publication.replaces


def test_a_run_that_is_begun_anew_leaves_nothing_of_the_one_before(run: Path, spec: OutputSpec) -> None:
    put({name: data for name, data in files_of(run).items() if name != "run.json"})
    local = staging(RemotePath(AT))
    shutil.copytree(run, local.with_name("x.partial"))
    with published(replace(spec, overwrite=True)) as publication:
        assert publication is not None and publication.uploaded == {}
        assert set(objects()) == {"lock"} and not local.with_name("x.partial").exists()
