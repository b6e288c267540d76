"""`--from RUN`: a finished run is made again with other settings; which options of the command line those are."""

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from actkit.cli.options.groups import READ, at_home, option
from actkit.errors import UsageError

FromRun: TypeAlias = Annotated[
    Path | None,
    option(
        "--from",
        panel=READ,
        metavar="RUN",
        help="A finished run whose rows are taken: no model is run, other settings are as they were there.",
        callback=at_home,
    ),
]
NOT_OF_ROWS = frozenset(
    (
        "from_run",
        "out",
        "output",
        "overwrite",
        "export",
        "report",
        "quiet",
        "json",
        "config",
        "preset",
        "profile",
        "use_hooks",
        "verbose",
        "log_level",
        "steer",
    )
)
"""Options that say how a run is gone about, or what is done with it afterwards."""
NOT_FROM = {
    "resume": "nothing is kept of one that was interrupted",
    "plan": "no text is read",
    "verify": "no model is loaded",
    "shard": "no record is read that tasks could share",
}
"""Option → why it has no meaning beside `--from`."""


def changes_in(context: typer.Context) -> dict[str, Any]:
    """Option → value of what the command line, a file or the environment says of the run that is made.

    What stands in the environment for all commands is left aside where it is no setting. Raises UsageError for
    options that make no sense beside `--from`.
    """
    found: dict[str, Any] = {}
    for name, value in context.params.items():
        source = getattr(context.get_parameter_source(name), "name", "DEFAULT")
        if source in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT") and name not in NOT_OF_ROWS:
            found[name] = list(value) if isinstance(value, tuple) else value
    for name, why in NOT_FROM.items():
        if found.pop(name, None):
            raise UsageError(f"--{name} beside --from: {why}", "leave one of the two out")
    return found
