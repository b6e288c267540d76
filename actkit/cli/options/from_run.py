"""Options of commands that go on from a finished run: `--from RUN`, and those of `actkit steer`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from actkit.cli.options.groups import MODEL, READ, Device, at_home, option
from actkit.cli.options.shared import Around, Shared
from actkit.config import ModelSpec
from actkit.errors import UsageError

if TYPE_CHECKING:
    from actkit.recipes.specs import FollowSpec


FromRun: TypeAlias = Annotated[
    Path | None,
    option(
        READ,
        "A finished run whose rows are taken: no model is run, other settings are as they were there.",
        "--from",
        metavar="RUN",
    ),
]
NOT_OF_ROWS = frozenset(
    (
        "from_run out output overwrite export report quiet json config preset profile use_hooks verbose log_level steer"
    ).split()
)
"""Options that change how a run proceeds or what follows it, and none of its rows."""
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


@dataclass(frozen=True)
class Follow(Around):
    """Options of such a command; how the model is loaded otherwise is the run's affair."""

    model: Annotated[
        str | None, option(MODEL, "Where the run's model is, if not where it was.", "-m", callback=at_home)
    ] = None
    device: Device = ModelSpec.device

    def shared(self) -> Shared:
        """The same as the options of any run, for what is done around one."""
        return Shared(**vars(self) | {"model": self.model or Shared.model})

    def spec(self, command: str) -> "FollowSpec":
        """Where the run goes, and where the model is."""
        from actkit.recipes.specs import FollowSpec, spec_of

        return spec_of(FollowSpec, vars(self), output=self.shared().output_spec(command))
