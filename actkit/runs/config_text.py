"""`config.yaml` of a run: the options that `run.json` states, as the command line reads them again."""

from collections.abc import Mapping
from typing import Any


def config_text(command: str, options: Mapping[str, Any]) -> str:
    """The text of a `config.yaml` that runs the same again: `actkit <command> --config FILE --out ELSEWHERE`."""
    import yaml

    given = {name: value for name, value in options.items() if value is not None}
    return str(yaml.safe_dump({"command": command, **given}, sort_keys=False, allow_unicode=True))
