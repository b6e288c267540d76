"""A finished run at a glance: what `run.json` says, and the first rows of every table."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.errors import RunError
from actkit.remote.path import RemotePath
from actkit.runs.json_file import read_object
from actkit.runs.part import open_part
from actkit.runs.paths import FINGERPRINT, RUN_FILE
from actkit.runs.reader import parts


def facts_of(run: Path) -> dict[str, Any]:
    """What `run.json` holds. Raises RunError when `run` is no finished run."""
    try:
        return read_object(run / RUN_FILE)
    except OSError as error:
        if isinstance(run, RemotePath):
            unfinished = (run / FINGERPRINT).exists()
        else:  # Path.is_dir raises this again where the name is too long.
            unfinished = run.name.endswith(".partial") or os.path.isdir(f"{run}.partial")  # noqa: PTH112
        why = "the run is unfinished" if unfinished else "a run is a directory with run.json"
        raise RunError(f"{run}: no finished run", why) from error
    except ValueError as error:
        raise RunError(f"{run}/run.json is damaged ({error})", "the tables beside it can still be read") from error


def heads(run: Path, rows: int) -> Iterator[tuple[str, pa.Table]]:
    """Each table's name and first `rows` rows, in the order in which `run.json` lists them."""
    for table in facts_of(run)["tables"]:
        files = parts(run, table)
        if files:
            with open_part(files[0]) as file:
                first = next(file.iter_batches(batch_size=rows), None)
                yield table, pa.Table.from_batches([first] if first else [], file.schema_arrow)
