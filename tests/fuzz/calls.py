"""Calls of the command line, many in a process of its own, which is bounded in memory and watched from outside.

`python -m tests.fuzz.calls MODULE FOLDER FIRST END` makes the cases from FIRST on of a module, one after the other,
and says of each, as a line of JSON, what came of it. A case that does not end is ended by the watcher, which goes on
with the next one in another process.
"""

import importlib
import json
import os
import re
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

COUNT = int(os.environ.get("ACTKIT_CASES", "2000"))
"""Cases of a module."""
FIRST = int(os.environ.get("ACTKIT_FIRST_CASE", "0"))
"""The first of them, so that all can be seen in pieces."""
PATIENCE = 120
"""Seconds after which a case does not end: other work may keep a machine busy."""
SECONDS = 30
"""Processor time of a case at most; a template has ten."""
WARM = b"warm"
"""What a process says before its first case."""
MEMORY = 6 << 30
"""Bytes of address space: torch alone takes about 2 GB, most of which it never touches."""
PEAK = 1_500_000
"""kB in memory at most, torch and transformers included."""


def cases(module: str, folder: Path, count: int = COUNT, first: int = FIRST) -> Iterator[dict[str, Any]]:
    """What came of each case, in processes one after the other."""
    number = first
    while number < first + count:
        arguments = (module, str(folder), str(number), str(first + count))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.calls", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            for line in _lines(process.stdout.fileno()):
                if line != WARM:
                    yield json.loads(line)
                    number += 1
            if number == first + count:
                continue
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            ended = process.poll()
            process.kill()
            said = process.stderr.read().decode(errors="replace")[-2000:]
        yield {"number": number, "status": ended, "err": f"no end after {PATIENCE} s, or killed: {said}", "steps": []}
        number += 1


def _lines(stream: int) -> Iterator[bytes]:
    """Lines as they come, until there are no more or one does not come in time; the first may take longer."""
    held, patience = b"", 10 * PATIENCE
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while ready.select(patience) and (piece := os.read(stream, 1 << 16)):
            *lines, held = (held + piece).split(b"\n")
            patience = PATIENCE if lines else patience
            yield from lines


def check_whole(actkit: Callable[[list[str]], object], *arguments: str) -> None:
    """Raise where what is whole does not work: what came of its damaged copies would say nothing."""
    try:
        actkit([*arguments])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"actkit {' '.join(arguments)}: exit status {ended.code}") from None


def wrong_with(row: dict[str, Any]) -> str | None:
    """What is wrong with what came of a case; None where nothing is."""
    said, err = row["err"], row["err"].replace("\r", "")
    if row["status"] not in (0, 1, 2):
        return f"exit status: {row['status']}"
    if any(word in said for word in ("Traceback", "panicked", "unforeseen", "RuntimeWarning")):
        return "a traceback, or a warning with a line of code"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", err):
        return "an escape sequence"
    if row["status"] and (err.count("error: ") < 1 or err.count("\nhint: ") != 1):
        return "no sentence with a hint"
    if row.get("seconds", 0) > SECONDS:
        return f"{row['seconds']:.0f} s"
    if row.get("leak"):
        return "something outside of the folder was read"
    if row.get("left"):
        return f"{row['left']} was left"
    return f"{row['peak']:,} kB" if row.get("peak", 0) > PEAK else None


def main(module: str, folder: Path, first: int, end: int) -> None:
    """Make and call the cases."""
    from actkit.cli.app import main as actkit

    made = importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    _redirect(Path("warmed"))
    made.warm(actkit)
    answers.write(f"{WARM.decode()}\n")
    answers.flush()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, end):
        steps, arguments, leak = made.case(Path(), number)
        _redirect(Path("said"))
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        began = time.process_time()  # other work may keep a machine busy
        try:
            actkit(arguments)
        except SystemExit as error:
            status = error.code
        except BaseException as error:
            status = repr(error)
        seconds = time.process_time() - began
        sys.stdout.flush()
        sys.stderr.flush()
        err = Path("said").read_text(encoding="utf-8", errors="surrogateescape")
        peak = int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])
        left = [name for name in getattr(made, "LEAVES_NO", ()) if Path(name).exists()]
        answer = {
            "left": left,
            "number": number,
            "status": status,
            "err": err,
            "seconds": seconds,
            "peak": peak,
            "steps": steps,
        }
        answers.write(json.dumps({**answer, "arguments": arguments, "leak": leak and status == 0}) + "\n")
        answers.flush()


def _redirect(to: Path) -> None:
    """Have both streams in a file, what libraries that are not Python print too."""
    with to.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
