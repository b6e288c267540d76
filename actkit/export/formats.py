"""Which formats a finished run can be exported to, and the one function that does it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actkit.errors import RunError, UsageError
from actkit.export import gguf_vector, hdf5, jsonl_documents, npz, safetensors_file, torch_pt
from actkit.export.job import Job
from actkit.runs.atomic_files import sync
from actkit.runs.facts import facts_of
from actkit.runs.paths import check_local


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    suffix: str
    """With its dot; the file is named so where no name is given."""
    commands: tuple[str, ...]
    """The commands whose runs it fits."""
    write: Callable[..., None]
    """Called with a `Job` and the format's own options."""
    options: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    """Command → the suffix of a second file, which gets the same name otherwise."""


def _write_json(job: Job) -> None:
    from actkit.export.json_document import write  # loads torch, which no other format needs

    write(job)


_ARRAYS = ("dpo", "capture", "concept")
FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("h5", ".h5", ("dpo",), hdf5.write, ("compression",)),
        Format("pt", ".pt", ("capture",), torch_pt.write, ("max_mb",), {"capture": ".json"}),
        Format("json", ".json", ("sae-extract", "reward-detect"), _write_json, (), {"reward-detect": ".yaml"}),
        Format("jsonl", ".jsonl", ("feature-dataset",), jsonl_documents.write, ("special",)),
        Format("npz", ".npz", _ARRAYS, npz.write, ("method",)),
        Format("safetensors", ".safetensors", _ARRAYS, safetensors_file.write, ("method",)),
        Format("gguf", ".gguf", ("concept",), gguf_vector.write, ("method",)),
    )
}
"""Name → format."""


def export(
    run: Path,
    to: str,
    out: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[float], None] = lambda _share: None,
    on_note: Callable[[str], None] = lambda _text: None,
    **options: Any,
) -> Path:
    """Write a finished run in the format `to`, and return the path; without `out` it is the run's with a suffix.

    `options` are the format's own, see `FORMATS`; None stands for their default. `on_progress` is called with the share
    that is done, 0 to 1, `on_note` with what was left out. The file appears under its name when it is whole.

    Raises RunError for a run that is not there, one whose command the format does not fit, an `out` that exists, or one
    that cannot be written; UsageError for an unknown format or option; and what the format's function raises.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to}", f"formats are {', '.join(FORMATS)}")
    chosen, facts = FORMATS[to], facts_of(run)
    given = {name: value for name, value in options.items() if value is not None}
    _check(chosen, run, str(facts["command"]), given)
    if out is not None:
        check_local(out)
    out = run.resolve().with_name(run.resolve().name + chosen.suffix) if out is None else out
    beside = _beside(chosen, str(facts["command"]), out)
    for path in (out, *beside):
        if path.is_dir() or (path.exists() and not overwrite):
            hint = "choose another --out" if path.is_dir() else "choose another --out, or replace it with --overwrite"
            raise RunError(f"{path} exists already", hint)
    with _whole(out, beside) as temporary:
        chosen.write(Job(run, facts, temporary, on_progress, on_note), **given)
    return out


def fitting(command: str) -> list[str]:
    """The names of the formats that fit runs of `command`."""
    return [one.name for one in FORMATS.values() if command in one.commands]


def check_fits(to: str, command: str) -> None:
    """Raise UsageError for a format that runs of `command` cannot be exported to: before the run, not after it."""
    if to not in fitting(command):
        raise UsageError(f"--export {to} does not fit {command}", f"it has {', '.join(fitting(command)) or 'none'}")


def _check(chosen: Format, run: Path, command: str, options: Mapping[str, Any]) -> None:
    if command not in chosen.commands:
        fit = ", ".join(fitting(command))
        what = f"runs of {command} can be exported to {fit}" if fit else f"there is no format for runs of {command}"
        raise RunError(f"{chosen.name} is for runs of {', '.join(chosen.commands)}; {run} is one of {command}", what)
    unknown = [f"--{name.replace('_', '-')}" for name in options if name not in chosen.options]
    if unknown:
        own = ", ".join(f"--{name.replace('_', '-')}" for name in chosen.options) or "none"
        raise UsageError(f"{unknown[0]} does not fit {chosen.name}", f"options of {chosen.name}: {own}")


def _beside(chosen: Format, command: str, out: Path) -> list[Path]:
    if command not in chosen.beside:
        return []
    second = chosen.beside[command]
    if out.suffix == second:
        raise UsageError(f"{out} has the name of a second file, which ends in {second}", f"end it in {chosen.suffix}")
    return [out.with_suffix(second)]


@contextmanager
def _whole(out: Path, beside: list[Path]) -> Iterator[Path]:
    """Where to write: a folder of its own beside `out`, from which files are renamed when all are whole, `out` last.

    Each is on disk before it is renamed, and its name when all are done.
    """
    folder: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".actkit-export-", dir=out.parent))
        yield folder / out.name
        made = [path for path in (*beside, out) if (folder / path.name).exists()]
        for path in made:
            sync(folder / path.name)
        for path in made:
            (folder / path.name).replace(path)
        sync(out.parent)
    except OSError as error:
        where = error.filename or out
        hint = "is the disk full or read-only, or a part of the run gone?"
        raise RunError(f"cannot export to {out}: {where}: {error.strerror or error}", hint) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
