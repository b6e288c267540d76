"""`actkit merge`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from actkit.cli.options.groups import OUTPUT, QuietPath, argument, option, with_option_groups
from actkit.cli.screen.console import starting
from actkit.errors import RunError


@with_option_groups
def merge(
    context: typer.Context,
    run: Annotated[Path, argument("RUN", "The --out of every task.")],
    export: Annotated[list[str] | None, option(OUTPUT, "Write the whole run in this format too.")] = None,
    report: Annotated[bool, option(OUTPUT, "Write the whole run's page too.")] = False,
    device: Annotated[str | None, option(OUTPUT, "Where the model is put, if not where the tasks had it.")] = None,
    quiet: QuietPath = False,
    json: Annotated[bool, option(OUTPUT, "Print one JSON object instead of the path.")] = False,
) -> None:
    """Put together what the tasks of `--shard` computed: the same run, byte for byte, as one process makes.

    Every task must be done; missing ones are named. Statistics over the whole run are computed here, and the tasks'
    directories are removed once the run is complete. Start it in the folder where the tasks were started.

    Example: [b]actkit merge runs/x[/]
    """
    from actkit.remote.path import RemotePath
    from actkit.runs.facts import facts_of
    from actkit.runs.paths import CONFIG, FINGERPRINT, is_run, partial_of
    from actkit.runs.tasks import divisions, gather, remove_shares

    with starting(quiet):
        # Tasks are not looked for beside a run in a store, since the folder above it may not be listable.
        is_merged = is_run(run) and (isinstance(run, RemotePath) or not divisions(run))
        if is_merged and not (export or report or json):
            sys.stdout.write(f"{run}\n")
            return
        command = str(facts_of(run).get("command")) if is_merged else gather(run)
    group = context.parent.command if context.parent else None
    found = group.get_command(context.parent, command) if group is not None else None  # type: ignore[attr-defined]
    if found is None:
        raise RunError(f"{partial_of(run) / FINGERPRINT} names no command: {command}", "run the tasks again")
    given = [*(part for name in export or () for part in ("--export", name)), *(["--report"] if report else [])]
    given += [*(["--quiet"] if quiet else []), *(["--json"] if json else [])]
    given += ["--device", device] if device is not None else []
    config = str((run if is_merged else partial_of(run)) / CONFIG)
    found.main(["--config", config, "--out", str(run), "--resume", *given], standalone_mode=False, prog_name=command)
    if is_run(run):
        remove_shares(run)
