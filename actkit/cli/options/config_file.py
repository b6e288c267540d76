"""Options from a YAML file. Precedence: flag, ACTKIT_* in the environment, the file, the preset, the default."""

from pathlib import Path
from typing import Any

import typer

from actkit.cli.options.groups import at_home
from actkit.cli.options.presets import beneath
from actkit.cli.options.yaml_file import read_options
from actkit.errors import UsageError

NOT_REPLAYED = (
    "config",
    "preset",
    "json",
    "quiet",
    "overwrite",
    "output",
    "use_hooks",
    "verbose",
    "log_level",
    "input_alias",
)


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--config`: the file's keys become the defaults of the command's options.

    Raises UsageError for a file that is no flat mapping or sets an option twice, and names all of its unknown keys at
    once.
    """
    if path is None:
        return None
    path = at_home(path)
    values = read_options(path)
    meant_for = values.pop("command", context.info_name)
    if meant_for != context.info_name:
        raise UsageError(
            f"--config {path} is for {meant_for}, not {context.info_name}", f"actkit {meant_for} --config {path}"
        )
    known = {parameter.name for parameter in context.command.params if parameter.name}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(
            f"--config {path}: {context.info_name} has no option {', '.join(unknown)}",
            f"it has {', '.join(sorted(known - set(NOT_REPLAYED)))}",
        )
    several = {parameter.name for parameter in context.command.params if getattr(parameter, "multiple", False)}
    values = {key: _written(value, key in several) for key, value in values.items()}
    context.default_map = {**beneath(context, values), **values}
    return path


def _written(value: Any, several: bool) -> Any:
    """A value as its flag has it: a list of one for an option that may be repeated, `[0, -1]` of another as 0,-1."""
    if several:
        return [value] if isinstance(value, str) else value
    return ",".join(map(str, value)) if isinstance(value, list) else value
