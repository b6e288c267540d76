"""What every command does around its recipe: name the run, show progress, print the result."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actkit.cli.console import progress_shown, show_run
from actkit.cli.options import Shared
from actkit.cli.settings import recorded, replayable

if TYPE_CHECKING:
    from actkit.config import OutputSpec, StoreDtype
    from actkit.pipeline.recipe import Finished, Progress

Work = Callable[["OutputSpec", Mapping[str, Any], Mapping[str, str], Callable[["Progress"], None]], "Finished"]


def run_command(
    command: str, shared: Shared, own: Mapping[str, Any], work: Work, store_dtype: "StoreDtype" = "float32"
) -> "Finished":
    """Run a command: `work` gets where the run goes, the options to record, the files to write, and the progress line.

    `own` are the command's options beside the shared ones. Prints the run's path, or with `--json` one object, on
    standard output.
    """
    out = shared.out or shared.output or Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    values = {**own, **{one.name: getattr(shared, one.name) for one in fields(Shared)}, "out": out}
    options = recorded(values)
    files = {"config.yaml": replayable(command, options)}
    with progress_shown(shared.quiet) as on_progress:
        finished = work(shared.output_spec(out, store_dtype), options, files, on_progress)
    if not shared.quiet:
        show_run(finished.facts, finished.path)
    if shared.json:
        sys.stdout.write(json.dumps({"run": str(finished.path), **finished.facts}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{finished.path}\n")
    return finished
