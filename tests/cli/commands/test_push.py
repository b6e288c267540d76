"""`actkit push` hands on what was asked for, and prints the address, which can be given to the next command."""

from pathlib import Path
from typing import Any

import pytest

from actkit.cli.commands import push as module
from actkit.runs import pushing
from tests.command_line import Run


def test_the_address_alone_is_printed_and_every_option_is_handed_on(
    actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    given: list[Any] = []

    def put(*asked: Any) -> str:
        given.append(asked[:-1])
        return f"{asked[1]}/there"

    monkeypatch.setattr(pushing, "push", put)
    name = module.push.__name__
    found = actkit(name, "x", "s3://bucket/y")
    assert found.out == "s3://bucket/y/there\n" and "x is at s3://bucket/y/there" in found.err
    more = ("--license", "cc-by-4.0", "--private", "-q")
    quiet = actkit(name, "x", "hf://datasets/me/y", *more)
    assert quiet.out == "hf://datasets/me/y/there\n" and quiet.err == ""
    assert given == [
        (Path("x"), "s3://bucket/y", None, False, False),
        (Path("x"), "hf://datasets/me/y", "cc-by-4.0", True, False),
    ]
