"""What every command does around its recipe: name the run, show progress, print the result, say how to go on."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from actkit.cli.console import console, progress_shown, show_profile, show_run
from actkit.cli.options import Shared
from actkit.cli.settings import recorded, replayable
from actkit.errors import ActkitError, UsageError, WriteError

if TYPE_CHECKING:
    from actkit.config import OutputSpec, StoreDtype
    from actkit.pipeline.recipe import Finished, Progress

Work = Callable[["OutputSpec", Mapping[str, Any], Mapping[str, str], Callable[["Progress"], None]], "Finished"]
INTERRUPTED, TERMINATED = 130, 143
NOT_OF_THE_RUN = ("resume", "export", "plan", "profile")
"""Options that say what to do with a run, not what is in it."""
ARGUMENTS: ContextVar[Sequence[str]] = ContextVar("arguments", default=())
"""The command line of this call, without the program's name."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM): like a KeyboardInterrupt, no error of the program."""


class StoppedError(ActkitError):
    """The run was interrupted; its hint continues it."""

    def __init__(self, message: str, hint: str, exit_status: int) -> None:
        super().__init__(message, hint)
        self.exit_status = exit_status


def run_command(
    command: str, shared: Shared, own: Mapping[str, Any], work: Work, store_dtype: "StoreDtype" = "float32"
) -> "Finished":
    """Run a command: `work` gets where the run goes, the options to record, the files to write, and the progress line.

    `own` are the command's options beside the shared ones. Prints the run's path, or with `--json` one object, on
    standard output.

    Raises UsageError where `--resume` does not say what, and on Ctrl-C and SIGTERM StoppedError, whose hint is the line
    that continues the run.
    """
    _check(command, shared)
    from actkit.pipeline.sink import named_after

    out = shared.out or shared.output or named_after(command)
    values = {
        **own,
        **{one.name: getattr(shared, one.name) for one in fields(Shared) if one.name not in NOT_OF_THE_RUN},
    }
    options = recorded({**values, "out": out})
    files = {"config.yaml": replayable(command, options)}
    with _continuing(shared, out), progress_shown(shared.quiet) as on_progress:
        shown = on_progress if shared.quiet else _with_notes(on_progress)
        finished = work(shared.output_spec(out, store_dtype), options, files, shown)
    if finished.is_plan:
        _show_plan(finished.facts, shared.json)
    if finished.was_complete:
        console().print(f"{finished.path} is complete already", markup=False)
    if not shared.quiet:
        show_run(finished.facts, finished.path)
    if shared.profile:
        show_profile(finished.facts)
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

        from actkit.cli.planning import show_plan

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


def continuing_line(out: Path | None) -> str:
    """The command line that continues this one: `--resume` for `--overwrite`, and `--out` where it was not given."""
    kept = [one for one in ARGUMENTS.get() if one not in ("--overwrite", "--resume")]
    return shlex.join(["actkit", *kept, *(("--out", str(out)) if out is not None else ()), "--resume"])


def _check(command: str, shared: Shared) -> None:
    if shared.export:
        from actkit.export.formats import check_fits

        for to in shared.export:
            check_fits(to, command)
    if shared.resume and shared.overwrite:
        raise UsageError("--resume and --overwrite were both given", "one continues a run, the other replaces it")
    if shared.resume and shared.out is None and shared.output is None:
        unfinished = sorted(str(path).removesuffix(".partial") for path in Path("runs").glob(f"{command}-*.partial"))
        there = f", such as {', '.join(unfinished[-3:])}" if unfinished else ""
        raise UsageError("--resume without --out", f"--out names the run that is to be continued{there}")


@contextmanager
def _continuing(shared: Shared, out: Path) -> Iterator[None]:
    """Say how to continue a run that is interrupted or finds no room."""
    line = continuing_line(None if shared.out or shared.output else out)
    if "-" in ARGUMENTS.get():
        line += "  (with the same standard input)"
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        by, status = ("interrupted", INTERRUPTED) if isinstance(error, KeyboardInterrupt) else ("ended", TERMINATED)
        kept = out.with_name(f"{out.name}.partial")
        message = f"{by}; finished shards are in {kept}" if kept.exists() else f"{by} before a shard was finished"
        raise StoppedError(message, f"--overwrite starts again; to continue: {line}", status) from error
    except ActkitError as error:
        if isinstance(error, WriteError):
            error.hint = f"{error.hint} when that is mended, continue: {line}"
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
