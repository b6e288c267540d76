"""`Work`: the work of a worker. This module imports nothing slow, since every worker starts with it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actkit.errors import ActkitError


@dataclass(frozen=True)
class Work:
    """The work of a worker: a command's function, its specs, and the working directory."""

    run: Callable[..., Any]
    own: Any
    common: Any
    folder: str

    def done(self) -> ActkitError | None:
        """Run the command. Returns an ActkitError instead of raising it, since a pool might wrap it."""
        os.chdir(self.folder)
        try:
            self.run(self.own, self.common, lambda _progress: None)
        except ActkitError as error:
            return error
        return None


class DiedError(Exception):
    """A worker ended without an answer; the message says how."""
