"""A run in an object store: made in a local directory, and uploaded shard by shard.

1. A claim, the object `lock`, names the writer, which touches it again and again (`claim`).
2. A shard is uploaded as soon as its manifest is written: its tables, then its manifest.
3. Tables over all shards follow, then `manifest.json`, and `run.json` last: before it, there is no run.
4. When every object has its size, the local directory is removed.

An object is there whole or not at all, so a run with a `run.json` is whole. The local directory stays until the end, so
a run or an upload that breaks off loses nothing. On another machine, `resume` first fetches the uploaded files.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from actkit.config import OutputSpec
from actkit.errors import ActkitError, RunError, UsageError, WriteError
from actkit.remote import store
from actkit.remote.path import RemotePath
from actkit.remote.url import STORES, scheme_of
from actkit.runs.atomic_files import of_file
from actkit.runs.claim import TOUCHED, claimed, touch
from actkit.runs.json_file import object_if_any
from actkit.runs.lock import LOCK
from actkit.runs.manifest import read as read_manifest
from actkit.runs.manifest import sealed
from actkit.runs.paths import FINGERPRINT, LOG_FILE, MANIFEST, RUN_FILE, SHARDS, is_run, numbered, partial_of
from actkit.runs.removal import check_removable, remove
from actkit.runs.staging import UPLOADED, fetched, staging

POLL = 0.5
"""Seconds between checks for finished shards."""


@dataclass
class Publication:
    """A run that is being uploaded to a store."""

    at: RemotePath
    output: OutputSpec
    """The options of the local run."""
    replaces: bool
    """Whether this run replaces a finished one there: then nothing is uploaded before this one is finished."""
    uploaded: dict[str, str] = field(default_factory=dict)
    failed: ActkitError | None = None
    """The error that ended the upload of shards; `finish` tries again."""
    is_there: bool = False
    """Whether the run is whole in the store already, so that nothing is uploaded."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def local(self) -> Path:
        """The local directory in which the run is made."""
        return self.output.out

    def finish(self, on_share: Callable[[float], None] = lambda _share: None) -> RemotePath:
        """Upload the missing files, `run.json` last, and remove the local directory. Raises WriteError."""
        self.stop()
        if not self.is_there:
            try:
                self.put_all(on_share)
            except WriteError as error:
                raise WriteError(f"{error.message}; the whole run is kept in {self.local}", error.hint) from error
        remove(self.local)
        (self.local.parent / UPLOADED).unlink(missing_ok=True)
        with suppress(OSError):
            self.local.parent.rmdir()
        return self.at

    def start(self) -> None:
        """Begin to upload shards as they are finished."""
        self._thread = threading.Thread(target=self._watch, name="actkit-upload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Upload no further shard; wait for the one on its way."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def put_all(self, on_share: Callable[[float], None]) -> None:
        """Upload the missing files, `run.json` last; remove other objects. Raises WriteError."""
        _, files = sealed(self.local)
        there = store.files_at(str(self.at))
        if RUN_FILE in there:  # without it, this is no run until all files are there
            store.remove(self._url(RUN_FILE))
            self.uploaded.pop(RUN_FILE, None)
        # The fingerprint comes first: it identifies the run.
        names = sorted(set(files) - {RUN_FILE}, key=lambda name: (name != FINGERPRINT, name))
        extra = [name for name in (LOG_FILE,) if (self.local / name).is_file()]
        for number, name in enumerate(names):
            written = files[name]
            if self.uploaded.get(name) != written.sha256 or there.get(name) != written.bytes:
                self._put(self.local, name, written.sha256)
            on_share((number + 1) / (len(names) + 3))
        for name in [*extra, MANIFEST]:
            self._put(self.local, name, of_file(self.local / name))
        for name in set(there) - set(files) - {*extra, MANIFEST, LOCK}:
            store.remove(self._url(name))
        there = store.files_at(str(self.at))
        wrong = next((name for name in names if there.get(name) != files[name].bytes), None)
        if wrong is not None:
            raise WriteError(f"{self._url(wrong)} is not as it was put there", "does another process write there?")
        self._put(self.local, RUN_FILE, files[RUN_FILE].sha256)
        on_share(1.0)

    def _watch(self) -> None:
        """Until the run ends, touch the claim, and upload each finished shard unless an upload has failed."""
        touched = time.monotonic()
        while not self._ended.wait(POLL):
            if time.monotonic() - touched > TOUCHED:
                touched = time.monotonic()
                with suppress(ActkitError):
                    touch(str(self.at))
            if self.failed is None and not self.replaces:
                try:
                    self._put_shards()
                except ActkitError as error:
                    self.failed = error
                except (OSError, ValueError):  # a run that ends removes its files
                    continue

    def _put_shards(self) -> None:
        partial = partial_of(self.local)
        for path in numbered(partial / SHARDS, ".json"):
            name = f"{SHARDS}/{path.name}"
            digest = of_file(path)
            if self.uploaded.get(name) == digest or self._ended.is_set():
                continue
            if FINGERPRINT not in self.uploaded:
                self._put(partial, FINGERPRINT, of_file(partial / FINGERPRINT))
            for part, written in read_manifest(path).files().items():
                if self.uploaded.get(part) != written.sha256:
                    self._put(partial, part, written.sha256)
            self._put(partial, name, digest)

    def _put(self, folder: Path, name: str, digest: str) -> None:
        store.put_file(self._url(name), folder / name)
        self.uploaded[name] = digest
        if self.output.published is None:  # `push` takes a local run, which keeps no list of uploads
            return
        path = self.local.parent / UPLOADED
        path.with_suffix(".new").write_text(json.dumps(self.uploaded))
        path.with_suffix(".new").replace(path)

    def _url(self, name: str) -> str:
        return f"{self.at}/{name}"


def check_store(out: Path) -> None:
    """Raise UsageError for an address that no run can be written to."""
    if scheme_of(str(out)) == "hf":
        raise UsageError(f"--out {out}: a run is not written to the hub file by file", "-o runs/x, then actkit push")
    if scheme_of(str(out)) not in STORES:
        raise UsageError(f"--out {out}: nothing can be written to the web", "s3://, gs:// or az://, or a directory")
    if len(out.parts) < 3:
        raise RunError(f"{out} is a whole bucket, no run", f"give the run a name, such as {out}/x")


@contextmanager
def published(output: OutputSpec) -> Iterator[Publication | None]:
    """Make the publication of a run in a store, and upload its shards meanwhile; None for a local run.

    Raises errors before anything is computed: a run that is there, another process that writes it, files that are not
    actkit's, no credentials, no bucket.
    """
    at = output.out
    if not isinstance(at, RemotePath) or output.plan_only:
        yield None
        return
    check_store(at)
    local = staging(at)
    uploaded = object_if_any(local.parent / UPLOADED)
    there = store.files_at(str(at))
    check_place(at, there, output.overwrite, output.resume)
    is_finished = RUN_FILE in there
    is_here = local.exists() or partial_of(local).exists()
    if output.resume and is_finished and is_here:
        _check_replaces(at, local)
    elif output.resume and not is_here:
        uploaded = fetched(at, there, local if is_finished else partial_of(local))
    elif not output.resume:
        for path in (local, partial_of(local)):
            if path.exists():
                remove(path)
        uploaded = {}
    inner = replace(output, out=local, published=at)
    publication = Publication(at, inner, is_finished, uploaded, is_there=output.resume and is_finished and not is_here)
    with claimed(str(at)):
        if not output.resume and not is_finished:
            for name in (entry for entry in there if entry != LOCK):
                store.remove(f"{at}/{name}")
        publication.start()
        try:
            yield publication
        finally:
            publication.stop()


def check_place(at: RemotePath, there: dict[str, int], overwrite: bool, resume: bool) -> None:
    """Raise RunError where the objects at `at` (name → bytes) forbid a run there."""
    if not there:
        return
    with_run = RUN_FILE in there
    if not (overwrite or resume):
        if with_run:
            raise RunError(f"{at} exists already", "choose another place, or replace it with --overwrite")
        hint = "continue it with --resume, replace it with --overwrite, or choose another place"
        if FINGERPRINT in there:
            raise RunError(f"{at} is an unfinished run", hint)
    check_removable(at)
    if with_run and not is_run(at):
        raise RunError(f"{at}: its {RUN_FILE} is not one of actkit's", "choose another place")


def _check_replaces(at: RemotePath, local: Path) -> None:
    """Raise RunError for an unfinished local run that was not begun to replace the finished one in the store."""
    folder = partial_of(local) if partial_of(local).exists() else local
    facts = object_if_any(folder / FINGERPRINT)  # a process that was killed at once left none
    same = (local / RUN_FILE).is_file() and (local / RUN_FILE).read_bytes() == (at / RUN_FILE).read_bytes()
    if not facts.get("replaces") and not same:
        raise RunError(
            f"{at} exists already, and the unfinished run in {folder} was not begun to replace it",
            f"choose another --out, or remove {folder}",
        )
