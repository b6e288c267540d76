"""Options from a YAML file. Precedence: flag, ACTKIT_* in the environment, the file, the preset, the default."""

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import typer

from actkit.cli.options.groups import at_home
from actkit.cli.options.presets import beneath
from actkit.errors import UsageError, first_line, in_short, listed

NOT_REPLAYED = tuple(
    ("config preset json quiet overwrite shard engine workers output use_hooks verbose log_level input_alias").split()
)


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--config`: the file's keys become the defaults of the command's options.

    Raises UsageError for a file that is no flat mapping or sets an option twice, and for unknown keys, all of which it
    names at once.
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
        named = listed([in_short(name) for name in unknown], MOST_NAMED)
        raise UsageError(
            f"--config {path}: {context.info_name} has no option {named}",
            f"it has {', '.join(sorted(known - set(NOT_REPLAYED)))}",
        )
    several = {parameter.name for parameter in context.command.params if getattr(parameter, "multiple", False)}
    values = {key: _written(value, key in several) for key, value in values.items()}
    context.default_map = {**beneath(context, values), **values}
    return path


HINT = "one `option: value` a line"
MOST = 1 << 20
"""Bytes of a file of options."""
MOST_NODES = 10_000
"""Values of a file of options; those of an alias count each time it is used."""
MOST_NAMED = 20


def _section(ignored: str = "", **keys: str) -> dict[str, str | None]:
    """Make a section from option → the keys that stand for it, and the keys that change nothing here (`ignored`)."""
    meant = {key: option for option, each in keys.items() for key in each.split()}
    return {**meant, **dict.fromkeys(ignored.split())}


SECTIONS: Mapping[str, Mapping[str, str | None]] = {
    "model": _section(
        model="model_name name", target_layer="layer", device="device", dtype="dtype", revision="revision"
    ),
    "sae": _section(sae_release="release sae_release", sae_id="id sae_id"),
    "dataset": _section(input_alias="path dataset_path", split="split", max_samples="max_samples max_examples"),
    "output": _section(
        "compression compression_opts compression_level save_interval save_every",
        output="path output_path output_file file file_path filename dir output_dir",
    ),
    "processing": _section(
        "batch_size save_interval save_every",
        max_length="max_length max_seq_length max_sequence_length",
        max_samples="max_samples",
    ),
    "logging": _section("file log_file", log_level="level log_level"),
    "detector": _section(
        strength_threshold="activation_threshold", correlation_threshold="correlation_threshold", listed="top_k"
    ),
}
"""Sections of the older scripts' YAML: key → option; None is accepted and changes nothing here."""


def _flat(path: Path, values: Mapping[str, Any], context: typer.Context) -> dict[str, Any]:
    """Return the options of a file, those in sections of an older script's file included.

    Raises UsageError for a mapping under any other key; the hint names the option that is meant.
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
    """Return the option that a key stands for by its name or by any of its flags, such as `layer` or `output_dir`."""
    if any(parameter.name == key for parameter in context.command.params):
        return key
    for parameter in context.command.params:
        flags = {flag.lstrip("-").replace("-", "_") for flag in getattr(parameter, "opts", ())}
        if key in flags and parameter.name:
            return str(parameter.name)
    return key


def _written(value: Any, several: bool) -> Any:
    """Write a value as its flag has it: a text as a list for an option that may be repeated, else `[0, -1]` as 0,-1."""
    if several:
        return [value] if isinstance(value, str) else value
    return ",".join(map(str, value)) if isinstance(value, list) else value


def read_options(path: Path) -> dict[str, Any]:
    """Read the keys of a YAML file, written with `_` for `-`, and their values.

    Raises UsageError for a file that cannot be read, is not YAML or no mapping, and for a key that is set twice: YAML
    itself would take the last value.
    """
    import yaml

    name = in_short(path)
    try:
        root = yaml.compose(_text(path, name), Loader=yaml.SafeLoader)
        _check_nodes(name, root)
        _check_keys(name, root)
        values = yaml.SafeLoader("").construct_document(root) if root is not None else None
    except OSError as error:
        raise UsageError(f"--config {name}: {error.strerror}", "give a YAML file of options") from error
    except yaml.MarkedYAMLError as error:
        at = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise UsageError(
            f"--config {name}{at}: not YAML ({in_short(error.problem or error.context or '')})", HINT
        ) from error
    except RecursionError as error:
        raise UsageError(f"--config {name}: nested too deeply", HINT) from error
    # UnicodeDecodeError, and dates such as 2026-02-30, are ValueErrors; values that do not fit a tag raise the others.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        why = in_short(first_line(error))
        raise UsageError(f"--config {name}: not YAML ({why})", HINT) from error
    if not isinstance(values, Mapping):
        raise UsageError(f"--config {name}: no mapping of options to values", HINT)
    return {_name(key): value for key, value in values.items()}


def _text(path: Path, name: str) -> str:
    """Read the file's text. A pipe without a writer is empty; of an endless file no more than MOST bytes are read."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise UsageError(f"--config {name}: longer than {MOST:,} bytes", HINT)
    return data.decode("utf-8-sig")


def _check_nodes(name: str, root: Any) -> None:
    """Raise UsageError for aliases that expand to too many values, or that contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST_NODES  # until its size is known, so that a node that contains itself is too large
            inner = node.value if isinstance(node.value, list) else []
            every = (child for part in inner for child in (part if isinstance(part, tuple) else (part,)))
            sizes[id(node)] = 1 + sum(size(child) for child in every)
        return sizes[id(node)]

    if root is not None and size(root) > MOST_NODES:
        raise UsageError(f"--config {name}: more than {MOST_NODES:,} values, once its aliases are followed", HINT)


def _check_keys(path: str, root: Any) -> None:
    """Raise UsageError for an option that two lines set; `-` and `_` are the same."""
    seen: dict[str, int] = {}
    for key, _ in root.value if getattr(root, "id", "") == "mapping" else ():
        line, name = key.start_mark.line + 1, _name(key.value) if isinstance(key.value, str) else None
        if name in seen:
            raise UsageError(
                f"--config {path}:{line}: {in_short(name)} is set in line {seen[name]} already",
                "leave one of the two; several values of an option are a list, [a, b]",
            )
        if name is not None:
            seen[name] = line


def _name(key: Hashable) -> str:
    return str(key).replace("-", "_")
