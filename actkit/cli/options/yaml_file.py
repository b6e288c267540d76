"""A YAML file of options, read strictly: a key that stands twice is an error, and every error names its line."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from actkit.errors import UsageError

HINT = "one `option: value` a line"


def read_options(path: Path) -> dict[str, Any]:
    """The file's keys, written with `_` for `-`, and their values.

    Raises UsageError for a file that cannot be read, is not YAML or no mapping, and for a key that stands twice, of
    which YAML itself would take the last.
    """
    import yaml

    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        _check_keys(path, root)
        values = yaml.SafeLoader("").construct_document(root) if root is not None else None
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}", "give a YAML file of options") from error
    except yaml.MarkedYAMLError as error:
        at = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise UsageError(f"--config {path}{at}: not YAML ({error.problem or error.context})", HINT) from error
    except (yaml.YAMLError, ValueError) as error:  # UnicodeDecodeError, and dates such as 2026-02-30, are ValueErrors
        raise UsageError(f"--config {path}: not YAML ({str(error).splitlines()[0]})", HINT) from error
    if not isinstance(values, Mapping):
        raise UsageError(f"--config {path}: no mapping of options to values", HINT)
    return {_name(key): value for key, value in values.items()}


def _check_keys(path: Path, root: Any) -> None:
    """Raise UsageError for an option that is set in two lines, `-` and `_` being the same."""
    seen: dict[str, int] = {}
    for key, _ in root.value if getattr(root, "id", "") == "mapping" else ():
        line, name = key.start_mark.line + 1, _name(key.value) if isinstance(key.value, str) else None
        if name in seen:
            raise UsageError(
                f"--config {path}:{line}: {name} is set in line {seen[name]} already",
                "leave one of the two; several values of an option are a list, [a, b]",
            )
        if name is not None:
            seen[name] = line


def _name(key: Hashable) -> str:
    return str(key).replace("-", "_")
