"""What every command does around its recipe: name the run, show progress, print the result, say how to go on."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from actkit.cli.options.config_file import recorded, replayable
from actkit.cli.options.presets import near_names
from actkit.cli.options.shared import Shared
from actkit.cli.screen.console import console, progress_shown
from actkit.cli.screen.summary import show_profile, show_run
from actkit.cli.signals import continuing
from actkit.errors import ModelError, RunError, UsageError

if TYPE_CHECKING:
    from actkit.config import OutputSpec, StoreDtype
    from actkit.pipeline.recipe import Finished
    from actkit.runs.progress import Progress

Work = Callable[["OutputSpec", Mapping[str, Any], Mapping[str, str], Callable[["Progress"], None]], "Finished"]
NOT_OF_THE_RUN = ("resume", "export", "plan", "profile")
"""Options that say what to do with a run, not what is in it."""


def run_command(
    command: str,
    shared: Shared,
    own: Mapping[str, Any],
    work: Work,
    store_dtype: "StoreDtype" = "float32",
    afterwards: Callable[["Finished"], None] = lambda _finished: None,
) -> "Finished":
    """Run a command: `work` gets where the run goes, the options to record, the files to write, and the progress line.

    `own` are the command's options beside the shared ones. `afterwards` is what the command itself shows or writes of
    the finished run. At last prints the run's path, or with `--json` one object, on standard output.

    Raises UsageError where `--out` cannot be meant or `--resume` does not say what, and where a signal ends the run
    StoppedError, whose hint is the line that continues it.
    """
    _check(command, shared)
    from actkit.runs.paths import named_after

    out = shared.out or shared.output or named_after(command)
    values = {
        **own,
        **{one.name: getattr(shared, one.name) for one in fields(Shared) if one.name not in NOT_OF_THE_RUN},
    }
    options = recorded({**values, "out": out})
    files = {"config.yaml": replayable(command, options)}
    is_named = shared.out is not None or shared.output is not None
    source = next(iter(own.values()), None)  # every command's first option of its own is what it reads
    with continuing(out, is_named), _naming(shared.model, source), progress_shown(shared.quiet) as on_progress:
        shown = on_progress if shared.quiet else _with_notes(on_progress)
        finished = work(shared.output_spec(out, store_dtype), options, files, shown)
    if finished.is_plan:
        _show_plan(finished.facts, shared.json)
    if finished.was_complete and not shared.quiet:
        console().print(f"{finished.path} is complete already", markup=False)
    if not shared.quiet:
        show_run(finished.facts, finished.path)
    if shared.profile:
        show_profile(finished.facts)
    afterwards(finished)
    _export(shared, finished.path)
    if shared.json:
        sys.stdout.write(json.dumps({"run": str(finished.path), **finished.facts}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{finished.path}\n")
    return finished


def _show_plan(facts: Mapping[str, Any], as_json: bool) -> NoReturn:
    """Print the plan on standard output, and end the command: there is no run to go on with."""
    if as_json:
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        from rich.console import Console

        from actkit.cli.screen.dry_run import show_plan

        # A line of token ids is not broken where it goes to a file or a pipe.
        show_plan(facts, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    raise typer.Exit


def _export(shared: Shared, run: Path) -> None:
    """Write the formats that `--export` asks for, beside the run."""
    for to in shared.export or ():
        from actkit.export.formats import export

        path = export(run, to, overwrite=shared.overwrite)
        if not shared.quiet:
            console().print(f"  {to}: {path}", markup=False)


def _check(command: str, shared: Shared) -> None:
    from actkit.runs.paths import check_local

    if shared.export:
        from actkit.export.formats import check_fits

        for to in shared.export:
            check_fits(to, command)
    if "-" in (str(shared.out), str(shared.output)):
        raise UsageError("--out -: a run is a directory, and is not written to standard output", "such as -o runs/x")
    for path in (shared.out, shared.output):
        if path is not None:
            check_local(path)
    if shared.resume and shared.overwrite:
        raise UsageError("--resume and --overwrite were both given", "one continues a run, the other replaces it")
    if shared.resume and shared.out is None and shared.output is None:
        unfinished = sorted(str(path).removesuffix(".partial") for path in Path("runs").glob(f"{command}-*.partial"))
        there = f", such as {', '.join(unfinished[-3:])}" if unfinished else ""
        raise UsageError("--resume without --out", f"--out names the run that is to be continued{there}")


@contextmanager
def _naming(model: str, source: Any) -> Iterator[None]:
    """Name, in an error, the input that had nothing, and what is nearly called like a model that there is not."""
    try:
        yield
    except ModelError as error:
        near = near_names(model) if error.message.startswith(f"{model}: ") else []
        if near:
            error.hint = f"did you mean {' or '.join(near)}? else {error.hint}"
        raise
    except RunError as error:
        # These import much, and are there by now.
        from actkit.pipeline.input.files import name_of, shown
        from actkit.pipeline.recipe import NothingKeptError

        if isinstance(error, NothingKeptError) and isinstance(source, str):
            error.message = f"{shown(name_of(source))}: {error.message}"
        raise


def _with_notes(on_progress: Callable[["Progress"], None]) -> Callable[["Progress"], None]:
    """Print, once each, what happened on the way."""
    said = 0

    def show(progress: "Progress") -> None:
        nonlocal said
        for note in progress.notes[said:]:
            console().print(note, markup=False)
        said = len(progress.notes)
        on_progress(progress)

    return show
