"""`gs://` and `az://` through gcsfs and adlfs themselves, against servers on this machine that stand for the stores."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import ActkitError, WriteError
from actkit.pipeline.input.reader import Record, read_records
from actkit.remote import store
from actkit.remote.reading import version_of
from tests.command_line import Run
from tests.remote.conftest import Store

# aiohttp's own remark on what both packages send.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
ROWS = [{"prompt": "one"}, {"prompt": "two"}]
LINES = b'{"prompt": "one"}\n{"prompt": "two"}\n'


def values(where: str) -> list[Any]:
    return [record.value for record in read_records(where) if isinstance(record, Record)]


@pytest.mark.quick(1)
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


@pytest.mark.quick(1)
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


@pytest.mark.quick(1)
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
