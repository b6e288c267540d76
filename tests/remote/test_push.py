"""`actkit push`: what arrives is the run, its card loads each table, and nothing that somebody wrote is replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import WriteError
from actkit.remote import store
from actkit.runs.card import is_own_text
from actkit.runs.run import open_run
from tests.command_line import Run
from tests.remote.conftest import TOKEN
from tests.remote.hub_server import Hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from actkit.cli.app import main

    folder = tmp_path_factory.mktemp("push")
    (folder / "a.txt").write_text("\n".join(f"Text {n} of a few" for n in range(9)))
    for name, more in (("x", ("4",)), ("other", ("100",))):
        asked = ("capture", str(folder / "a.txt"), "--layers", "1", "-q", "-o", str(folder / name), "--shard-sequences")
        with pytest.raises(SystemExit) as ended:
            main([*asked, *more])
        assert ended.value.code == 0
    return folder


def saved(hub: Hub, repo: str, to: Path) -> Path:
    for name, data in hub.repos[repo].items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return to


@pytest.mark.slow
def test_a_pushed_run_is_whole_and_loads_by_table(hub: Hub, runs: Path, actkit: Run, tmp_path: Path) -> None:
    import datasets

    at = "hf://datasets/me/some.name"
    result = actkit("push", runs / "x", at, "--license", "cc-by-4.0", "--private")
    assert (result.status, result.out) == (0, f"{at}\n"), result.err
    assert hub.private == ["me/some.name"] and hub.authorizations <= {f"Bearer {TOKEN}", ""}
    files = hub.repos["me/some.name"]
    card = files["README.md"].decode()
    assert 'license: "cc-by-4.0"' in card and 'load_dataset("me/some.name", "activations")' in card
    assert TOKEN.encode() not in b"".join(files.values()) and TOKEN not in result.err + result.out
    copy = saved(hub, "me/some.name", tmp_path / "copy")
    (copy / ".gitattributes").unlink()
    assert actkit("verify", copy).status == 0
    datasets.disable_progress_bars()
    for table in ("tokens", "activations"):
        found = datasets.load_dataset(str(copy), table, cache_dir=str(tmp_path / "cache"))["train"]
        assert len(found) == len(open_run(runs / "x").table(table))
    assert actkit("verify", at).status == 0, actkit("verify", at).err
    assert open_run(at).table("tokens").equals(open_run(runs / "x").table("tokens"))

    uploads = len(hub.uploads)
    assert actkit("push", runs / "x", at, "--license", "cc-by-4.0").status == 0
    assert len(hub.uploads) == uploads  # by their sha256 they are there
    result = actkit("push", runs / "other", at)
    assert result.status == 1 and f"{at} holds another run" in result.err
    assert actkit("push", runs / "other", at, "--overwrite").status == 0
    stale = saved(hub, "me/some.name", tmp_path / "again")
    (stale / ".gitattributes").unlink()
    assert actkit("verify", stale).status == 0


@pytest.mark.slow
def test_a_card_that_somebody_wrote_in_stays(hub: Hub, runs: Path, actkit: Run, tmp_path: Path) -> None:
    mine = b"---\nlicense: mit\n---\nMine.\n"
    hub.repos["me/x"] = {"README.md": mine, "notes.txt": b"mine too"}
    assert actkit("push", runs / "x", "hf://datasets/me/x").status == 0
    assert hub.repos["me/x"]["README.md"] == mine and hub.repos["me/x"]["notes.txt"] == b"mine too"
    assert not is_own_text(mine)
    del hub.repos["me/x"]["notes.txt"]
    assert actkit("verify", saved(hub, "me/x", tmp_path / "copy")).status == 0
    result = actkit("push", runs / "x", "hf://datasets/me/x", "--license", "mit")
    assert result.status == 1 and "somebody wrote in the card" in result.err


def test_what_breaks_off_is_said_and_goes_on(
    hub: Hub, runs: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from actkit.runs import pushing

    monkeypatch.setattr(pushing, "AT_ONCE", 5)
    for what, status, says in (("/commit/", 403, "access is denied (403)"), ("/preupload/", 400, "answers 400")):
        hub.fails_at = (what, status)
        result = actkit("push", runs / "x", "hf://datasets/me/y")
        assert result.status == 1 and says in result.err and "Traceback" not in result.err, result.err
        assert TOKEN not in result.err and "run.json" not in hub.repos["me/y"]
    hub.fails_at = None
    assert actkit("push", runs / "x", "hf://datasets/me/y").status == 0
    assert hub.commits[-1][-1] == "run.json" and len(hub.commits) > 2
    monkeypatch.setenv("HF_TOKEN", "hf_wr0ng")
    result = actkit("push", runs / "x", "hf://datasets/me/z")
    assert result.status == 1 and "access is denied (401)" in result.err and "hf auth login" in result.err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    result = actkit("push", runs / "x", "hf://datasets/me/z")
    assert result.status == 1 and "cannot be reached" in result.err, result.err


@pytest.mark.slow
def test_a_run_is_pushed_to_a_store_whole_or_not_at_all(s3: Any, runs: Path, actkit: Run) -> None:
    at = "s3://bucket/pushed runs/x"
    assert actkit("push", runs / "x", at, "-q").out == f"{at}\n"
    assert actkit("verify", at).status == 0
    assert actkit("push", runs / "x", at, "-q").status == 0
    result = actkit("push", runs / "other", at)
    assert result.status == 1 and f"{at} exists already" in result.err
    assert actkit("push", runs / "other", at, "--overwrite").status == 0
    assert json.loads(s3.get_object(Bucket="bucket", Key="pushed runs/x/run.json")["Body"].read()) == (
        json.loads((runs / "other" / "run.json").read_text())
    )
    assert actkit("verify", at).status == 0 and not (runs / "uploaded.json").exists()


@pytest.mark.slow
def test_a_push_that_broke_off_goes_on_and_replaces_nobody_s_unfinished_run(
    s3: Any, runs: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, real, put = "s3://bucket/pushed/y", store.put_file, []

    def breaks(url: str, *more: Any) -> None:
        if len(put) == 4:
            raise WriteError(f"{url}: cannot be reached", "check the connection")
        put.append(url)
        real(url, *more)

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_file", breaks)
        result = actkit("push", runs / "x", at)
        assert result.status == 1 and "cannot be reached" in result.err and len(put) == 4
    result = actkit("push", runs / "other", at)
    assert result.status == 1 and f"{at} is another run, unfinished" in result.err, result.err
    assert actkit("push", runs / "x", at).status == 0 and actkit("verify", at).status == 0
    s3.delete_object(Bucket="bucket", Key="pushed/y/run.json")
    assert actkit("push", runs / "other", at, "--overwrite").status == 0 and actkit("verify", at).status == 0


def test_places_and_runs_that_cannot_be(runs: Path, actkit: Run, tmp_path: Path) -> None:
    for to, says in {
        "hf://me/x": "a dataset of its own",
        "hf://datasets/me/x/folder": "a dataset of its own",
        "https://host/x": "nothing can be written to the web",
        "elsewhere": "is no address",
        "s3://bucket": "is a whole bucket",
    }.items():
        result = actkit("push", runs / "x", to)
        assert result.status in (1, 2) and says in result.err, result.err
    (tmp_path / "x").mkdir()
    result = actkit("push", tmp_path / "x", "hf://datasets/me/x")
    assert result.status == 1 and "no finished run" in result.err
    import shutil

    shutil.copytree(runs / "x", tmp_path / "damaged")
    (tmp_path / "damaged/config.yaml").write_text("x")
    result = actkit("push", tmp_path / "damaged", "hf://datasets/me/x")
    assert result.status == 1 and "is damaged: config.yaml" in result.err
