"""Read files of a dataset on the Hugging Face hub, by paths such as `hf://datasets/owner/name/data/train.jsonl`.

Files are streamed. Where the hub is switched off (`HF_HUB_OFFLINE`), they are read from its local cache.
"""

import glob
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from actkit.errors import InputError
from actkit.remote.url import said

HUB = "hf://"
PATH = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+(?:/[^/@]+)?)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<inside>.*))?"
)
URL = re.compile(
    r"https?://(?:www\.)?huggingface\.co/datasets/([^/?#]+/[^/?#]+)(?:/(?:resolve|blob|tree|raw)/([^?#]+))?/?"
)
HINT = "such as hf://datasets/owner/name, or hf://datasets/owner/name/data/train.jsonl"


@dataclass(frozen=True)
class HubPath:
    """A dataset's repository on the hub, and a path in it."""

    repo: str
    revision: str | None
    inside: str
    """A file, a folder or a pattern; empty for the whole dataset."""

    def named(self, inside: str) -> str:
        """Return the path of another file of the repository."""
        return f"{HUB}datasets/{self.repo}{f'@{self.revision}' if self.revision else ''}/{inside}"


def from_url(where: str) -> str:
    """Return the `hf://` path for the URL of a dataset's page or file on the hub; any other name unchanged."""
    found = URL.fullmatch(where)
    if found is None:
        return where
    revision, _, inside = (found[2] or "").partition("/")
    at = f"@{revision}" if revision and revision != "main" else ""
    return f"{HUB}datasets/{found[1]}{at}" + (f"/{inside}" if inside else "")


def parsed(path: str) -> HubPath:
    """Parse an `hf://` path. Raises InputError for one that names no dataset."""
    found = PATH.fullmatch(path)
    if found is None:
        raise InputError(f"{path}: names no dataset of the hub", HINT)
    return HubPath(found["repo"], found["revision"], found["inside"] or "")


def files_in(where: HubPath) -> list[str]:
    """List the files of a repository that a pattern matches or a folder holds, sorted; for a file, the file itself."""
    if _offline():
        root = cached(where)
        found = [Path(path) for path in glob.glob(str(root / where.inside), recursive=True)]  # noqa: PTH207 - as given
        every = [file for path in found for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        names = [file.relative_to(root).as_posix() for file in every]
    else:
        names = _listed(where)
    if not names:
        raise InputError(f"{where.named(where.inside)}: no such file in the dataset", "check the path, and @revision")
    return [where.named(name) for name in sorted(set(names))]


def _listed(where: HubPath) -> list[str]:
    system, root = _file_system(), where.named("")
    with _explained(where.named(where.inside)):
        path = where.named(where.inside).removeprefix(HUB)
        found = system.glob(path) if glob.has_magic(where.inside) else system.find(path)
    start = root.removeprefix(HUB)
    return [name.removeprefix(start).lstrip("/") for name in found if system.isfile(name)]


@contextmanager
def hub_bytes(path: str) -> Iterator[IO[bytes]]:
    """Yield the bytes of one file, streamed; from the local cache where the hub is switched off.

    Raises InputError where there is no such file, or the hub cannot be reached.
    """
    where = parsed(path)
    if _offline():
        with (cached(where) / where.inside).open("rb") as file:
            yield file
        return
    with _explained(path):
        remote = _file_system().open(path.removeprefix(HUB), "rb")
    with remote, io.BufferedReader(remote, 1 << 16) as file:  # whose lines can be read up to a limit
        yield cast("IO[bytes]", file)


def cached(where: HubPath) -> Path:
    """Return the dataset's folder in the local cache. Raises InputError where the cache lacks it."""
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                where.repo, repo_type="dataset", revision=where.revision, local_files_only=True
            )
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where.repo}: not in the local cache of the hub, and HF_HUB_OFFLINE is set",
            "unset HF_HUB_OFFLINE, or name a local file",
        ) from error


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _file_system() -> Any:
    import huggingface_hub

    return huggingface_hub.HfFileSystem()


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub and the network may raise anything
        raise InputError(
            f"{path}: cannot be read from the hub ({said(error)})", f"check the path, and the connection; {HINT}"
        ) from error
