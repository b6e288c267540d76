"""Refuse impossible options of a run before anything is loaded; name the input in the error about its records."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actkit.cli.options.engine import Engine, engine_of
from actkit.cli.options.shared import Shared
from actkit.errors import RunError, UsageError
from actkit.remote.path import RemotePath
from actkit.runs.paths import unfinished_of

if TYPE_CHECKING:
    from actkit.recipes.specs import OwnSpec


def check_asked(own: "OwnSpec", shared: Shared) -> None:
    """Raise UsageError or RunError for options of a run that make no sense, alone or together."""
    check_exports(shared, own.command, own.exports)
    check_places(shared)
    engine = engine_of(shared.engine, shared.workers, shared.shard)
    if engine is not None:
        _check_workers(engine, own, shared)
    elif shared.shard is not None:
        _check_share(own, shared)
    if shared.resume and shared.overwrite:
        raise UsageError("--resume and --overwrite were both given", "one continues a run, the other replaces it")
    if shared.resume and shared.directory is None:
        unfinished = unfinished_of(own.command)
        there = f", such as {', '.join(unfinished[-3:])}" if unfinished else ""
        raise UsageError("--resume without --out", f"--out names the run that is to be continued{there}")


def check_exports(shared: Shared, command: str, exports: Sequence[str]) -> None:
    """Raise UsageError for a format that cannot be written of this command's runs."""
    for to, _ in shared.exports:
        from actkit.export.formats import check_fits

        check_fits(to, command, exports)


def check_places(shared: Shared) -> None:
    """Raise UsageError or RunError where no run or file can be written to `--out`."""
    from actkit.runs.paths import check_local
    from actkit.runs.publication import check_store

    for path in (shared.out, shared.output):
        if isinstance(path, RemotePath) and shared.file is None:
            check_store(path)
        elif path is not None:
            check_local(path)
    if shared.file is not None and (shared.file.is_dir() or (shared.file.exists() and not shared.overwrite)):
        raise RunError(f"{shared.file} exists already", "choose another --out, or replace it with --overwrite")
    if "-" in (str(shared.out), str(shared.output)):
        raise UsageError("--out -: a run is a directory, and is not written to standard output", "such as -o runs/x")


def _check_share(own: "OwnSpec", shared: Shared) -> None:
    """Raise UsageError or RunError for options that one task of several cannot follow."""
    from actkit.runs.paths import is_there

    _check_input("--shard", own)
    whole = shared.directory
    if whole is not None and is_there(whole) and not (shared.overwrite or shared.resume):
        raise RunError(f"{whole} exists already", "choose another --out, or replace it with --overwrite")
    if shared.exports or shared.report:
        raise UsageError("--shard: a share is not exported", "give --export or --report to actkit merge")


def check_whole(flag: str, wanted: bool, shared: Shared) -> None:
    """Raise UsageError for an option that needs the whole run, where this process computes a task's share."""
    if not wanted or shared.shard is None:
        return
    engine = engine_of(shared.engine, shared.workers, shared.shard)
    if engine is None or engine.part is not None:
        raise UsageError(f"{flag} with --shard: a share is no run yet", "leave it out, and do that after actkit merge")


def _check_workers(engine: Engine, own: "OwnSpec", shared: Shared) -> None:
    """Raise UsageError or RunError for options that the workers of an engine cannot follow."""
    _check_input(engine.flag, own)
    if engine.part is not None:
        _check_share(own, shared)
    if engine.is_ray and shared.shard is not None:
        raise UsageError("--engine and --shard were both given", "--engine ray shares the run out itself")
    if isinstance(shared.directory, RemotePath):
        raise UsageError(
            f"{engine.flag} with --out {shared.directory}: workers meet in a folder that all of them see",
            f"give -o such a folder, then: actkit push FOLDER {shared.directory}",
        )


def _check_input(flag: str, own: "OwnSpec") -> None:
    """Raise UsageError for an input that can be read once only, where several processes read it."""
    from actkit.recipes.asked import files_of

    for source in files_of(own):
        if source == "-" or Path(source).is_fifo() or source.startswith("/dev/"):
            raise UsageError(f"{flag} with standard input, which one task alone can read", "put it into a file")


@contextmanager
def naming_input(own: "OwnSpec") -> Iterator[None]:
    """Where none of the input's records could be used, add the input's name to the error."""
    try:
        yield
    except RunError as error:
        # Imported here, since they import much, and are loaded by now.
        from actkit.pipeline.input.files import name_of
        from actkit.pipeline.recipe import NothingKeptError
        from actkit.recipes.asked import source_of
        from actkit.remote.url import publicly

        source = source_of(own)
        if isinstance(error, NothingKeptError) and source is not None:
            error.message = f"{publicly(name_of(source))}: {error.message}"
        raise
