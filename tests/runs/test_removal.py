"""What is not provably a run of actkit's is never removed, whoever asks for it; what is, goes file by file."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actkit.errors import RunError
from actkit.runs.paths import partial_of, replaced
from actkit.runs.removal import check_out, check_removable, clear, remove, tidy
from tests.command_line import Run

FACTS = {"schema_version": 2, "command": "capture", "tables": {}}
BEGUN = {"fingerprint": {}, "replaces": False, "sessions": []}
OWN = ("config.yaml", "manifest.json", "verify.json", "tokens/part-00000.parquet", "shards/part-123456.json", "lock")
LEFT = (".actkit-0123456789ab.tmp", "tokens/.actkit-0123456789ab.tmp", ".lock-12", "tokens/.part-00001.parquet.tmp")


def make(run: Path, *names: str) -> Path:
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    return run


def finished(run: Path) -> Path:
    make(run, *OWN, *LEFT)
    (run / "run.json").write_text(json.dumps(FACTS))
    return run


def unfinished(run: Path) -> Path:
    make(run, *OWN, *LEFT, "shards/part-00000.npz")
    (run / "fingerprint.json").write_text(json.dumps(BEGUN))
    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("kind", [finished, unfinished])
def test_a_run_is_removed_with_all_that_actkit_leaves_in_one(kind: Callable[[Path], Path], tmp_path: Path) -> None:
    run = kind(tmp_path / "x")
    clear(run, {"config.yaml", "tokens/part-00000.parquet"})
    assert [name for name in tree(run) if (run / name).is_file()] == [
        "config.yaml",
        "lock",
        "tokens/part-00000.parquet",
    ]
    kind(run)
    remove(run)
    assert not run.exists()
    check_removable(make(tmp_path / "empty", "lock", ".actkit-0123456789ab.tmp"))


FOREIGN: dict[str, Callable[[Path], object]] = {
    "thesis.txt": lambda run: make(run, "thesis.txt"),
    "notes": lambda run: make(run, "notes/a.txt"),
    "tokens/mine.parquet": lambda run: make(run, "tokens/mine.parquet"),
    "tokens/part-00000.csv": lambda run: make(run, "tokens/part-00000.csv"),
    "tokens/inner": lambda run: make(run, "tokens/inner/part-00000.parquet"),
    "shards/part-00000.txt": lambda run: make(run, "shards/part-00000.txt"),
    "m.json.tmp": lambda run: make(run, "m.json.tmp"),
    ".hidden": lambda run: make(run, ".hidden"),
    "an empty folder": lambda run: (run / "an empty folder").mkdir(),
    "config.yaml": lambda run: [(run / "config.yaml").unlink(), (run / "config.yaml").symlink_to("../keep.txt")],
    "tokens/part-00003.parquet": lambda run: (run / "tokens/part-00003.parquet").symlink_to("../../keep.txt"),
    "features": lambda run: (run / "features").symlink_to("../other"),
    "fifo": lambda run: os.mkfifo(run / "fifo"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("kind", [finished, unfinished])
def test_one_thing_that_is_not_actkits_keeps_all_of_it(name: str, kind: Callable[[Path], Path], tmp_path: Path) -> None:
    make(tmp_path, "keep.txt", "other/part-00000.parquet")
    out = tmp_path / "x"
    for run in (out, partial_of(out), replaced(out)):
        FOREIGN[name](kind(run))
        before = tree(tmp_path)
        for way in (remove, clear, lambda _: check_out(out, overwrite=True), lambda _: check_out(out, False, True)):
            with pytest.raises(RunError) as caught:
                way(run)
            assert caught.value.message == f"{run} holds {name}, which is not actkit's, so it is not removed"
        assert tree(tmp_path) == before
        run.rename(tmp_path / f"aside-{run.name.strip('.')}")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"command": "x"}', "[" * 100_000])
@pytest.mark.parametrize("name", ["run.json", "fingerprint.json"])
def test_a_file_that_is_only_called_so_proves_nothing(name: str, text: str, tmp_path: Path) -> None:
    run = make(tmp_path / "x", "tokens/part-00000.parquet")
    (run / name).write_text(text)
    with pytest.raises(RunError, match="is no run of actkit's"):
        remove(run)
    assert (run / "tokens/part-00000.parquet").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    run = finished(tmp_path / "elsewhere")
    for name in ("x", "x.partial", ".x.replaced"):
        (tmp_path / name).symlink_to(run)
        with pytest.raises(RunError, match=f"{name} is a symbolic link, so it is not removed"):
            check_out(tmp_path / "x", overwrite=True)
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("nowhere")
        with pytest.raises(RunError, match="is a symbolic link"):
            check_out(tmp_path / "x", overwrite=True)
        (tmp_path / name).unlink()
    assert (run / "run.json").exists()


def test_what_somebody_put_where_a_replaced_run_was_stays(tmp_path: Path) -> None:
    out = finished(tmp_path / "x")
    make(replaced(out), "thesis.txt")
    tidy(out)
    assert (replaced(out) / "thesis.txt").exists() and not (out / "lock").exists()


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_called_like_an_unfinished_run_is_left_alone(
    flag: str, linked: bool, actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make(Path("mine" if linked else "x.partial"), "thesis.txt")
    if linked:
        Path("x.partial").symlink_to("mine")
    status, out, err = actkit("capture", "-p", "One.", "-o", "x", flag)
    assert (status, out) == (1, "") and "so it is not removed\n\nhint: move " in err
    assert (folder / "thesis.txt").read_text() == "x" and not Path("x").exists()


@pytest.mark.parametrize("out", ["hf://datasets/a/b", "file:///tmp/x", "http://h/x", "ftp://h/x"])
def test_a_url_is_refused_before_anything_is_computed(
    out: str, actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    status, printed, err = actkit("capture", "-p", "One.", "--model", "/no/such/model", "-o", out)
    assert (status, printed) == (2, "")
    assert err.startswith(f"error: --out {out[:3]}")
    assert not list(tmp_path.iterdir())
