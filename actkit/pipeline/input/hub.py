"""Stage 1, records: stream a dataset of the Hugging Face hub, or read a local folder that is laid out as one."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actkit.backends.names import is_hub_id
from actkit.errors import InputError
from actkit.pipeline.input.class_names import NamesIn, as_written, of_features
from actkit.pipeline.input.hub_files import HubPath, cached
from actkit.remote.hub_reach import is_reachable
from actkit.remote.url import publicly, said

ID = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<configuration>[\w.-]+))?")
"""`owner/name`, `owner/name:configuration`, `owner/name@revision:configuration`."""
CARD = re.compile(r"\A---\s.*?^(configs|dataset_info)\s*:", re.DOTALL | re.MULTILINE)
"""The beginning of a dataset's card that lists files by split, or the columns."""


@dataclass(frozen=True)
class HubRows:
    """The rows of one split, and the names of the classes in them."""

    rows: Iterable[Mapping[str, Any]]
    names: Mapping[str, NamesIn]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (as_written(row, self.names) for row in self.rows)


def is_dataset_id(where: str) -> bool:
    """Whether a text has the form of a dataset's id on the hub."""
    found = ID.fullmatch(where)
    return found is not None and is_hub_id(found["name"])


def has_card(folder: Path) -> bool:
    """Whether a folder is laid out as a dataset's repository, with a card that describes its files."""
    card = folder / "README.md"
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            return CARD.match(file.read(1 << 16)) is not None
    except OSError:
        return False


def rows_of(dataset: str, split: str) -> HubRows:
    """Return the rows of one split of a dataset on the hub, or of a folder laid out as a dataset's repository.

    Only rows that are read are downloaded. Raises InputError where there is no such dataset or split, or the hub cannot
    be reached.
    """
    import datasets

    name, revision, configuration = _parts(dataset)
    datasets.disable_progress_bars()
    with explained(dataset):
        offline = datasets.config.HF_HUB_OFFLINE
        if not Path(name).is_dir() and (offline or not is_reachable()):
            with suppress(InputError):  # datasets keeps a cache of its own
                name, revision = str(cached(HubPath(name, revision, ""))), None
            if not offline and not Path(name).is_dir():
                raise InputError(
                    f"{publicly(dataset)}: no such file, and the hub cannot be reached to look for a dataset "
                    "of this name",
                    "check the path and the connection; what is in the local cache is read without one",
                )
        found = datasets.load_dataset(name, configuration, split=split, streaming=True, revision=revision)
        features = found.features
        return HubRows(found, of_features(features.to_dict()) if features else {})


def _parts(dataset: str) -> tuple[str, str | None, str | None]:
    """Divide it into name or folder, revision and configuration."""
    folder, _, configuration = dataset.rpartition(":")
    if Path(dataset).is_dir():
        return dataset, None, None
    if folder and Path(folder).is_dir():
        return folder, None, configuration
    found = ID.fullmatch(dataset)
    assert found is not None
    return found["name"], found["revision"], found["configuration"]


@contextmanager
def explained(dataset: str) -> Iterator[None]:
    """Context manager: turn any error of looking up or reading a dataset into an InputError with a hint."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the hub, the network and every file format behind it may raise anything
        import datasets

        offline = "HF_HUB_OFFLINE is set, so that only the local cache is looked at; unset it, or name a local file"
        is_local = datasets.config.HF_HUB_OFFLINE and not Path(dataset.rpartition(":")[0] or dataset).is_dir()
        raise InputError(
            f"{publicly(dataset)}: neither a local path nor a dataset that can be read ({said(error)})",
            offline if is_local else "check the name, --split and, for a configuration, owner/name:configuration",
        ) from error
