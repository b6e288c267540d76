"""Make a run from a finished one without its model: copy the rows that were computed, compute the statistics again.

1. The source's files are copied, and each is compared with its checksum; a damaged file ends the command.
2. `sequences` loses its split, and activations of hook points that are not wanted are left out.
3. The statistics are computed with the new settings, and written as a fresh run writes them, byte for byte.
4. `run.json`, `config.yaml` and `fingerprint.json` are those of a fresh run with these options; `made_from` in
   `run.json` names the source of the rows. So `verify`, `report`, `export` and `steer` take the run as any other.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from actkit.analysis.split_column import without_split
from actkit.config import OutputSpec
from actkit.errors import RunError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.recipes.asked import options_of
from actkit.recipes.specs import checked
from actkit.runs.atomic_files import of_file
from actkit.runs.facts import Begun, check_age, config_text, facts_of
from actkit.runs.lock import locked
from actkit.runs.part import open_part
from actkit.runs.paths import FINGERPRINT, MANIFEST, part_number
from actkit.runs.progress import OnProgress, Progress, check_callable, profile
from actkit.runs.reader import parts
from actkit.runs.removal import check_out, clear
from actkit.runs.taken_over import about_of, take_over
from actkit.runs.writer import Groups, RunDirectory, gone_if_empty, start_run

Settings: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Again:
    """The tables to make again, and the function that makes them."""

    made: Collection[str]
    """Tables that are made again, and not copied from the source."""
    finish: Callable[[Path], Iterator[tuple[str, pa.Table | Groups]]]
    """As `Recipe.finish`."""
    statistics: Mapping[str, Settings]
    found: Callable[[], Mapping[str, Any]]
    """The result, for `run.json`."""
    texts: Callable[[Path, Settings], Mapping[str, str]] = lambda _run, _facts: {}
    points: Collection[str] | None = None
    """Hook points whose activations are taken over; None takes all."""
    facts: Settings = field(default_factory=dict)
    """Other entries of `run.json` that a fresh run would have."""


def source_facts(run: Path, command: str) -> dict[str, Any]:
    """Read the source's `run.json`. Raises RunError for a run of another command or version."""
    facts = facts_of(run)
    if facts.get("command") != command:
        raise RunError(f"{run} is a run of {facts.get('command')}, not of {command}", f"--from takes runs of {command}")
    check_age(run, facts)
    return facts


def check_changes(changes: Settings, known: Collection[str], run: Path, facts: Settings) -> None:
    """Raise UsageError for an option that needs the model or the input, with the value that the run was made with."""
    for name, value in changes.items():
        was = facts["options"].get(name)
        if name not in known and value != was:
            flags = ", ".join(flag_of(name) for name in known)
            given, there = (
                "none" if v is None else ", ".join(map(str, v)) if isinstance(v, list) else v for v in (value, was)
            )
            raise UsageError(
                f"{flag_of(name)} {given} needs the model or the input again; {run} was made with {there}",
                f"--from takes {flags}; for another {flag_of(name)} run the command without --from",
            )


def changed_options(
    run: Path, facts: Settings, changes: Settings, known: Collection[str], output: OutputSpec, *specs: Any
) -> dict[str, Any]:
    """Return the new run's options: those of `run`, with the `changes` as held by the `specs` made of them.

    Raises UsageError as `check_changes` does, and for a value that its spec does not hold.
    """
    check_changes(changes, known, run, facts)
    given = options_of(*map(checked, specs))
    held = {name: given.get(name, value) for name, value in changes.items()}
    return {**facts["options"], **held, "out": str(output.out)}


def make_again(
    source: Path, output: OutputSpec, options: Settings, again: Again, on_progress: OnProgress = lambda _: None
) -> Finished:
    """Write the run `output.out` from the finished run `source`; `options` are the new run's.

    Raises RunError where a file of the source is damaged, or another run is in the way.
    """
    check_callable(on_progress)
    check_out(output.out, output.overwrite)
    if output.out.resolve() == source.resolve():
        raise RunError(f"{output.out} is the run that is read", "choose another --out")
    facts, began, progress = facts_of(source), time.time(), Progress()
    points: Sequence[str] | None = again.facts.get("hook_points")
    changed = {} if points is None else {"actkit.hook_points": ",".join(points)}
    directory = start_run(output.out, about_of(source) | changed)
    with gone_if_empty(directory.partial), locked(directory.partial):
        clear(directory.partial)
        try:
            same = _fingerprint(facts["fingerprint"], options, again)
            directory.write_text(FINGERPRINT, Begun(same, output.overwrite, facts["sessions"]).text())
            directory.write_text("config.yaml", config_text(facts["command"], options))
            with progress.timed("read"):
                on_progress(progress)
                _take_over(source, directory, again)
            with progress.timed("finish"):
                on_progress(progress)
                directory.write_over(again.finish(directory.partial))
            made = {**facts, **again.facts, **again.found()}
            made |= {
                "options": dict(options),
                "statistics": {name: dict(statistic) for name, statistic in again.statistics.items()},
                "tables": directory.tables(),
                "seconds": {part: round(seconds, 3) for part, seconds in progress.seconds.items()},
                "profile": profile(progress),
                "tokens_per_second": None,
                "began": round(began, 3),
                "ended": round(time.time(), 3),
                "versions": {**facts["versions"], "actkit": version("actkit")},
                "fingerprint": same,
                "made_from": _provenance(source, facts),
            }
            for name, text in again.texts(directory.partial, made).items():
                directory.write_text(name, text)
            return Finished(directory.finish(made, output.overwrite), made)
        except BaseException:  # nothing of the new run is worth keeping: the source has it all
            clear(directory.partial)
            raise


def _take_over(source: Path, directory: RunDirectory, again: Again) -> None:
    names = [name for name in facts_of(source)["tables"] if name not in again.made]
    changed = [name for name in names if name == "sequences" or again.points is not None]
    take_over(source, directory, names, changed)
    for table in changed:
        for part in parts(source, table):
            directory.rewrite(table, _groups(part, table, again.points), part_number(part) or 0)


def _groups(part: Path, table: str, points: Collection[str] | None) -> Groups:
    """Yield the row groups of a part: activations of some hook points only, sequences without a split."""
    with open_part(part) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        empty = file.schema_arrow.empty_table()
    if table == "sequences":
        groups = [without_split(group) for group in groups]
    if table == "activations" and points is not None:
        groups = [group for group in groups if len(group) and group["hook_point"][0].as_py() in points]
    return {str(number): group for number, group in enumerate(groups or [empty])}


def _fingerprint(old: Settings, options: Settings, again: Again) -> dict[str, Any]:
    """Make the fingerprint of a fresh run with these options."""
    new = {f"option.{name}": value for name, value in options.items() if f"option.{name}" in old}
    points = {name: value for name, value in again.facts.items() if name == "hook_points"}
    plain: dict[str, Any] = json.loads(json.dumps({**old, **new, **points}))
    return plain


def _provenance(source: Path, facts: Settings) -> dict[str, Any]:
    """Name the run that the rows were computed for: its path, and a checksum that tells it from another there."""
    own = {"run": str(source), "manifest_sha256": of_file(source / MANIFEST), "ended": facts["ended"]}
    return {**own, "actkit": facts["versions"].get("actkit"), "made_from": facts.get("made_from")}


def flag_of(option: str) -> str:
    """The flag of an option."""
    return f"--{option.replace('_', '-')}"
