"""The program of a worker that `children` starts: read the work from standard input, write the answer to a file."""

import os
import pickle
import sys
import traceback
from pathlib import Path
from threading import Thread


def main() -> None:
    """Do the work; the answer is None, or the error that ended it."""
    given = sys.stdin.buffer
    sys.path[:] = pickle.load(given)
    work = pickle.load(given)
    Thread(target=_end_with_parent, daemon=True).start()
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for code that reads it in this process
    try:
        answer = work.done()
    except Exception as error:
        answer = _portable(error)
    Path(sys.argv[1]).write_bytes(pickle.dumps(answer))


def _end_with_parent() -> None:
    """End this process once standard input is closed: the process that would merge the shares is gone."""
    while os.read(0, 1 << 16):  # not through `sys.stdin`, since this thread would hold its lock at exit
        continue
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return the error in a form that another process can unpickle, with its traceback as a note."""
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
