"""JSON objects of files that anybody may have made."""

import os
from pathlib import Path

import pytest

from actkit.runs import json_file
from actkit.runs.json_file import is_regular, object_if_any, parsed, read_bytes, read_object


def test_an_object_is_read_and_anything_else_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": 1}')
    assert read_object(tmp_path / "x") == {"a": 1} and is_regular(tmp_path / "x")
    for text, says in (
        (b"[1]", "not list"),
        (b"{", "property name"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "too deeply"),
    ):
        with pytest.raises(ValueError, match=says):
            parsed(text)


def test_a_file_larger_than_is_read_is_refused_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        read_object(tmp_path / "large")
    (tmp_path / "x").write_bytes(b"1234")
    monkeypatch.setattr(json_file, "MOST", 4)
    assert read_bytes(tmp_path / "x") == b"1234"
    monkeypatch.setattr(json_file, "MOST", 3)
    with pytest.raises(ValueError, match="larger than 0 MiB"):
        read_bytes(tmp_path / "x")


@pytest.mark.parametrize(("text", "expected"), [('{"a": "1"}', {"a": "1"}), ("[1]", {}), ("{", {}), (None, {})])
def test_what_is_no_object_can_be_read_as_an_empty_one(
    tmp_path: Path, text: str | None, expected: dict[str, str]
) -> None:
    if text is not None:
        (tmp_path / "x").write_text(text)
    assert object_if_any(tmp_path / "x") == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_file_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not is_regular(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="no regular file|Is a directory|Permission denied"):
            read_object(path)
