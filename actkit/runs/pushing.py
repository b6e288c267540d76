"""`push`: upload a finished local run to a dataset of the Hugging Face hub, or to an object store.

On the hub, the card has the dataset's name and the licence that the caller states. The last manifest is written for
that card, so `actkit verify hf://datasets/me/name` compares every file. Large files with the same sha256 there are not
sent again.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from actkit.config import OutputSpec
from actkit.errors import RunError, UsageError, WriteError
from actkit.remote import store
from actkit.remote.failures import explained, lacking
from actkit.remote.file_system import file_system
from actkit.remote.path import RemotePath, path_of
from actkit.remote.url import scheme_of
from actkit.runs.atomic_files import Written
from actkit.runs.card import card, is_own_text
from actkit.runs.claim import claimed
from actkit.runs.facts import facts_of
from actkit.runs.manifest import check, sealed, spelled
from actkit.runs.paths import CARD, FINGERPRINT, LOG_FILE, MANIFEST, RUN_FILE, SHARDS, part_number
from actkit.runs.publication import Publication, check_place, check_store
from actkit.runs.taken_over import files_of
from actkit.schemas import TABLES

PLACE = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?/?", re.IGNORECASE)


@dataclass(frozen=True)
class HubPlace:
    """A dataset repository of the hub."""

    repo: str
    revision: str | None

    @property
    def url(self) -> str:
        """Its address."""
        return f"hf://datasets/{self.repo}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def of(cls, where: str) -> "HubPlace":
        """Parse an address. Raises UsageError for an address of no dataset, or of a folder in a dataset."""
        found = PLACE.fullmatch(where)
        if found is None:
            raise UsageError(f"{where}: a run is pushed to a dataset of its own", "such as hf://datasets/me/name")
        return cls(found["repo"], found["revision"])


OnShare = Callable[[float], None]
OWN = (RUN_FILE, FINGERPRINT)
"""Files that identify a run."""
AT_ONCE = 200
"""Most files of one commit: the hub is slow with many."""


def push(
    run: Path,
    to: str,
    licence: str | None = None,
    private: bool = False,
    overwrite: bool = False,
    on_share: OnShare = lambda _share: None,
) -> str:
    """Upload a finished run to the address `to`, and return the address.

    Raises RunError where the run is damaged, or where another run is there and `overwrite` is not set; UsageError for
    an impossible address; WriteError where the upload fails: uploaded files stay, and another push completes them.
    """
    if isinstance(run, RemotePath):
        raise UsageError(f"{run} is not on this machine", "push takes a run's directory")
    if scheme_of(to) is None:
        raise UsageError(f"{to} is no address", "such as hf://datasets/me/name or s3://bucket/runs/x")
    facts_of(run)
    files = files_of(run)
    wrong = check(run, files)
    if wrong:
        raise RunError(f"{run} is damaged: {wrong[0][0]}: {wrong[0][1]}", "actkit verify says what else is wrong")
    if scheme_of(to) == "hf":
        return _to_hub(run, HubPlace.of(to), licence, private, overwrite, on_share)
    if licence is not None or private:
        raise UsageError("--license and --private are of hf://", "leave them out")
    return _to_store(run, to, overwrite, on_share)


def _to_store(run: Path, to: str, overwrite: bool, on_share: OnShare) -> str:
    at = path_of(to)
    check_store(at)
    assert isinstance(at, RemotePath)
    there = store.files_at(str(at))
    same = {name: name in there and (at / name).read_bytes() == (run / name).read_bytes() for name in OWN}
    if FINGERPRINT in there and not (RUN_FILE in there or same[FINGERPRINT] or overwrite):
        raise RunError(f"{at} is another run, unfinished", "choose another place, or replace it with --overwrite")
    check_place(at, there, overwrite or same[RUN_FILE], RUN_FILE not in there)
    with claimed(str(at)):
        Publication(at, OutputSpec(run), True).put_all(on_share)
    return str(at)


def _to_hub(run: Path, place: HubPlace, licence: str | None, private: bool, overwrite: bool, on_share: OnShare) -> str:
    try:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise lacking("hf://", "huggingface_hub") from error
    disable_progress_bars()
    api: Any = HfApi()
    where = {"repo_id": place.repo, "repo_type": "dataset", "revision": place.revision}
    with _said(place):
        api.create_repo(place.repo, repo_type="dataset", private=private or None, exist_ok=True)
        if place.revision:
            api.create_branch(place.repo, branch=place.revision, repo_type="dataset", exist_ok=True)
        there = {entry.path: entry for entry in api.list_repo_tree(recursive=True, **where) if hasattr(entry, "size")}
    old = _theirs(place, there)
    if RUN_FILE in there and old.get(RUN_FILE) != (run / RUN_FILE).read_bytes() and not overwrite:
        raise RunError(f"{place.url} holds another run", "choose another name, or replace it with --overwrite")
    contents, digests = _with_card(run, place, licence, old.get(CARD))
    missing = [name for name in contents if _digest(there.get(name)) != digests[name]]
    # run.json comes last: without it there is no run.
    missing.sort(key=lambda name: (name == RUN_FILE, name in (MANIFEST, CARD), name))
    stale = [name for name in there if _is_made(name) and name not in contents]
    done = 0
    for number, start in enumerate(range(0, len(missing), AT_ONCE)):
        names = missing[start : start + AT_ONCE]
        operations: list[Any] = [CommitOperationAdd(name, contents[name]) for name in names]
        if number == 0:
            operations += [CommitOperationDelete(name) for name in stale]
        with _said(place):
            api.create_commit(operations=operations, commit_message=f"actkit push: {len(names)} files", **where)
        done += len(names)
        on_share(done / len(missing))
    return place.url


def _with_card(
    run: Path, place: HubPlace, licence: str | None, old: bytes | None
) -> tuple[dict[str, Path | bytes], dict[str, str]]:
    """Path in the dataset → its contents, a file of the run or bytes; and path → sha256.

    The card is made for this dataset. A card there that somebody edited (`old`) stays as it is.
    """
    shards, files = sealed(run)
    is_theirs = old is not None and not is_own_text(old)
    if is_theirs and licence is not None:
        raise RunError(f"somebody wrote in the card of {place.url}, and it stays", "state the licence in it")
    readme = old if is_theirs and old is not None else card(facts_of(run), licence, place.repo).encode()
    about = Written(len(readme), sha256(readme).hexdigest())
    every = {**files, CARD: about}
    manifest = spelled(shards, every).encode()
    contents: dict[str, Path | bytes] = {name: run / name for name in files} | {CARD: readme, MANIFEST: manifest}
    digests = {name: file.sha256 for name, file in every.items()} | {MANIFEST: sha256(manifest).hexdigest()}
    if is_theirs:
        del contents[CARD]
    return contents, digests


def _theirs(place: HubPlace, there: Mapping[str, Any]) -> dict[str, bytes]:
    """Read the card and `run.json` of the dataset, if it has them."""
    found = {}
    for name in (CARD, RUN_FILE):
        if name in there:
            with _said(place):
                system, path = file_system(place.url)
                system.invalidate_cache()  # files listed before a push differ from those after it
                found[name] = bytes(system.cat_file(f"{path}/{name}"))
    return found


def _digest(there: Any) -> str | None:
    """The sha256 of a large file in the dataset; None for a small one, which is sent again."""
    lfs = getattr(there, "lfs", None)
    return None if lfs is None else str(lfs.sha256)


def _is_made(name: str) -> bool:
    """Whether a path is named like a file of a run's tables or shards, which a push may remove."""
    folder, _, file = name.partition("/")
    return (folder in (*TABLES, SHARDS) and part_number(Path(file)) is not None) or name == LOG_FILE


@contextmanager
def _said(place: HubPlace) -> Iterator[None]:
    try:
        with explained(place.url, WriteError):
            yield
    except FileNotFoundError as error:
        raise WriteError(
            f"{place.url}: there is no such place on the hub", "check owner, name and @revision"
        ) from error
