"""A file of options that somebody else made: read in bounded time and memory, or one sentence."""

import os
import threading
from pathlib import Path

import pytest

from tests.command_line import Run

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{LAUGHS}prompt: *a29", "more than 10,000 values"),
        ("layers: &a [*a]", "more than 10,000 values"),
        ("x: " + "[" * 50_000, "nested too deeply"),
        ("quiet: !!bool maybe", "not YAML ('maybe')"),
        ("max_length: !!timestamp x", "not YAML"),
        ("x: " + "y" * (1 << 20), "longer than 1,048,576 bytes"),
        ('"\\e[2J": 1', "has no option \\x1b[2J"),
        ("".join(f"x{n}: 1\n" for n in range(99)), "and 79 more"),
    ],
)
def test_options_that_cannot_be_meant_are_a_sentence(text: str, says: str, tmp_path: Path, actkit: Run) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    found = actkit("capture", "--config", path, "--plan")
    assert found.status == 2 and says in found.err and "\x1b" not in found.err, found.err


def test_a_pipe_that_nobody_writes_to_is_empty_and_one_that_is_written_to_is_read(tmp_path: Path, actkit: Run) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = actkit("capture", "--config", pipe, "--plan")
    assert found.status == 2 and "no mapping of options" in found.err
    reader, writer = os.pipe()
    threading.Timer(0.2, lambda: os.write(writer, b"prompt: [ab]\nlayers: 0\n") and os.close(writer)).start()
    found = actkit("capture", "--config", f"/dev/fd/{reader}", "--plan", "-o", tmp_path / "x")
    os.close(reader)
    assert found.status == 0, found.err
