"""How long actkit takes to start, beside a bare script that loads the same model.

    python -m tests.benchmarks.start [--rounds 7] [--out TABLE.md]

1. The calls take turns, `--rounds` times, each a process of its own: two calls for help, one prompt through `tiny` on a
   terminal, and a script that imports torch and transformers and loads the same directory. Python keeps what it
   compiles, as an installed package has it from the beginning.
2. Of each the least time is taken: what else a machine does only ever adds.
3. Beside it stands the target; that of the run is a ratio to the bare script. *First output* is the first character
   that can be seen on the terminal, not an escape sequence.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from actkit.bundled import TINY
from tests.benchmarks import report

BARE = f"""
import torch, transformers
transformers.AutoTokenizer.from_pretrained({str(TINY)!r})
transformers.AutoModelForCausalLM.from_pretrained({str(TINY)!r})
"""
INVISIBLE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\s")
"""Escape sequences and white space."""
HELP, HELP_OF_ONE, FIRST, WHOLE = (
    "`actkit --help`",
    "`actkit dpo --help`",
    "`actkit capture --prompt hi --model tiny`, first output",
    "the same, whole",
)
SCRIPT = "torch, transformers, tokenizer and model loaded by a script"
HELP_TARGET, FIRST_TARGET, RATIO_TARGET = 0.4, 1.0, 1.15
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def actkit() -> list[str]:
    """What starts the command line: the console script beside this interpreter, or the module."""
    script = Path(sys.executable).with_name("actkit")
    return [str(script)] if script.exists() else [sys.executable, "-m", "actkit"]


def on_terminal(call: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds until something is to be seen on a terminal, and until the process has ended.

    Raises CalledProcessError if it fails, with all that it wrote.
    """
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm-256color"}
    start = time.perf_counter()
    with subprocess.Popen(call, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment) as process:
        os.close(theirs)
        seen, first = b"", None
        while chunk := _read(ours):
            seen += chunk
            if first is None and INVISIBLE.sub(b"", seen):
                first = time.perf_counter() - start
        status = process.wait()
        whole = time.perf_counter() - start
    os.close(ours)
    if status or first is None:
        raise subprocess.CalledProcessError(status, list(call), seen)
    return first, whole


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # what Linux says when the other end is closed
        return b""


def alone(call: Sequence[str], folder: Path) -> float:
    """Seconds of a process whose output goes nowhere. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(list(call), check=True, capture_output=True, cwd=folder, env=ENVIRONMENT)
    return time.perf_counter() - start


def measure(rounds: int, folder: Path) -> dict[str, float]:
    """Least seconds of each; runs are written in `folder` and removed."""
    seconds: dict[str, list[float]] = {name: [] for name in (HELP, HELP_OF_ONE, FIRST, WHOLE, SCRIPT)}
    for _ in range(rounds):
        seconds[HELP].append(alone([*actkit(), "--help"], folder))
        seconds[HELP_OF_ONE].append(alone([*actkit(), "dpo", "--help"], folder))
        call = [*actkit(), "capture", "--prompt", "hi", "--model", "tiny", "--out", "run"]
        first, whole = on_terminal(call, folder)
        seconds[FIRST].append(first)
        seconds[WHOLE].append(whole)
        shutil.rmtree(folder / "run")
        seconds[SCRIPT].append(alone([sys.executable, "-c", BARE], folder))
    return {name: min(times) for name, times in seconds.items()}


def table(seconds: Mapping[str, float]) -> str:
    """The Markdown table: a row a call, with its target."""
    targets = {
        HELP: f"{HELP_TARGET} s",
        HELP_OF_ONE: f"{HELP_TARGET} s",
        FIRST: f"{FIRST_TARGET} s",
        WHOLE: f"{RATIO_TARGET} × the script",
    }
    lines = ["| | seconds | of the script's | target |", "|---|---|---|---|"]
    for name, times in seconds.items():
        lines.append(f"| {name} | {times:.2f} | {times / seconds[SCRIPT]:.2f} | {targets.get(name, '–')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    options = report.parser(__doc__, rounds=7).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(measure(options.rounds, Path(folder)))
    report.show(text, options.out)


if __name__ == "__main__":
    main()
