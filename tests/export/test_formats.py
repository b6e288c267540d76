"""`export` and `actkit export`: what is refused and why, that no half file gets the name, what is printed where."""

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import actkit
from actkit.cli.app import main
from actkit.config import ExportFormat
from actkit.errors import RunError, UsageError
from actkit.export import formats
from actkit.export.formats import FORMATS, export
from actkit.export.job import ExportJob


class Terminal(io.StringIO):
    """What rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def call(*arguments: str | Path) -> Any:
    with pytest.raises(SystemExit) as caught:
        main(["export", *map(str, arguments)])
    return caught.value.code


def test_every_command_has_a_format_and_every_format_is_offered() -> None:
    assert get_args(ExportFormat) == tuple(FORMATS)
    specs = (actkit.DpoSpec, actkit.CaptureSpec, actkit.ConceptSpec)
    specs += (actkit.SaeExtractSpec, actkit.RewardDetectSpec, actkit.FeatureDatasetSpec)
    assert all(spec.exports for spec in specs) and {to for spec in specs for to in spec.exports} == set(FORMATS)


@pytest.mark.slow
def test_arrays_are_written_without_torch(capture_run: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from actkit.export.formats import export\n"
        "assert not {'torch', 'h5py', 'gguf'} & set(sys.modules)\n"
        "export(Path(sys.argv[1]), 'npz', Path(sys.argv[2]))\n"
        "assert not {'torch', 'h5py', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(capture_run), str(tmp_path / "x.npz")], check=True, timeout=100)
    assert {"sequence_ids", "positions"} < set(np.load(tmp_path / "x.npz").files)


@pytest.mark.parametrize("to", ["npz", "safetensors", "gguf"])
def test_file_and_folder_are_on_disk_before_and_after_the_renaming(
    to: str, concept_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    def renamed(*places: Any) -> None:
        done.append("rename")
        replace(*places)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    export(concept_run, to, tmp_path / "x")
    assert done[-3:] == ["file", "rename", "folder"]


def test_without_out_the_file_stands_beside_the_run(concept_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(concept_run)
    path = export(Path(), "npz")
    assert path == concept_run.with_name("run.npz")
    path.unlink()


def test_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.partial").mkdir()
    for name, hint in (("nothing", "a run is a directory"), ("x", "unfinished")):
        with pytest.raises(RunError, match="no finished run") as caught:
            export(tmp_path / name, "h5", tmp_path / "out")
        assert hint in caught.value.hint


def test_a_format_that_does_not_fit_names_those_that_do(capture_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="h5 does not fit .*, a run of capture") as caught:
        export(capture_run, "h5", tmp_path / "out")
    assert caught.value.hint == "runs of capture can be exported to pt, npz, safetensors"
    with pytest.raises(UsageError, match="no format csv") as unknown:
        export(capture_run, "csv", tmp_path / "out")
    assert "safetensors" in unknown.value.hint
    with pytest.raises(UsageError, match="compression does not fit npz") as option:
        export(capture_run, "npz", tmp_path / "out", compression="gzip")
    assert option.value.hint == "options of npz: --method"
    assert names(tmp_path) == []


def test_a_file_in_the_way_stays_unless_it_may_be_replaced(capture_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"x\.npz exists already") as caught:
        export(capture_run, "npz", out)
    assert "--overwrite" in caught.value.hint and out.read_text(encoding="utf-8") == "mine"
    assert export(capture_run, "npz", out, overwrite=True) == out
    assert out.read_bytes()[:2] == b"PK"
    with pytest.raises(RunError, match="exists already") as directory:
        export(capture_run, "npz", tmp_path, overwrite=True)
    assert "--overwrite" not in directory.value.hint and names(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_stays_of_an_export_that_fails(
    capture_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    """And the file that it was to replace is what it was."""
    seen: list[Path] = []

    def fail(job: ExportJob) -> None:
        job.out.write_text("half", encoding="utf-8")
        seen.append(job.out)
        assert (tmp_path / "x.npz").read_text(encoding="utf-8") == "mine"
        raise error

    monkeypatch.setattr(formats, "FORMATS", {"npz": formats.OutputFormat("npz", ".npz", fail)})
    (tmp_path / "x.npz").write_text("mine", encoding="utf-8")
    with pytest.raises((KeyboardInterrupt, RunError)) as caught:
        export(capture_run, "npz", tmp_path / "x.npz", overwrite=True)
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value)
    assert seen and names(tmp_path) == ["x.npz"]
    assert (tmp_path / "x.npz").read_text(encoding="utf-8") == "mine"


RUNS = {
    "h5": "dpo_run",
    "pt": "capture_run",
    "json": "reward_run",
    "jsonl": "stories_run",
    "npz": "dpo_run",
    "safetensors": "capture_run",
    "gguf": "concept_run",
    "steering-vectors": "concept_run",
    "persona": "concept_run",
}


@pytest.mark.quick(1)
@pytest.mark.parametrize(("to", "run"), RUNS.items())
def test_the_path_is_all_of_standard_output(
    to: str, run: str, request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / f"x{FORMATS[to].suffix}"
    path = request.getfixturevalue(run)
    capfd.readouterr()
    assert call(path, "--to", to, "-o", out) == 0
    printed = capfd.readouterr()
    assert printed.out == f"{out}\n"
    assert f"to {to}: " in printed.err
    assert call(path, "--to", to, "-o", out, "--quiet", "--overwrite") == 0
    assert capfd.readouterr() == (f"{out}\n", "")


@pytest.mark.slow
def test_options_reach_their_format(
    dpo_run: Path, stories_run: Path, concept_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import h5py
    import numpy as np

    assert call(dpo_run, "--to", "h5", "-o", tmp_path / "x.h5", "--compression", "none") == 0
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["activations/sample_0_chosen/blocks.1.hook_resid_post"].compression is None
    lengths = []
    for more in ([], ["--special"]):
        assert call(stories_run, "--to", "jsonl", "-o", tmp_path / "x.jsonl", "--overwrite", *more) == 0
        first = json.loads((tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()[0])
        lengths.append(len(first["tokens"]))
    assert lengths[0] < lengths[1]
    assert call(concept_run, "--to", "npz", "-o", tmp_path / "x.npz", "--method", "logistic") == 0
    assert not [name for name in np.load(tmp_path / "x.npz") if name.endswith(".norm")]
    capfd.readouterr()
    assert call(concept_run, "--to", "gguf", "-o", tmp_path / "x.gguf", "--layers", "all") == 0
    assert "blocks.0.hook_resid_post: left out" in capfd.readouterr().err.replace("\n", " ")
    assert call(dpo_run, "--to", "npz", "--max-mb", "3") == 2
    assert "--max-mb does not fit npz" in capfd.readouterr().err


def test_a_refusal_ends_with_status_1_and_a_hint(
    capture_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(capture_run, "--to", "gguf", "-o", tmp_path / "x") == 1
    printed = capfd.readouterr()
    assert printed.out == "" and "hint:" in printed.err and "pt, npz, safetensors" in printed.err


def test_a_terminal_shows_how_far_it_is(capture_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shares: list[float] = []
    real: Callable[..., Path] = export
    monkeypatch.setattr(
        formats, "export", lambda *a, **k: real(*a[:4], lambda s: (shares.append(s), a[4](s)), *a[5:], **k)
    )
    # A pseudo-terminal hands over what was written when the kernel finds time for it; this one has it at once.
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call(capture_run, "--to", "npz", "-o", tmp_path / "x.npz") == 0
    shown = terminal.getvalue()
    assert "writing npz" in shown and "100%" in shown and "━" in shown
    assert shares == sorted(shares) and shares[-1] == 1


def test_an_export_is_on_disk_before_it_has_its_name_and_spares_what_is_called_like_its_folder(
    capture_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(formats, "sync", lambda path: done.append(f"sync {path.name}"))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"name {to.name}"), replace(self, to))[1])
    (tmp_path / ".x.pt.partial").mkdir()
    (tmp_path / ".x.pt.partial" / "thesis.txt").write_text("mine")
    export(capture_run, "pt", tmp_path / "x.pt")
    assert done == ["sync x.json", "sync x.pt", "name x.json", "name x.pt", f"sync {tmp_path.name}"]
    assert names(tmp_path) == [".x.pt.partial", "x.json", "x.pt"]
    assert (tmp_path / ".x.pt.partial" / "thesis.txt").exists()
