"""Options from a YAML file. Precedence: flag, ACTKIT_* in the environment, the file, the preset, the default."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from actkit.cli.options.groups import at_home
from actkit.cli.options.presets import beneath
from actkit.cli.options.yaml_file import read_options
from actkit.errors import UsageError, in_short, listed

NOT_REPLAYED = tuple(
    ("config preset json quiet overwrite shard engine workers output use_hooks verbose log_level input_alias").split()
)


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--config`: the file's keys become the defaults of the command's options.

    Raises UsageError for a file that is no flat mapping or sets an option twice, and names all of its unknown keys at
    once.
    """
    if path is None:
        return None
    path = at_home(path)
    values = _flat(path, read_options(path), context)
    meant_for = values.pop("command", context.info_name)
    if meant_for != context.info_name:
        meant = in_short(str(meant_for))
        raise UsageError(f"--config {path} is for {meant}, not {context.info_name}", f"actkit {meant} --config {path}")
    known = {parameter.name for parameter in context.command.params if parameter.name}
    values = {_option_of(context, key): value for key, value in values.items()}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(
            f"--config {path}: {context.info_name} has no option {_listed(unknown)}",
            f"it has {', '.join(sorted(known - set(NOT_REPLAYED)))}",
        )
    several = {parameter.name for parameter in context.command.params if getattr(parameter, "multiple", False)}
    values = {key: _written(value, key in several) for key, value in values.items()}
    context.default_map = {**beneath(context, values), **values}
    return path


def _listed(names: Sequence[str]) -> str:
    """Names that somebody made up, on one line."""
    return listed([in_short(name) for name in names], MOST_NAMED)


MOST_NAMED = 20
SECTIONS: Mapping[str, Mapping[str, str | None]] = {
    "model": {
        "model_name": "model",
        "name": "model",
        "layer": "target_layer",
        "device": "device",
        "dtype": "dtype",
        "revision": "revision",
    },
    "sae": {"release": "sae_release", "sae_release": "sae_release", "id": "sae_id", "sae_id": "sae_id"},
    "dataset": {
        "path": "input_alias",
        "dataset_path": "input_alias",
        "split": "split",
        "max_samples": "max_samples",
        "max_examples": "max_samples",
    },
    "output": {
        "path": "output",
        "output_path": "output",
        "output_file": "output",
        "file": "output",
        "file_path": "output",
        "filename": "output",
        "dir": "output",
        "output_dir": "output",
        "compression": None,
        "compression_opts": None,
        "compression_level": None,
        "save_interval": None,
        "save_every": None,
    },
    "processing": {
        "batch_size": None,
        "max_length": "max_length",
        "max_seq_length": "max_length",
        "max_sequence_length": "max_length",
        "max_samples": "max_samples",
        "save_interval": None,
        "save_every": None,
    },
    "logging": {"level": "log_level", "log_level": "log_level", "file": None, "log_file": None},
    "detector": {
        "activation_threshold": "strength_threshold",
        "correlation_threshold": "correlation_threshold",
        "top_k": "listed",
    },
}
"""Sections of the older scripts' YAML: key → option; None is accepted and changes nothing here."""


def _flat(path: Path, values: Mapping[str, Any], context: typer.Context) -> dict[str, Any]:
    """The options of a file, those in the sections of an older script's too.

    Raises UsageError for a mapping under any other key, and names the option that is meant.
    """
    found: dict[str, Any] = {}
    known = {parameter.name for parameter in context.command.params}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            found[key] = value
            continue
        section = SECTIONS.get(key)
        for name, inner in value.items():
            inside = str(name).replace("-", "_")
            if section is None or inside not in section or isinstance(inner, Mapping):
                flat = next((each for each in (inside, f"{key}_{inside}") if each in known), None)
                hint = f"write `{flat}: …` without a section" if flat else "options stand one a line: `option: value`"
                if section is not None and flat is None:
                    hint = f"the section {key} may have {', '.join(section)}"
                raise UsageError(f"--config {path}: {in_short(f'{key}.{inside}')} is not known", hint)
            option = section[inside]
            if option is not None and inner is not None:
                found[option] = inner
    return found


def _option_of(context: typer.Context, key: str) -> str:
    """The option that a key stands for: its own name, or any flag of it, such as `layer` or `output_dir`."""
    if any(parameter.name == key for parameter in context.command.params):
        return key
    for parameter in context.command.params:
        flags = {flag.lstrip("-").replace("-", "_") for flag in getattr(parameter, "opts", ())}
        if key in flags and parameter.name:
            return str(parameter.name)
    return key


def _written(value: Any, several: bool) -> Any:
    """A value as its flag has it: a list of one for an option that may be repeated, `[0, -1]` of another as 0,-1."""
    if several:
        return [value] if isinstance(value, str) else value
    return ",".join(map(str, value)) if isinstance(value, list) else value
