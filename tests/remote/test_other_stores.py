"""`gs://` and `az://` through gcsfs and adlfs themselves, against servers on this machine that stand for the stores."""

import json
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import ActkitError, WriteError
from actkit.pipeline.input.reader import Record, read_records
from actkit.remote import store
from actkit.remote.reading import version_of
from tests.command_line import Run
from tests.remote.az_server import az_server
from tests.remote.gs_server import gs_server

# aiohttp's own remark on what both packages send.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
ROWS = [{"prompt": "one"}, {"prompt": "two"}]
LINES = b'{"prompt": "one"}\n{"prompt": "two"}\n'


@dataclass
class Store:
    """A store of one kind: its objects by name, and how to have it refuse whatever it is asked."""

    scheme: str
    objects: MutableMapping[str, bytes]
    refuse: Callable[[int], None]

    def at(self, key: str) -> str:
        return f"{self.scheme}://bucket/{key}"


@pytest.fixture(params=["gs", "az"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # as `file_system` has it before the import
    package = pytest.importorskip({"gs": "gcsfs", "az": "adlfs"}[request.param])
    system = package.GCSFileSystem if request.param == "gs" else package.AzureBlobFileSystem
    monkeypatch.setattr(store, "PAUSES", (0.01,))
    with ExitStack() as stack:
        if request.param == "gs":
            bucket = stack.enter_context(gs_server())
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
            # What FSSPEC_GCS_TOKEN=anon does, which is read when fsspec is imported.
            monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
            found = Store("gs", bucket.objects, lambda status: setattr(bucket, "refused", status))
        else:
            container = stack.enter_context(az_server())
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", container.connection)
            found = Store(
                "az",
                container.blobs,
                lambda status: setattr(container, "refused", (status, "AuthorizationFailure")),
            )
        system.clear_instance_cache()
        yield found
        system.clear_instance_cache()


def values(where: str) -> list[Any]:
    return [record.value for record in read_records(where) if isinstance(record, Record)]


def test_inputs_are_read_by_their_names_folders_and_patterns(cloud: Store) -> None:
    for name in ("a.jsonl", "with blanks and ünï.jsonl", "100%25 of+it&more.jsonl", "x=1/y#2.jsonl"):
        cloud.objects[name] = LINES
        assert values(cloud.at(name)) == ROWS, name
    for number in range(7):  # more than a page of a listing
        cloud.objects[f"in here/{number}.jsonl"] = json.dumps({"prompt": str(number)}).encode()
    expected = [{"prompt": str(number)} for number in range(7)]
    for where in ("in here", "in here/", "in here/*.jsonl"):
        assert values(cloud.at(where)) == expected, where
    file = pa.BufferOutputStream()
    pq.write_table(pa.table({"prompt": ["one", "two"]}), file)
    cloud.objects["a.parquet"] = file.getvalue().to_pybytes()
    assert values(cloud.at("a.parquet")) == ROWS
    version = version_of(cloud.at("a.jsonl"))
    assert version["url"] == cloud.at("a.jsonl") and version["bytes"] == len(LINES) and len(version) > 2


def test_what_is_not_there_or_refused_is_a_sentence(cloud: Store) -> None:
    cloud.objects["data/train.jsonl"] = LINES
    for where, says in (
        (cloud.at("data/trian.jsonl"), "in the same folder: train.jsonl"),
        (cloud.at("dta/train.jsonl"), "nor folder"),
        (f"{cloud.scheme}://bukcet/train.jsonl", "bukcet"),
    ):
        with pytest.raises(ActkitError) as caught:
            values(where)
        assert says in str(caught.value), (where, str(caught.value))
    cloud.refuse(403)
    with pytest.raises(ActkitError, match="access is denied") as caught:
        values(cloud.at("data/train.jsonl"))
    assert "secret-that-is-nowhere" not in str(caught.value)
    with pytest.raises(WriteError, match="access is denied"):
        store.put_text(cloud.at("x"), "x")


def test_objects_are_put_once_listed_and_removed(cloud: Store, tmp_path: Path) -> None:
    assert store.put_new(cloud.at("run/lock"), "mine") and not store.put_new(cloud.at("run/lock"), "yours")
    assert cloud.objects["run/lock"] == b"mine"
    (tmp_path / "part").write_bytes(b"x" * (6 << 20))  # beyond 5 MB gcsfs sends pieces
    for data in (b"x" * (6 << 20), b"", b"again"):
        (tmp_path / "part").write_bytes(data)
        store.put_file(cloud.at("run/a/part 1.parquet"), tmp_path / "part")
        assert cloud.objects["run/a/part 1.parquet"] == data
    for number in range(5):
        store.put_text(cloud.at(f"run/shards/{number}.json"), str(number))
    store.put_text(cloud.at("runner/x"), "another folder")
    found = store.files_at(cloud.at("run"))
    assert found == {"a/part 1.parquet": 5, "lock": 4, **{f"shards/{number}.json": 1 for number in range(5)}}
    for _ in range(2):  # what is not there is removed already
        store.remove(cloud.at("run/lock"))
    assert "run/lock" not in cloud.objects and store.files_at(cloud.at("nothing")) == {}
    with pytest.raises(WriteError, match="bukcet"):
        store.files_at(f"{cloud.scheme}://bukcet/run")


@pytest.mark.slow
def test_a_run_in_the_store_is_the_local_one(
    cloud: Store, actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTKIT_STAGING", str(tmp_path / "staging"))
    Path("texts.txt").write_text("\n".join(f"Text {n} of a few" for n in range(14)))
    asked = ("capture", "texts.txt", "--layers", "1", "--shard-sequences", "4", "-q", "-o")
    assert actkit(*asked, "plain").status == 0
    at = cloud.at("runs/x")
    made = actkit(*asked, at)
    assert (made.status, made.out) == (0, f"{at}\n"), made.err
    plain = {str(path.relative_to("plain")): path.read_bytes() for path in Path("plain").rglob("*") if path.is_file()}
    stored = {name.removeprefix("runs/x/"): data for name, data in cloud.objects.items()}
    assert set(stored) == set(plain)
    assert {name: data for name, data in stored.items() if name.endswith("parquet")} == {
        name: data for name, data in plain.items() if name.endswith("parquet")
    }
    assert actkit("show", at).out.replace(at, "RUN") == actkit("show", "plain").out.replace("plain", "RUN")
    assert actkit("verify", at).status == 0
    assert actkit(*asked, at).status == 1 and actkit(*asked, at, "--overwrite").status == 0
    assert actkit("verify", at).status == 0
