"""`find` resolves an input's name: a file or `-`, a folder, a glob, files in an archive or a store, a hub dataset."""

import difflib
import fnmatch
import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input import zip_members
from actkit.pipeline.input.arrow import METADATA, is_saved
from actkit.pipeline.input.files import STDIN, check_name
from actkit.pipeline.input.folders import below, check_links, check_open, closed, hidden, outside_runs
from actkit.pipeline.input.formats import SUFFIXES, format_of
from actkit.pipeline.input.hub import has_card, is_dataset_id, rows_of
from actkit.pipeline.input.hub_files import HUB, files_in, from_url, parsed
from actkit.remote.reading import remote_files
from actkit.remote.url import READABLE, URL, publicly, scheme_of
from actkit.runs.paths import RUN_FILE

LISTED = 5
"""Most names of files that an error shows."""
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in a file's name that name its split, as `datasets` reads them."""


@dataclass(frozen=True)
class InputSource:
    """A source of records: files in order, one dataset of the hub, or a folder that `save_to_disk` wrote."""

    files: tuple[str, ...]
    dataset: str | None = None
    """A dataset's id on the hub, or a folder laid out as a dataset's repository."""
    ignored: int = 0
    """The number of files of a folder or archive that are not read."""
    left: tuple[str, ...] = ()
    """Readable files that are ignored: texts next to tables of records, and files of other splits."""
    saved: str | None = None
    rows: Iterable[Any] | None = field(default=None, compare=False, repr=False)
    """The rows of one split of the dataset, once it has been opened."""

    def without_effect(self, split: str) -> dict[str, str]:
        """Return a note on a requested split if the input has no splits; else nothing."""
        wanted = _usual(split)
        is_said = self.left or any(
            format_of(file) == "json" or _split_of(Path(file).name) == wanted for file in self.files
        )
        if split == ReadSpec.split or is_said or not self.files:
            return {}
        return {"split": f"--split {split} is without effect: no name of a file says which split it is"}

    def facts(self) -> dict[str, Any]:
        """Return the facts about the source for `run.json`."""
        if self.dataset is not None or self.saved is not None:
            return {"dataset": self.dataset or self.saved}
        return {"files": len(self.files)} | ({"ignored_files": self.ignored} if self.ignored else {})


def find(where: str, split: str = "train", with_texts: bool = False) -> InputSource:
    """Find the source that `where` names. Raises InputError when nothing fits.

    Text files of a folder are left out if it has others, unless `with_texts`: a README is no prompt.
    """
    if where == STDIN:
        return InputSource((where,))
    if not where.strip():  # as a path it would be the current folder
        raise InputError("the name of the input is empty", "is a variable of the shell not set?")
    check_name(where)
    where = from_url(where)
    if where.startswith(HUB):
        return _on_hub(where)
    if scheme_of(where):
        return _remote(where, split, with_texts)
    if found := URL.match(where):
        raise InputError(
            f"{publicly(where)}: nothing is read from {found[1]}://", f"inputs are local files, or at {READABLE}"
        )
    try:
        return _local(where, split, with_texts) or _missing(where)
    except PermissionError as error:
        raise closed(where) from error
    except (OSError, ValueError):  # a whole text given where a path belongs is too long a name
        return _missing(where)


def opened(source: InputSource, split: str = "train") -> InputSource:
    """Return the source with its dataset opened, so that errors of the dataset come before models load.

    Raises InputError for a dataset that does not exist, lacks the configuration or split, or cannot be reached.
    """
    return source if source.dataset is None else replace(source, rows=rows_of(source.dataset, split))


def _on_hub(where: str) -> InputSource:
    path = parsed(where)
    if not path.inside:
        return InputSource((), dataset=f"{path.repo}@{path.revision}" if path.revision else path.repo)
    one_file = Path(path.inside).suffix and not glob.has_magic(path.inside)
    return InputSource((where,) if one_file else tuple(files_in(path)))


def _remote(where: str, split: str, with_texts: bool) -> InputSource:
    """Find a file, a folder or a pattern in a store, a file on the web, or files of an archive there."""
    if archived := _archived(where, split, with_texts):
        return archived
    names = remote_files(where)
    if names is None:
        return InputSource((where,))
    own = where.rstrip("/") + "/"
    shown_names = [name for name in names if not hidden(Path(name.removeprefix(own)))]
    runs = {name.rpartition("/")[0] + "/" for name in names if name.endswith(f"/{RUN_FILE}") and name != own + RUN_FILE}
    outside = [name for name in shown_names if not any(name.startswith(run) for run in runs)]
    return _known(outside, len(names), where, split, with_texts)


def _local(where: str, split: str, with_texts: bool) -> InputSource | None:
    path = Path(where)
    if path.is_dir():
        return _folder(path, where, split, with_texts)
    if archived := _archived(where, split, with_texts):
        return archived
    if path.exists():  # a named pipe is no regular file
        return InputSource((where,))
    if glob.has_magic(where):
        return _glob(where)
    folder, _, configuration = where.rpartition(":")
    if (folder and configuration and Path(folder).is_dir()) or (format_of(where) is None and is_dataset_id(where)):
        return InputSource((), dataset=where)
    return None


def _folder(path: Path, where: str, split: str, with_texts: bool) -> InputSource:
    if path.resolve() == Path(path.resolve().anchor):
        raise InputError(f"{where}: the whole disk", "name a folder of it")
    if is_saved(path):
        return InputSource((), saved=where)
    if has_card(path):
        return InputSource((), dataset=where)
    found = below(path)
    check_links(file for file in found if format_of(str(file)) is not None)
    every = sorted(file for file in found if file.is_file())
    return _known([str(file) for file in outside_runs(every, path)], len(every), where, split, with_texts)


def _archived(where: str, split: str, with_texts: bool) -> InputSource | None:
    """Find the files of an archive: all, those that match a pattern, or one; None for a name outside of archives."""
    is_whole = zip_members.is_archive(where)
    archive, pattern = (where, "*") if is_whole else zip_members.inside(where) or ("", "")
    if not pattern:
        return None
    if not glob.has_magic(pattern):
        return InputSource((where,))
    names = [name for name in zip_members.members(archive) if fnmatch.fnmatchcase(name, pattern)]
    return _known([f"{archive}/{name}" for name in names], len(names), archive, split, with_texts or not is_whole)


def _known(names: list[str], every: int, where: str, split: str, with_texts: bool) -> InputSource:
    """Choose the readable files of a folder or an archive; if their names tell splits, those of one split."""
    known = [name for name in names if format_of(name) is not None]
    tables = _tables(known)
    records = [name for name in tables if format_of(name) != "text"]
    if not known:
        some = f" (it has {', '.join(Path(name).name for name in names[:LISTED])})" if names else ""
        ends = f"files end in {', '.join(SUFFIXES)}, plain or compressed"
        raise InputError(f"{where}: no file that can be read{some}", ends)
    chosen = tables if with_texts or not records else records
    splits = {name: _split_of(name.removeprefix(where)) for name in chosen}
    there = sorted({name for name in splits.values() if name is not None})
    if len(there) > 1 and None not in splits.values():
        wanted = _usual(split)
        chosen = [name for name in chosen if splits[name] == wanted]
        if not chosen:
            raise InputError(f"{where}: there is no split {split}", f"--split names one of {', '.join(there)}")
    kept = {*chosen}
    return InputSource(
        tuple(chosen), ignored=every - len(chosen), left=tuple(name for name in known if name not in kept)
    )


def _tables(names: Iterable[str]) -> list[str]:
    """Return the files without those that only describe a dataset, unless there are no others."""
    return [name for name in names if Path(name).name not in METADATA] or [*names]


def _usual(split: str) -> str:
    """Return the usual word for a split: `train` for `training`."""
    return next((usual for usual, words in SPLIT_WORDS.items() if split in words), split)


def _split_of(name: str) -> str | None:
    """Return the split that a file's name tells: `train` for `data/train-00000-of-00002.parquet`; None for none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split, ways in SPLIT_WORDS.items() if any(way in words for way in ways)), None)


def _glob(where: str) -> InputSource:
    names = glob.glob(where, recursive=True)  # noqa: PTH207 - patterns may be absolute, which Path.glob refuses
    check_open(itertools.chain(_searched(where), map(Path, names)))
    # Links, or two stars in a row, may give one file several names.
    check_links(map(Path, names))
    files = [Path(name) for name in sorted(names, reverse=True) if Path(name).is_file()]
    once = {file.resolve(): str(file) for file in outside_runs(files, _before_magic(where))}
    if not once and " " in where:  # a text, more likely
        return _missing(where)
    if not once:
        raise InputError(f"{publicly(where)}: no file matches", "quote the pattern, so that the shell leaves it alone")
    tables = _tables(once.values())
    return InputSource(tuple(sorted(tables)), left=tuple({*once.values()} - {*tables}))


def _searched(pattern: str) -> Iterator[Path]:
    """Yield the folders that a glob searches: `glob` itself skips unreadable ones in silence."""
    parts = Path(pattern).parts
    for at in range(len(_before_magic(pattern).parts), len(parts)):
        yield from map(Path, glob.glob(str(Path(*parts[:at])), recursive=True))  # noqa: PTH207 - as in `_glob`


def _before_magic(pattern: str) -> Path:
    """Return the folder in which a glob begins."""
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1])
    return Path(*fixed)


def _missing(where: str) -> InputSource:
    path = Path(where)
    try:
        check_links([path])
        names = [other.name for other in path.parent.iterdir() if other.suffix == path.suffix]
    except (OSError, ValueError):
        names = []
    near = difflib.get_close_matches(path.name, names, n=LISTED, cutoff=0)
    hint = f"in the same folder: {', '.join(near)}" if near else "check the path; `-` reads standard input"
    raise InputError(f"{publicly(where)}: no such file", hint)
