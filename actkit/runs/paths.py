"""Paths of a run: its place on disk, the names of its files, and whether there is one."""

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
"""What `actkit verify` found, last time; no part of what it looks at."""
CARD = "README.md"
"""What people and `datasets` are told of a run; see `runs.card`."""
LOG_FILE = "run.log"
"""What the command line said while the run was made; no part of what `actkit verify` looks at."""
CONFIG = "config.yaml"
"""The options of a run, which make the same again."""
TASK_FILE = "task.json"
"""What a task that has computed its share of a run says of the whole."""
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
"""Every file that actkit writes beside the tables."""
TASK_NAME = re.compile(r"\.(0|[1-9][0-9]*)-of-([1-9][0-9]*)$")
PART = re.compile(r"part-([0-9]{5}|[1-9][0-9]{5,11})")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""`s3://…`, also as a path, which has one of the two slashes; `C:/` is none."""


def part_name(number: int) -> str:
    """The name of a shard's files, without a suffix: part-00007."""
    return f"part-{number:05d}"


def part_number(path: Path) -> int | None:
    """The number in a part file's name; None for a file that is not called like one."""
    found = PART.fullmatch(path.stem)
    return int(found[1]) if found else None


def numbered(folder: Path, suffix: str) -> list[Path]:
    """The part files of a folder that end in `suffix`, by their numbers: as text, part-100000 is before part-99999."""
    every = ((part_number(path), path) for path in folder.glob(f"part-*{suffix}"))
    return [path for _, path in sorted((number, path) for number, path in every if number is not None)]


def is_run(path: Path) -> bool:
    """Whether there is a finished run: a directory whose `run.json` is one of actkit's."""
    return {"schema_version", "command", "tables"} <= object_if_any(path / RUN_FILE).keys()


def is_unfinished_run(path: Path) -> bool:
    """Whether there is a run that was begun: a directory whose `fingerprint.json` is one of actkit's."""
    return {"fingerprint", "replaces", "sessions"} <= object_if_any(path / FINGERPRINT).keys()


def named_after(command: str) -> Path:
    """A path for a run that nobody named: command, time, and random digits, since several may start at once."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def unfinished_of(command: str) -> list[str]:
    """Runs of a command that nobody named and that are not complete, in order of their beginning."""
    return sorted(str(path).removesuffix(".partial") for path in Path("runs").glob(f"{command}-*.partial"))


def partial_of(out: Path) -> Path:
    """The path of the run `out` until it is complete."""
    return out.with_name(out.name + ".partial")


def task_of(out: Path, number: int, of: int) -> Path:
    """The path of the share of task `number` of `of`; it stays unfinished, `<…>.partial`, until it is merged."""
    return out.with_name(f"{out.name}.{number}-of-{of}")


def whole_of(out: Path, task: Task | None) -> Path:
    """The run that a task's directory is a share of; without a task it is the run itself."""
    return out if task is None else out.with_name(TASK_NAME.sub("", out.name))


def replaced(out: Path) -> Path:
    """The path of the run that stood at `out`, for the moment in which another takes its place."""
    return out.with_name(f".{out.name}.replaced")


def check_local(path: Path | str, flag: str = "--out") -> None:
    """Raise UsageError for a URL: actkit writes to file systems."""
    if URL.match(str(path)):
        scheme = str(path).partition(":")[0]
        raise UsageError(
            f"{flag} {in_short(path)}: nothing can be written to {scheme}://",
            "give a directory or a file of this machine, and copy from there",
        )


def beside(run: Path, suffix: str) -> Path:
    """A path for a file made of a run: beside the run, or in this folder where the run is in a store."""
    if isinstance(run, RemotePath):
        return Path(run.name + suffix)
    return run.absolute().with_name(run.absolute().name + suffix)


def can_be(path: Path) -> bool:
    """Whether there can be a file of this name: it is not too long, and has no NUL in it."""
    try:
        path.lstat()
    except ValueError:
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a link to nowhere."""
    return path.exists() or path.is_symlink()
