"""A YAML file of options, read strictly: a key that stands twice is an error, and every error names its line."""

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from actkit.errors import UsageError, in_short

HINT = "one `option: value` a line"
MOST = 1 << 20
"""Bytes of a file of options."""
MOST_NODES = 10_000
"""Values of one, an alias as often as it stands for them."""


def read_options(path: Path) -> dict[str, Any]:
    """The file's keys, written with `_` for `-`, and their values.

    Raises UsageError for a file that cannot be read, is not YAML or no mapping, and for a key that stands twice, of
    which YAML itself would take the last.
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
    # UnicodeDecodeError, and dates such as 2026-02-30, are ValueErrors; what a tag such as !!bool does not fit, others.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        why = in_short(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise UsageError(f"--config {name}: not YAML ({why})", HINT) from error
    if not isinstance(values, Mapping):
        raise UsageError(f"--config {name}: no mapping of options to values", HINT)
    return {_name(key): value for key, value in values.items()}


def _text(path: Path, name: str) -> str:
    """The file's text. A pipe that nobody writes to is empty, and of what never ends no more is read than may be."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise UsageError(f"--config {name}: longer than {MOST:,} bytes", HINT)
    return data.decode("utf-8-sig")


def _check_nodes(name: str, root: Any) -> None:
    """Raise UsageError for aliases that stand for very much, or for what they are in themselves."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST_NODES  # what it is until it is known: a node that is in itself has no end
            inner = node.value if isinstance(node.value, list) else []
            every = (child for part in inner for child in (part if isinstance(part, tuple) else (part,)))
            sizes[id(node)] = 1 + sum(size(child) for child in every)
        return sizes[id(node)]

    if root is not None and size(root) > MOST_NODES:
        raise UsageError(f"--config {name}: more than {MOST_NODES:,} values, once its aliases are followed", HINT)


def _check_keys(path: str, root: Any) -> None:
    """Raise UsageError for an option that is set in two lines, `-` and `_` being the same."""
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
