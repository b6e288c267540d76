"""Stage 1, records: a dataset of the Hugging Face hub, streamed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from actkit.errors import InputError
from actkit.pipeline.input.files import shown


def rows_of(dataset: str, split: str) -> Iterable[Any]:
    """The rows of one split of `owner/name` or `owner/name:configuration`; nothing is downloaded that is not read.

    Raises InputError where there is no such thing, or the hub cannot be reached.
    """
    import datasets

    name, _, configuration = dataset.partition(":")
    datasets.disable_progress_bars()
    with explained(dataset):
        rows: Iterable[Any] = datasets.load_dataset(name, configuration or None, split=split, streaming=True)
        return rows


@contextmanager
def explained(dataset: str) -> Iterator[None]:
    """Turn whatever is raised while a dataset is looked up or read into one sentence and a hint: an InputError."""
    try:
        yield
    except Exception as error:  # the hub, the network and every file format behind it may raise anything
        import datasets

        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = shown(lines[0])[:300] if lines else type(error).__name__
        offline = "HF_HUB_OFFLINE is set, so that only the local cache is looked at; unset it, or name a local file"
        raise InputError(
            f"{shown(dataset)}: neither a local path nor a dataset that can be read ({why})",
            offline
            if datasets.config.HF_HUB_OFFLINE
            else "check the name, --split and, for a configuration, owner/name:configuration",
        ) from error
