"""A run made with `-o s3://…` is the local one, object by object; whatever ends it on the way, nothing is lost."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import RunError, WriteError
from actkit.remote import store
from actkit.runs import claim, lock_owner
from tests.command_line import Run

pytestmark = pytest.mark.slow
SHARDS = ("--layers", "1", "--shard-sequences", "4", "-q")
AT = "s3://bucket/a b/100% ü"
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTKIT_STAGING", str(tmp_path / "staging"))
    monkeypatch.setattr(store, "PAUSES", (0.01,))
    Path("texts.txt").write_text("\n".join(f"Text {n} of a few" for n in range(14)))


def objects(s3: Any, at: str = AT) -> Files:
    prefix = at.removeprefix("s3://bucket/") + "/"
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ())
    return {
        row["Key"].removeprefix(prefix): s3.get_object(Bucket="bucket", Key=row["Key"])["Body"].read() for row in found
    }


def parts(files: Files) -> Files:
    return {name: data for name, data in files.items() if name.endswith(".parquet")}


def local(run: str) -> Files:
    return {str(path.relative_to(run)): path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}


@pytest.fixture
def plain(actkit: Run) -> Files:
    assert actkit("capture", "texts.txt", *SHARDS, "-o", "plain").status == 0
    return local("plain")


def made(actkit: Run, *more: str, at: str = AT) -> Any:
    return actkit("capture", "texts.txt", *SHARDS, "-o", at, *more)


@pytest.mark.slow
def test_a_run_in_a_store_is_the_local_one(plain: Files, s3: Any, actkit: Run) -> None:
    result = made(actkit, "--export", "npz", "--report")
    assert (result.status, result.out) == (0, f"{AT}\n"), result.err
    found = objects(s3)
    assert set(found) == set(plain) and parts(found) == parts(plain)
    assert json.loads(found["run.json"])["options"]["out"] == AT
    assert b"staging" not in b"".join(found.values()) and b"secret-that-is-nowhere" not in b"".join(found.values())
    assert not list(Path("staging").iterdir())
    assert {path.name for path in Path().iterdir()} == {"plain", "texts.txt", "staging", "100% ü.npz", "100%-ü.html"}
    assert actkit("verify", AT).status == 0
    result = made(actkit)
    assert result.status == 1 and f"{AT} exists already" in result.err
    result = made(actkit, "--resume")
    assert result.status == 0 and objects(s3) == found, result.err
    result = made(actkit, "--overwrite", "--layers", "2")
    assert result.status == 0 and parts(objects(s3)) != parts(found), result.err
    assert actkit("verify", AT).status == 0


def test_a_run_that_is_refused_half_way_is_kept_and_goes_on(
    plain: Files, s3: Any, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = store.put_file, []

    def put(url: str, path: Path, *more: Any) -> None:
        if "activations/part-00001" in url and len(refused) < 5:
            refused.append(url)
            raise WriteError(f"{url}: access is denied (403)", "aws configure")
        real(url, path, *more)

    monkeypatch.setattr(store, "put_file", put)
    result = made(actkit)
    assert result.status == 1 and "access is denied" in result.err and "the whole run is kept in" in result.err
    assert "--resume" in result.err and "Traceback" not in result.err
    assert "run.json" not in objects(s3)
    result = actkit("show", AT)
    assert result.status == 1 and "the run is unfinished" in result.err
    refused[:] = [""] * 5
    result = made(actkit, "--resume")
    assert result.status == 0, result.err
    assert parts(objects(s3)) == parts(plain) and actkit("verify", AT).status == 0


@pytest.mark.slow
@pytest.mark.parametrize("again", ["here", "elsewhere", "overwrite"])
def test_a_run_that_is_killed_goes_on_here_and_on_another_machine(
    again: str, plain: Files, s3: Any, actkit: Run, tmp_path: Path
) -> None:
    Path("killed.py").write_text(
        "import os, sys\n"
        "from actkit.runs import publication\n"
        "from actkit.cli.app import main\n"
        "publication.POLL = 0.01\n"
        "real = publication.Publication._put\n"
        "def put(self, folder, name, digest):\n"
        "    real(self, folder, name, digest)\n"
        "    if name == 'shards/part-00001.json': os.kill(os.getpid(), 9)\n"
        "publication.Publication._put = put\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "killed.py", "capture", "texts.txt", *SHARDS, "-o", AT]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -9
    found = objects(s3)
    assert "shards/part-00001.json" in found and "run.json" not in found and "lock" in found
    result = made(actkit)
    assert result.status == 1 and "is an unfinished run" in result.err and "--resume" in result.err
    if again == "elsewhere":
        (tmp_path / "staging").rename(tmp_path / "gone")
    result = made(actkit, "--overwrite" if again == "overwrite" else "--resume")
    assert result.status == 0, result.err
    assert parts(objects(s3)) == parts(plain) and "lock" not in objects(s3)
    sessions = json.loads(objects(s3)["run.json"])["sessions"]
    assert len(sessions) <= (1 if again == "overwrite" else 2)  # here it may have been whole when it was killed
    assert actkit("verify", AT).status == 0


def test_what_is_not_actkit_s_is_in_the_way_and_stays(s3: Any, actkit: Run) -> None:
    s3.put_object(Bucket="bucket", Key="thesis/x/notes.txt", Body=b"mine")
    for more in ("--overwrite", "--resume", "-q"):
        result = made(actkit, more, at="s3://bucket/thesis/x")
        assert result.status == 1 and "holds notes.txt, which is not actkit's" in result.err, result.err
    assert objects(s3, "s3://bucket/thesis/x") == {"notes.txt": b"mine"}


def test_places_that_cannot_be_are_refused_before_a_model_is_loaded(s3: Any, actkit: Run) -> None:
    for at, says in {
        "s3://bucket": "is a whole bucket",
        "s3://bucket/": "is a whole bucket",
        "s3://no-such-bucket/x": "there is no bucket no-such-bucket",
        "hf://datasets/me/x": "actkit push",
        "https://host/x": "nothing can be written to the web",
        "s3://bucket/x.npz": "nothing can be written to s3://",
        "ftp://host/x": "nothing can be written to ftp://",
    }.items():
        result = actkit("capture", "-p", "One.", "--model", "/no/such/model", "-o", at)
        assert result.status in (1, 2) and says in result.err and not result.out, result.err
    assert [path.name for path in Path().iterdir() if path.name not in ("texts.txt", "staging")] == []


@pytest.mark.slow
def test_one_process_at_a_time_writes_a_run(s3: Any, actkit: Run) -> None:
    def claimed(host: str, age: float) -> Any:
        found = json.dumps({"host": host, "pid": os.getppid(), "time": time.time() - age})
        s3.put_object(Bucket="bucket", Key="x/lock", Body=found.encode())
        return made(actkit, at="s3://bucket/x")

    result = claimed("elsewhere", 5)
    assert result.status == 1 and "s3://bucket/x is being written by process" in result.err
    assert claimed("elsewhere", 500).status == 0
    racers, won = [], []
    for _ in range(8):
        racers.append(threading.Thread(target=lambda: won.append(store.put_new("s3://bucket/race", "x"))))
        racers[-1].start()
    for racer in racers:
        racer.join()
    assert sorted(won) == [False] * 7 + [True]


def test_who_has_a_run_that_others_claim(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's name and a process's number are not enough to tell: containers share them, and numbers come again."""
    here = lock_owner.this_process(flock=False)
    boot = str(here.started).partition(":")[0]

    def claimed(**about: Any) -> None:
        claim = {**asdict(here), "started": f"{boot}:1", "time": time.time() - 5, **about}
        s3.put_object(Bucket="bucket", Key="x/lock", Body=json.dumps(claim).encode())

    monkeypatch.setattr(claim, "SETTLED", 0.0)
    for other in ({"namespace": "pid:[1]"}, {"started": "another-boot:1"}, {"host": "elsewhere"}):
        claimed(pid=1 << 22, **other)
        with pytest.raises(RunError, match="being written by process"):
            claim.take("s3://bucket/x")
        claimed(pid=1 << 22, **other, time=time.time() - 500)
        claim.take("s3://bucket/x")
    claimed(pid=os.getppid())  # its number is another process's now
    claim.take("s3://bucket/x")
    real = store.put_text

    def put(url: str, text: str) -> None:
        real(url, text)
        claimed(pid=7, host="later", mine="later")

    monkeypatch.setattr(store, "put_text", put)
    claimed(pid=1 << 22, host="elsewhere", time=0)
    with pytest.raises(RunError, match="being written by process 7 on later"):
        claim.take("s3://bucket/x")


def test_what_fails_for_a_moment_is_tried_again(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    (tmp_path / "x").write_bytes(b"data")
    real, failures = s3fs.S3FileSystem._put_file, [OSError("500 Internal Error"), TimeoutError()]

    async def put(self: Any, *arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(self, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", put)
    store.put_file("s3://bucket/x", tmp_path / "x", (0.0, 0.0, 0.0))
    assert s3.get_object(Bucket="bucket", Key="x")["Body"].read() == b"data"
    failures[:] = [PermissionError("Access Denied"), PermissionError("Access Denied")]
    with pytest.raises(WriteError, match="access is denied"):
        store.put_file("s3://bucket/x", tmp_path / "x", (0.0, 0.0, 0.0))
    assert len(failures) == 1
