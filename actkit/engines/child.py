"""The program of a process that `children` starts: reads its work from standard input, writes its answer to a file."""

import os
import pickle
import sys
import traceback
from pathlib import Path
from threading import Thread


def main() -> None:
    """Do the work; the answer is None, or the exception that ended it."""
    given = sys.stdin.buffer
    sys.path[:] = pickle.load(given)
    work = pickle.load(given)
    Thread(target=_end_with_parent, daemon=True).start()
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for whoever reads it in this process
    try:
        answer = work.done()
    except Exception as error:
        answer = _portable(error)
    Path(sys.argv[1]).write_bytes(pickle.dumps(answer))


def _end_with_parent() -> None:
    """End once the other end of standard input is closed: the process that would merge the shares is gone."""
    while os.read(0, 1 << 16):  # not through `sys.stdin`, whose lock would be held when this process ends
        continue
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The exception as another process can unpickle it, with a note of its traceback here."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(str(error))
    error.__cause__ = None
    error.add_note(f"in a worker:\n{text}")
    return error


if __name__ == "__main__":
    main()
