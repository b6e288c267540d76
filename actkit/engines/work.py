"""The work of one worker, and its end. This module imports nothing slow, for a process starts with it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actkit.errors import ActkitError


@dataclass(frozen=True)
class Work:
    """The work of a worker: a command's function, its specs, and the folder that it was called in."""

    run: Callable[..., Any]
    own: Any
    common: Any
    folder: str

    def done(self) -> ActkitError | None:
        """Run the command. An ActkitError is returned, not raised: a pool might wrap it."""
        os.chdir(self.folder)
        try:
            self.run(self.own, self.common, lambda _progress: None)
        except ActkitError as error:
            return error
        return None


class DiedError(Exception):
    """A worker ended before it had answered; its text says how."""
