"""`run_command` runs a command's function with progress, its log and its result; `hand_over` prints the run's path."""

import logging
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from actkit.bundled import NAME
from actkit.cli.log import RunLog, level_of, logged
from actkit.cli.options.engine import engine_of, place_on_this_machine
from actkit.cli.options.presets import OF_SCRIPTS
from actkit.cli.options.shared import Shared
from actkit.cli.run_argument import page_of, write_page
from actkit.cli.run_checks import check_asked, check_exports, check_places, naming_input
from actkit.cli.screen.console import OutputConsole, console, seldom_searched, write_json
from actkit.cli.screen.progress import progress_shown, with_notes
from actkit.cli.screen.summary import show_finding, show_profile, show_run
from actkit.cli.signals import continuing
from actkit.config import ModelSpec

if TYPE_CHECKING:
    from actkit.config import OutputSpec
    from actkit.pipeline.recipe import Finished
    from actkit.recipes.specs import CommonSpec, FollowSpec, OwnSpec
    from actkit.runs.progress import OnProgress, Progress


MUCH_FASTER = 1.5
"""From this speed-up by bfloat16 on, a run in float32 begins with a note about it."""
Own = TypeVar("Own", bound="OwnSpec")
Common = TypeVar("Common", bound="CommonSpec | FollowSpec")


def run_command(
    run: "Callable[[Own, Common, OnProgress], Finished]", own: Own, common: Common, shared: Shared
) -> "Finished":
    """Run a command with a progress line, and show its result; `run` is its function, such as `run_dpo`.

    Raises UsageError or RunError for options that make no sense (see `check_asked`), and StoppedError where a signal
    ends the run; its hint is the line that continues the run.
    """
    from actkit.runs.publication import published

    check_asked(own, shared)
    run = _spread(run, shared)
    level = level_of(shared.log_level, shared.verbose)
    with published(common.output) as publication:
        if publication is not None:
            common = replace(common, output=publication.output)
        with logged(common.output.out, level) as log:
            with (
                continuing(common.output.out, is_named=shared.directory is not None),
                naming_input(own),
                progress_shown(shared.quiet, "pair" if own.command == "concept" else "record") as on_progress,
                seldom_searched() as as_usual,
            ):
                told = on_progress if shared.quiet else with_notes(on_progress, partial(_faster, shared))

                def begun(progress: "Progress") -> None:
                    as_usual()
                    told(progress)

                finished = run(own, common, begun)
                _log_rejected(finished, log)
                if publication is not None:
                    finished = replace(finished, path=publication.finish())
            _show(finished, own, shared)
            return finished


def _spread(
    run: "Callable[[Own, Common, OnProgress], Finished]", shared: Shared
) -> "Callable[[Own, Common, OnProgress], Finished]":
    """Return the command's function, or, where the options ask for workers, a function that spreads it over them."""
    engine = engine_of(shared.engine, shared.workers, shared.shard)
    if engine is None:
        place = place_on_this_machine(shared.shard)
        if place is not None and shared.device_map is None:
            from actkit.engines.children import take_gpu

            take_gpu(place, shared.device)
        return run
    if engine.is_ray:
        from actkit.engines.on_ray import run_on_ray

        return partial(run_on_ray, run, engine.address, engine.workers)
    from actkit.engines.children import run_on_children

    return partial(run_on_children, run, engine.workers, part=engine.part)


def _show(finished: "Finished", own: "OwnSpec", shared: Shared) -> None:
    """Show a plan, and end the command; or print what a run has made and found, and the command that comes next."""
    if finished.is_plan:
        _show_plan(finished.facts, shared.json)
    if not shared.quiet:
        if finished.was_complete:
            console().print(f"{finished.path} is complete already", markup=False)
        if shared.model == NAME and own.command in OF_SCRIPTS:
            real = f"a real one: --preset {OF_SCRIPTS[own.command]}"
            console().print(f"model: tiny, a toy for trying things; {real}", markup=False)
        if finished.facts:  # a share that several workers computed has no facts
            show_run(finished.facts, finished.path)
        if finished.task is not None:
            out = shlex.quote(str(shared.directory))
            console().print(f"task {finished.task} is done; once all are: actkit merge {out}", markup=False)
    if shared.profile:
        show_profile(finished.facts)
    if not shared.quiet and finished.task is None:
        show_finding(finished.path, finished.facts)


def make_from(
    make: "Callable[[Path, OutputSpec, Mapping[str, Any], OnProgress], Finished]",
    source: Path,
    changes: Mapping[str, Any],
    shared: Shared,
) -> "Finished":
    """Make a run from the finished run `source` with other settings, and show it; `make`: such as `rank_again`."""
    from actkit.runs.facts import facts_of
    from actkit.runs.publication import published

    facts = facts_of(source)
    output = shared.output_spec(str(facts.get("command")))
    check_exports(shared, str(facts.get("command")), facts.get("exports", ()))
    check_places(shared)
    level = level_of(shared.log_level, shared.verbose)
    with (
        published(output) as publication,
        logged(publication.output.out if publication else output.out, level),
    ):
        with progress_shown(shared.quiet) as on_progress:
            finished = make(source, publication.output if publication else output, changes, on_progress)
            if publication is not None:
                finished = replace(finished, path=publication.finish())
        if not shared.quiet:
            show_run(finished.facts, finished.path)
            show_finding(finished.path, finished.facts)
        return finished


def _faster(shared: Shared) -> str | None:
    """Say what bfloat16 gains, on a CPU where it is much faster and `--dtype auto` means float32; else return None."""
    if shared.plan or shared.dtype != ModelSpec.dtype or shared.model == NAME or shared.quantize is not None:
        return None
    from actkit.backends.kernel_choice import about_bfloat16
    from actkit.backends.placement import resolve_device

    said = about_bfloat16(MUCH_FASTER) if resolve_device(shared.device).type == "cpu" else None
    return said and f"float32: {said}"


def _log_rejected(finished: "Finished", log: RunLog) -> None:
    """Write each rejected record to the log, and to the console at `--log-level debug`."""
    rejected = finished.facts.get("counts", {}).get("rejected")
    if not rejected or finished.is_plan or finished.was_complete:
        return
    from actkit.runs.part import read_part
    from actkit.runs.reader import parts

    for part in parts(finished.path, "rejected"):  # part by part: there may be as many as the input has records
        for row in read_part(part).to_pylist():
            at = f":{row['line']}" if row["line"] is not None else f", record {row['record_id']}"
            field = f", field {row['field']}" if row["field"] else ""
            text = f"rejected: {row['source']}{at}{field}: {row['reason']}"
            if log.level <= logging.DEBUG:
                console().print(text, markup=False, level=logging.DEBUG)
            else:
                log.add(text, logging.DEBUG)


def hand_over(finished: "Finished", shared: Shared) -> None:
    """Write the files of `--export` and `--report`; then the run's path, or with `--json` an object, to stdout."""
    if finished.task is None:
        with logged(finished.path, level_of(shared.log_level, shared.verbose)):
            for to, out in shared.exports:
                from actkit.export.formats import export

                path = export(finished.path, to, out, overwrite=shared.overwrite)
                if not shared.quiet:
                    console().print(f"  {to}: {path}", markup=False)
            if shared.report:
                write_page([finished.path], page_of([finished.path]), shared.quiet)
        if sys.stderr.isatty() and not (shared.quiet or shared.json or shared.report):
            console().print(f"look at it: actkit report {shlex.quote(str(finished.path))}", markup=False)
    if finished.task is None and shared.json:
        write_json({"run": str(finished.path), **finished.facts})
    else:
        sys.stdout.write(f"{finished.path}\n")


def _show_plan(facts: Mapping[str, Any], as_json: bool) -> NoReturn:
    """Print the plan on standard output, and end the command: there is no run to go on with."""
    if as_json:
        write_json(facts)
    else:
        from actkit.cli.screen.dry_run import show_plan

        # A line of token ids is not broken where it goes to a file or a pipe.
        show_plan(facts, OutputConsole(highlight=False, soft_wrap=not sys.stdout.isatty()))
    raise typer.Exit
