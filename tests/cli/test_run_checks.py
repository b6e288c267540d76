"""What cannot be asked of a run is refused first; what is given for a run and is none is told apart."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer

from actkit.cli.options.presets import naming_near
from actkit.cli.options.shared import Shared
from actkit.cli.run_argument import check_run, explained, page_of, write_page
from actkit.cli.run_checks import check_asked, check_exports, check_places, check_whole, naming_input
from actkit.errors import ModelError, RunError, UsageError
from actkit.pipeline.recipe import NothingKeptError
from actkit.remote.path import RemotePath


@dataclass(frozen=True)
class Own:
    """A command's spec that reads one file."""

    command: ClassVar[str] = "capture"
    exports: ClassVar[tuple[str, ...]] = ("npz", "safetensors", "pt")
    path: str = field(default="in.jsonl", metadata={"reads": True})


def refused(shared: Shared, path: str = "in.jsonl") -> str:
    own: Any = Own(path)
    with pytest.raises((UsageError, RunError)) as error:
        check_asked(own, shared)
    return error.value.message


@pytest.mark.parametrize(
    ("shared", "says"),
    [
        (Shared(resume=True, overwrite=True, out=Path("x")), "--resume and --overwrite were both given"),
        (Shared(resume=True), "--resume without --out"),
        (Shared(export=["gguf"]), "gguf"),
        (Shared(out=Path("x.gguf")), "gguf"),
        (Shared(out=Path("-")), "--out -: a run is a directory"),
        (Shared(out=Path("ftp://a/x")), "nothing can be written to ftp://"),
        (Shared(out=RemotePath("https://a/x")), "nothing can be written to the web"),
        (Shared(out=RemotePath("s3://a/x.npz")), "nothing can be written to s3://"),
        (Shared(out=Path("x"), shard="0/2", report=True), "--shard: a share is not exported"),
        (Shared(out=Path("x"), shard="0/2", export=["npz"]), "--shard: a share is not exported"),
        (Shared(out=RemotePath("s3://b/x"), shard="auto", workers=2), "workers meet in a folder that all of them see"),
    ],
)
def test_what_cannot_be_meant(shared: Shared, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(shared)


def test_what_can_is_let_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own: Any = Own()
    for shared in (
        Shared(),
        Shared(out=Path("x"), export=["npz"], report=True),
        Shared(out=Path("x.npz")),
        Shared(out=RemotePath("s3://b/x")),
        Shared(out=Path("x"), shard="0/2"),
        Shared(out=Path("x"), resume=True),
    ):
        check_asked(own, shared)


def test_an_input_that_can_be_read_once_is_not_shared_out(tmp_path: Path) -> None:
    for path in ("-", "/dev/stdin"):
        assert "standard input, which one task alone can read" in refused(Shared(out=tmp_path / "x", shard="0/2"), path)


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("mine")
    with pytest.raises(RunError, match=r"x.npz exists already"):
        check_places(Shared(out=tmp_path / "x.npz"))
    check_places(Shared(out=tmp_path / "x.npz", overwrite=True))
    (tmp_path / "x").mkdir()
    assert "exists already" in refused(Shared(out=tmp_path / "x", shard="0/2"))
    (tmp_path / "y.npz").mkdir()
    with pytest.raises(RunError, match="exists already"):
        check_places(Shared(out=tmp_path / "y.npz", overwrite=True))


def test_unfinished_runs_that_could_go_on_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        Path(f"runs/capture-{number}.partial").mkdir(parents=True)
    own: Any = Own()
    with pytest.raises(UsageError) as error:
        check_asked(own, Shared(resume=True))
    assert error.value.hint.endswith("such as runs/capture-2, runs/capture-3, runs/capture-4")


def test_formats_fit_the_command_and_shares_are_no_runs() -> None:
    check_exports(Shared(export=["npz"]), "capture", ("npz",))
    with pytest.raises(UsageError):
        check_exports(Shared(export=["npz"]), "capture", ("pt",))
    with pytest.raises(UsageError, match="steer with shard: a share is no run yet"):
        check_whole("--steer", True, Shared(shard="0/2"))
    check_whole("--steer", False, Shared(shard="0/2"))
    check_whole("--steer", True, Shared())


def test_an_error_names_its_input_and_the_nearest_model() -> None:
    own: Any = Own()
    with pytest.raises(RunError, match=r"in.jsonl: nothing was kept"), naming_input(own):
        raise NothingKeptError("nothing was kept")
    with pytest.raises(RunError, match="^the disk"), naming_input(own):
        raise RunError("the disk is full")
    with pytest.raises(ModelError) as error, naming_near("tinny"):
        raise ModelError("tinny: no such directory", "give one")
    assert error.value.hint == "did you mean --model tiny? else give one"
    with pytest.raises(ModelError) as given, naming_near("gpt2-small", "gpt2-small"):
        raise ModelError("gpt2-small: not in the cache", "check the name")
    assert given.value.hint == "check the name", "the preset that was given is no suggestion"
    with pytest.raises(ModelError) as other, naming_near("tinny"):
        raise ModelError("the SAE is damaged", "again")
    assert other.value.hint == "again"


def test_a_part_of_a_run_and_a_folder_of_runs_are_no_run(
    six_runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = six_runs["capture"]
    check_run(run, "actkit show")
    check_run(tmp_path / "nothing", "actkit show")
    check_run(tmp_path, "actkit show")
    check_run(Path("a" * 5000), "actkit show")
    with pytest.raises(RunError, match="a part of the run") as error:
        check_run(run / "tokens", "actkit show")
    assert error.value.hint == f"actkit show {run}"
    shutil.copytree(run, tmp_path / "a b")
    with pytest.raises(RunError, match="no run, but holds one") as error:
        check_run(tmp_path, "actkit show")
    assert error.value.hint == f"actkit show '{tmp_path}/a b'"
    shutil.copytree(run, tmp_path / "c")
    with pytest.raises(RunError, match="a folder of 2 runs, not a run"):
        check_run(tmp_path, "actkit show")
    monkeypatch.chdir(tmp_path / "c")
    with pytest.raises(RunError) as error:
        check_run(Path("tokens"), "actkit show")
    assert error.value.hint == "actkit show .", "as the path that was given"


def test_an_error_over_a_damaged_run_names_the_damage_and_over_a_sound_one_stays(
    six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(six_runs["capture"], tmp_path / "run"))
    with pytest.raises(KeyError), explained({"run": run, "out": "x"}):
        raise KeyError("defect")
    with pytest.raises(ZeroDivisionError), explained({"run": Path("nothing"), "other": None, "directions": "a\0b"}):
        raise ZeroDivisionError
    (run / "tokens/part-00000.parquet").write_bytes(b"PAR1")
    with (
        pytest.raises(RunError, match="run is damaged: tokens/part-00000.parquet: ") as error,
        explained({"from_run": str(run)}),
    ):
        raise KeyError("x")
    assert error.value.hint == f"actkit verify {run} names all of it"
    for own in (RunError("said"), typer.Exit(3)):
        with pytest.raises(type(own)) as caught, explained({"run": run}):
            raise own
        assert caught.value is own


def test_a_page_is_beside_its_runs_and_what_was_found_is_said(
    six_runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page_of([Path("/a/x y"), Path("/b/z")]) == Path("/a/x-y-and-z.html")
    assert page_of([RemotePath("s3://b/x")]).name == "x.html"
    write_page([six_runs["capture"]], tmp_path / "x.html", quiet=False)
    assert (tmp_path / "x.html").read_text().startswith("<!")
    said = " ".join(capsys.readouterr().err.split())
    assert "report: " in said and "MB)" in said and len(said.partition("MB) ")[2]) > 20
