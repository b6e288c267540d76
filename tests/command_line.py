"""The command line, called in this process, which has torch loaded already; the fixture `actkit` is a call of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actkit.cli.app import main


class Result(NamedTuple):
    """What a call of the command line left behind."""

    status: object
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        """The object that --json prints."""
        return dict(json.loads(self.out))


Run = Callable[..., Result]


def called(printed: pytest.CaptureFixture[str], *arguments: str | Path) -> Result:
    """Call the command line; what was printed before does not count."""
    printed.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return Result(caught.value.code, *printed.readouterr())
