"""The formats of `actkit export`, and the one function that exports."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actkit.errors import RunError, UsageError
from actkit.export import gguf_vector, hdf5, json_document, jsonl_documents, saedashboard, torch_pt
from actkit.export.arrays import write_npz, write_safetensors
from actkit.export.job import ExportJob
from actkit.export.torch_vectors import write_persona, write_steering_vectors
from actkit.runs.atomic_files import sync
from actkit.runs.facts import facts_of
from actkit.runs.part import open_part
from actkit.runs.paths import beside as beside_run
from actkit.runs.paths import check_local
from actkit.runs.reader import parts


@dataclass(frozen=True)
class OutputFormat:
    """One format."""

    name: str
    suffix: str
    """With its dot; the default name of the file ends in it."""
    write: Callable[..., None]
    """Called with an `ExportJob` and the format's own options."""
    options: tuple[str, ...] = ()
    beside: Callable[[Mapping[str, Any]], str | None] = lambda _facts: None
    """Takes the contents of `run.json`; returns the suffix of a second file with the same stem, or None."""


def _write_pt(job: ExportJob, max_mb: int = 2000) -> None:
    if "contrasts" in job.facts["tables"]:
        from actkit.export.pair_sides import write as write_pairs  # loads torch, which no other format needs

        write_pairs(job, max_mb)
    else:
        torch_pt.write(job, max_mb)


FORMATS: Mapping[str, OutputFormat] = {
    format_.name: format_
    for format_ in (
        OutputFormat("h5", ".h5", hdf5.write, ("compression",)),
        OutputFormat("pt", ".pt", _write_pt, ("max_mb",), lambda _facts: ".json"),
        OutputFormat("json", ".json", json_document.write, (), json_document.second),
        OutputFormat("jsonl", ".jsonl", jsonl_documents.write, ("special",)),
        OutputFormat("npz", ".npz", write_npz, ("method",)),
        OutputFormat("safetensors", ".safetensors", write_safetensors, ("method",)),
        OutputFormat("saedashboard", ".batch-0.json", saedashboard.write),
        OutputFormat("gguf", ".gguf", gguf_vector.write, ("method", "layers")),
        OutputFormat("steering-vectors", ".pt", write_steering_vectors, ("method", "layers")),
        OutputFormat("persona", ".pt", write_persona, ("method",)),
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
    """Write a finished run in the format `to`, and return the path; without `out` it is the run's path with a suffix.

    `options` are the format's own, see `FORMATS`; None stands for their default. `on_progress` is called with the share
    that is done, 0 to 1, `on_note` with a sentence on each omission. The file appears under its name when it is whole.

    Raises RunError for a run that is not there, one whose command the format does not fit, an `out` that exists or
    cannot be written; UsageError for an unknown format or option; and what the format's function raises.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to}", f"formats are {', '.join(FORMATS)}")
    chosen, facts = FORMATS[to], facts_of(run)
    given = {name: value for name, value in options.items() if value is not None}
    _check(chosen, run, facts, given)
    if out is not None:
        check_local(out)
    out = beside_run(run, chosen.suffix) if out is None else out
    beside = _beside(chosen, facts, out)
    for path in (out, *beside):
        if path.is_dir() or (path.exists() and not overwrite):
            hint = "choose another --out" if path.is_dir() else "choose another --out, or replace it with --overwrite"
            raise RunError(f"{path} exists already", hint)
    _check_size(run, facts)
    with _whole(out, beside) as temporary:
        chosen.write(ExportJob(run, facts, temporary, on_progress, on_note), **given)
    return out


def check_fits(to: str, command: str, exports: Sequence[str]) -> None:
    """Raise UsageError for a format that does not fit runs of `command`; called before such a run begins."""
    if to not in exports:
        raise UsageError(f"--export {to} does not fit {command}", f"it has {', '.join(exports) or 'none'}")


def _check(chosen: OutputFormat, run: Path, facts: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    fit = facts.get("exports", ())
    if chosen.name not in fit:
        command = facts["command"]
        to = f"can be exported to {', '.join(fit)}" if fit else "have no format to be exported to"
        raise RunError(f"{chosen.name} does not fit {run}, a run of {command}", f"runs of {command} {to}")
    unknown = [f"--{name.replace('_', '-')}" for name in options if name not in chosen.options]
    if unknown:
        own = ", ".join(f"--{name.replace('_', '-')}" for name in chosen.options) or "none"
        raise UsageError(f"{unknown[0]} does not fit {chosen.name}", f"options of {chosen.name}: {own}")


def _beside(chosen: OutputFormat, facts: Mapping[str, Any], out: Path) -> list[Path]:
    second = chosen.beside(facts)
    if second is None:
        return []
    if out.suffix == second:
        raise UsageError(f"{out} has the name of a second file, which ends in {second}", f"end it in {chosen.suffix}")
    return [out.with_suffix(second)]


@contextmanager
def _whole(out: Path, beside: list[Path]) -> Iterator[Path]:
    """Yield a path in a folder of its own beside `out`. When all files are whole they are renamed, `out` last.

    Files are synced before they are renamed, and their folder afterwards.
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


def _check_size(run: Path, facts: Mapping[str, Any]) -> None:
    """Raise RunError for a table that claims more values than its bytes can hold: reading it may never end."""
    for part in (part for table in facts.get("tables", ()) for part in parts(run, table)):
        open_part(part).close()
