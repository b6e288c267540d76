"""The place of a run of the Python functions, kept or removed afterwards, and the records that it reads."""

import json
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from actkit.config import OnBadRecord, OutputSpec
from actkit.errors import InputError, RunError, UsageError, in_python, listed, writing
from actkit.pipeline.input.arrow import check_columns, with_objects
from actkit.pipeline.input.class_names import as_written, of_features
from actkit.recipes.specs import checked
from actkit.remote.path import local_path
from actkit.runs.paths import named_after, partial_of
from actkit.runs.removal import check_out

INPUT = ".input"
"""Suffix to the run's name in the name of the file that holds records given in memory."""
SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True)
class RunLocation:
    """The place of one run."""

    output: OutputSpec
    folder: Path
    """A temporary folder, removed in the end."""
    kept: bool
    written: list[Path] = field(default_factory=list)
    """Files of records that were in memory: beside a run that is kept, so that its `config.yaml` can be replayed."""

    def input_file(self, suffix: str = ".jsonl") -> Path:
        """Return a file for records in memory. Raises RunError where a run or such a file is there already."""
        path = self.output.out.with_name(f"{self.output.out.name}{INPUT}{suffix}")
        check_out(self.output.out, self.output.overwrite)
        if path.exists() and not self.output.overwrite:
            raise RunError(f"{path} exists already", "move it away, choose another out, or replace it: overwrite=True")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.written.append(path)
        return path

    def write_input(self, records: Iterable[Any]) -> str:
        """Write records to a file, return its path. Raises UsageError for values not in JSON; else see `input_file`."""
        path = self.input_file()
        with path.open("w", encoding="utf-8") as file:
            for number, record in enumerate(records):
                try:
                    text = json.dumps(record, default=_plain)
                except (TypeError, ValueError, RuntimeError) as error:
                    raise UsageError(
                        f"record {number} cannot be written as JSON ({error})", "use texts, numbers and lists"
                    ) from error
                with writing(path):
                    file.write(text + "\n")
        return str(path)


@contextmanager
def placed(
    out: Path | str | None,
    overwrite: bool = False,
    on_bad_record: OnBadRecord = "skip",
    max_records: int | None = None,
) -> Iterator[RunLocation]:
    """Yield the place of a run: `out`, or without one a temporary directory that is removed with all that is in it.

    An error that is raised inside about one of the texts names it by its index. Where nothing of the run is left, the
    records that were written for it are removed. Raises UsageError for values that `OutputSpec` does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="actkit-") as name:
        folder = Path(name)
        where = local_path(out, "out") if out is not None else folder / "run"
        output = checked(OutputSpec(where, overwrite, on_bad_record=on_bad_record, max_records=max_records))
        location = RunLocation(output, folder, out is not None)
        try:
            yield location
        except InputError as error:
            error.message = _by_index(error.message, *map(str, location.written))
            if on_bad_record == "fail":  # each text has a row in the result, so that none can be left out
                error.hint = "mend it, or leave it out"
            raise
        finally:
            with suppress(OSError, ValueError):  # the run itself refuses a name that no file can have
                if not where.exists() and not partial_of(where).exists():
                    for path in location.written:
                        path.unlink(missing_ok=True)


def _by_index(message: str, *paths: str) -> str:
    """Name a record in the message by its index, not its line: nobody has seen the files at `paths`."""
    place = re.match(rf"(?:{'|'.join(map(re.escape, ('--prompt', *paths)))}):(\d+)(?=[:,])", message)
    return f"record {int(place[1]) - 1}{message[place.end() :]}" if place else message


def warn_of(facts: Mapping[str, Any], max_length: int | None = None) -> None:
    """Warn as the command line would: of records left out, texts cut, an SAE that does not suit the model.

    Where `max_length` was asked for, texts that are cut to it are no surprise.
    """
    counts, found = facts["counts"], list(facts.get("warnings", ()))
    if counts["rejected"]:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in facts["rejected_reasons"].items())
        found.append(f"{counts['rejected']} of {counts['read']} records were left out: {reasons}")
    if counts["truncated"] and max_length is None:
        most = facts["model"]["context_length"]
        found.append(f"{counts['truncated']} texts were cut to the model's context of {most} tokens")
    for text in found:
        warnings.warn(in_python(text), stacklevel=3)


def run_named(command: str, out: Path | str | None) -> Path:
    """`out`, or as on the command line a directory named after command and time. Raises UsageError for no path."""
    return local_path(out, "out") if out is not None else named_after(command)


def rows_in(records: Any) -> Iterable[Any]:
    """Return records one by one: rows of a pandas, polars or Arrow table, or of a `datasets` one with its class names.

    Raises UsageError for a value without records, and for an object of columns or splits.
    """
    if isinstance(records, Mapping):
        raise UsageError(
            f"{type(records).__name__} of {listed([str(name) for name in records], SHOWN)} is no list of records",
            "give a list of them, [record]; of columns, pandas.DataFrame(columns); of splits, one",
        )
    if hasattr(records, "features") and hasattr(records, "with_format"):
        names = of_features(records.features.to_dict()) if records.features else {}
        return (as_written(row, names) for row in records.with_format(None))
    for rows in ("to_pylist", "to_dicts"):
        if hasattr(records, rows):
            several: list[Any] = getattr(records, rows)()
            if hasattr(getattr(records, "schema", None), "types"):
                several = with_objects(several, records.schema)
            return [as_written(row, {}) if isinstance(row, Mapping) else row for row in several]
    if hasattr(records, "columns") and hasattr(records, "to_dict"):  # else a data frame gives its columns' names
        check_columns([str(name) for name in records.columns], type(records).__name__)
        return [as_written(record, {}) for record in records.to_dict("records")]
    if not isinstance(records, Iterable):
        raise UsageError(f"{type(records).__name__} is neither a text nor records", "give a text, a list, or a file")
    found: Iterable[Any] = records
    return found


def texts_of(texts: str | Sequence[str], name: str = "texts") -> list[str]:
    """Return one text, or several, as a list. Raises UsageError for anything else, and for none."""
    found = [texts] if isinstance(texts, str) else list(rows_in(texts))
    wrong = next((text for text in found if not isinstance(text, str)), None)
    if wrong is not None:
        raise UsageError(f"{name}: {type(wrong).__name__} is no text", "give a text or a list of texts")
    if not found:
        raise UsageError(f"{name}: there are none", "give a text or a list of texts")
    return [str(text) for text in found]


def fits_json(value: Any) -> bool:
    """Whether a value can stand in a file of input."""
    try:
        json.dumps(value, default=_plain)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _plain(value: Any) -> Any:
    """Turn kinds of numpy, pandas, torch and Python into JSON's: arrays into lists, dates into ISO 8601."""
    if type(value).__name__ in ("NAType", "NaTType"):  # a gap of pandas
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is neither text nor number")
