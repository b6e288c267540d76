"""Paths of a run: its directory, the names of its files, and checks of whether a run is there."""

import errno
import re
import secrets
import time
from pathlib import Path

from actkit.config import Task
from actkit.errors import UsageError, in_short
from actkit.remote.path import RemotePath
from actkit.runs.json_file import object_if_any

RUN_FILE = "run.json"
"""The facts of a finished run."""
FINGERPRINT = "fingerprint.json"
"""The fingerprint of a run, written when it begins."""
MANIFEST = "manifest.json"
"""The last file of a run: how many shards it has, and the checksum of every other file."""
VERIFIED = "verify.json"
"""The result of the last `actkit verify`, which does not check this file."""
CARD = "README.md"
"""The dataset card, for people and `datasets`; see `runs.card`."""
LOG_FILE = "run.log"
"""Messages of the command line while the run was made; `actkit verify` does not check this file."""
CONFIG = "config.yaml"
"""The options of a run, with which a command makes the same run again."""
TASK_FILE = "task.json"
"""Written by a task that has computed its share of a run: facts of the whole run; see `runs.tasks`."""
SHARDS = "shards"
"""The folder of the manifests of shards."""
TEXTS = (
    RUN_FILE,
    FINGERPRINT,
    MANIFEST,
    VERIFIED,
    LOG_FILE,
    TASK_FILE,
    CONFIG,
    "reward_features.json",
    CARD,
)
"""Every file that actkit writes into a run besides tables, manifests of shards and the lock."""
TASK_NAME = re.compile(r"\.(0|[1-9][0-9]*)-of-([1-9][0-9]*)$")
PART = re.compile(r"part-([0-9]{5}|[1-9][0-9]{5,11})")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""`s3://…`, also as a path, which keeps one of the two slashes; `C:/` does not match."""


def part_name(number: int) -> str:
    """The name of a shard's files, without a suffix: part-00007."""
    return f"part-{number:05d}"


def part_number(path: Path) -> int | None:
    """The number in a part file's name; None for another name."""
    found = PART.fullmatch(path.stem)
    return int(found[1]) if found else None


def numbered(folder: Path, suffix: str) -> list[Path]:
    """The part files of a folder that end in `suffix`, sorted as numbers: as text, part-100000 is before part-99999."""
    every = ((part_number(path), path) for path in folder.glob(f"part-*{suffix}"))
    return [path for _, path in sorted((number, path) for number, path in every if number is not None)]


def is_run(path: Path) -> bool:
    """Whether `path` is a finished run: a directory with a `run.json` of actkit's."""
    return {"schema_version", "command", "tables"} <= object_if_any(path / RUN_FILE).keys()


def is_unfinished_run(path: Path) -> bool:
    """Whether `path` is a run that was begun: a directory with a `fingerprint.json` of actkit's."""
    return {"fingerprint", "replaces", "sessions"} <= object_if_any(path / FINGERPRINT).keys()


def named_after(command: str) -> Path:
    """Make a path for a run without a name: command, time, and random digits, since several may start at once."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def unfinished_of(command: str) -> list[str]:
    """Unfinished runs of a command below `runs/`, where runs without a name are, in order of their start."""
    return sorted(str(path).removesuffix(".partial") for path in Path("runs").glob(f"{command}-*.partial"))


def partial_of(out: Path) -> Path:
    """The path of the run `out` while it is incomplete."""
    return out.with_name(out.name + ".partial")


def task_of(out: Path, number: int, of: int) -> Path:
    """The path of the share of task `number` of `of`; the share stays `<…>.partial` until it is merged."""
    return out.with_name(f"{out.name}.{number}-of-{of}")


def whole_of(out: Path, task: Task | None) -> Path:
    """The path of the whole run of which `out` is a task's share; `out` itself without a task."""
    return out if task is None else out.with_name(TASK_NAME.sub("", out.name))


def replaced(out: Path) -> Path:
    """The path to which the run at `out` moves while another takes its place."""
    return out.with_name(f".{out.name}.replaced")


def check_local(path: Path | str, flag: str = "--out") -> None:
    """Raise UsageError for a URL: `flag` names a local file or directory."""
    if URL.match(str(path)):
        scheme = str(path).partition(":")[0]
        raise UsageError(
            f"{flag} {in_short(path)}: nothing can be written to {scheme}://",
            "give a directory or a file of this machine, and copy from there",
        )


def beside(run: Path, suffix: str) -> Path:
    """A path for a file made of a run: next to the run, or in the working directory for a run in a store."""
    if isinstance(run, RemotePath):
        return Path(run.name + suffix)
    return run.absolute().with_name(run.absolute().name + suffix)


def can_be(path: Path) -> bool:
    """Whether a file can have this path: its name is not too long, and has no NUL in it."""
    try:
        path.lstat()
    except ValueError:
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def is_there(path: Path) -> bool:
    """Whether the path exists, a broken link included."""
    return path.exists() or path.is_symlink()
