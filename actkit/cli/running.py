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
from actkit.cli.settings import NOT_REPLAYED, replayable

if TYPE_CHECKING:
    from actkit.pipeline.recipe import Finished, Progress
    from actkit.recipes.dense import DenseSpec

Work = Callable[["DenseSpec", Mapping[str, Any], Mapping[str, str], Callable[["Progress"], None]], "Finished"]


def run_dense(command: str, shared: Shared, own: Mapping[str, Any], work: Work) -> None:
    """Run a command that stores whole activations: `work` gets the shared settings, the options to record, the files.

    Prints the run's path, or with `--json` one object, on standard output.
    """
    from actkit.recipes.dense import DenseSpec

    out = shared.out or shared.output or Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
    values = {**own, **{one.name: getattr(shared, one.name) for one in fields(Shared)}, "out": out}
    files = {"config.yaml": replayable(command, values)}
    options = {name: _json_value(value) for name, value in values.items() if name not in NOT_REPLAYED}
    spec = DenseSpec(
        shared.model_spec(),
        shared.output_spec(out),
        layers=shared.layers,
        hook_points=tuple(shared.hook_point or ["hook_resid_post"]),
        batch=shared.batch_spec(),
    )
    with progress_shown(shared.quiet) as on_progress:
        finished = work(spec, options, files, on_progress)
    if not shared.quiet:
        show_run(finished.facts, finished.path)
    if shared.json:
        sys.stdout.write(json.dumps({"run": str(finished.path), **finished.facts}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{finished.path}\n")


def _json_value(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else getattr(value, "value", value)
