"""`peek`: describe a file, the commands that can read it, how each would, and the line to type.

For each command, its recipe prepares the first records with the model's tokenizer; no model is run. Where its defaults
keep too few records, options that the columns suggest are tried; the first that keep half of the records are taken.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from actkit.backends import Description
from actkit.config import ReadSpec
from actkit.errors import ActkitError, InputError, RecordError
from actkit.pipeline.input.files import STDIN
from actkit.pipeline.input.formats import format_called, format_of
from actkit.pipeline.input.packed import packing_of
from actkit.pipeline.input.reader import read_records, records_about
from actkit.pipeline.input.records import Record, Rejected
from actkit.pipeline.input.sources import InputSource, find
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.rejections import told
from actkit.recipes.conversations.fields import ContextFields
from actkit.recipes.peeking.columns import FileColumn, columns_of, roles_of
from actkit.recipes.peeking.questions import whole_questions
from actkit.recipes.peeking.tries import Try, tries_of
from actkit.recipes.runner import Ingredients, ingredients
from actkit.runs.facts import labels_shown

LOOKED_AT = 1000
"""Most records whose columns are described."""
IGNORED = re.compile(r"--ignore-field (\S+) leaves it out")
"""Part of the errors about context that would be lost, with the name of its field."""
EMPTY = "empty line"
ASKING = ("capture", "sae-extract")
"""Commands that read a question."""
TRIED = 200
"""Most records that each command prepares."""


@dataclass
class Reading:
    """A command's reading of a file."""

    command: str
    line: str
    """The command line to type."""
    read: int = 0
    kept: int = 0
    why: str = ""
    """The first rejected record, or the error, by which the command cannot read the file."""
    fields_read: list[str] = field(default_factory=list)
    fields_left: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    """Tokens of each sequence."""
    labels: dict[str, int] = field(default_factory=dict)
    meant: str = ""
    """Each meaning of a label with its values in the file, as text."""
    guessed: bool = False
    """Whether nothing tells which of the two labels in `line` is the positive one."""
    text: str = ""
    """The first sequence as the model would see it."""


@dataclass(frozen=True)
class Peek:
    """The format and content of a file, and the commands that read it."""

    path: str
    format: str
    records: int | None
    """The number of records, estimated unless `exact`; None where only reading all of them would tell."""
    exact: bool
    rejected: str
    """The first record that cannot be read at all; empty for none."""
    columns: list[FileColumn]
    roles: dict[str, int]
    readings: list[Reading]
    joined: str | None = None
    """The shell line that writes a whole question into one field, if commands would lose a part of it."""


def peek(path: str, description: Description, model: str, read: ReadSpec) -> Peek:
    """Describe a file with the tokenizer of a model. Raises InputError for a file that cannot be read."""
    if path == STDIN:
        raise InputError("peek reads a file several times, and standard input can be read once", "save it to a file")
    read, given = _readable(path, read)
    source = find(path, read.split)
    default = "text" if source.files and format_of(source.files[0]) is None else "jsonl"
    first = list(islice(read_records(path, default, read), LOOKED_AT + 1))
    values = [record.value for record in first if isinstance(record, Record)]
    columns = columns_of(values[:LOOKED_AT])
    if all(isinstance(record, Rejected) and record.reason == EMPTY for record in first):
        raise InputError(
            f"{path}: {'empty lines alone' if first else 'the input has no records'}", "is the file empty?"
        )
    bad = next((record for record in first if isinstance(record, Rejected) and record.reason != EMPTY), None)
    exact = len(first) <= LOOKED_AT
    options = (*given, *(() if model == "tiny" else ("--model", model)))
    made = ingredients(description)

    def reading_of(name: str, tries: Sequence[Try]) -> Reading:
        return _reading(name, path, tries, made, options)

    readings = [reading_of(*each) for each in tries_of(path, read, columns, values, ContextFields())]
    asking = any(reading.kept for reading in readings if reading.command in ASKING)
    joined = None if asking else whole_questions(path, values)
    lost = sorted({found[1] for reading in readings for found in [IGNORED.search(reading.why)] if found})
    if lost and joined is None and not any(reading.kept for reading in readings):
        without = ContextFields(ignore_field=tuple(lost))
        readings = [reading_of(*each) for each in tries_of(path, read, columns, values, without)]
    return Peek(
        path,
        _format(source),
        len(first) if exact else records_about(path, read),
        exact,
        "" if bad is None else told(bad, None),
        columns,
        roles_of(values[:TRIED]),
        sorted(readings, key=lambda reading: reading.kept == 0),
        joined,
    )


def _readable(path: str, read: ReadSpec) -> tuple[ReadSpec, tuple[str, ...]]:
    """Return settings that can read the file, with the columns or split that its error proposes, and their options."""
    given = (*(("--split", read.split) if read.split != "train" else ()),)
    given += ("--columns", read.columns) if read.columns else ()
    try:
        list(islice(read_records(path, "text", read), 1))
    except InputError as error:
        columns, _, proposed = error.hint.partition("--columns ")
        _, _, splits = error.hint.partition("--split names one of ")
        if proposed and columns.startswith("name its"):
            return replace(read, columns=proposed), (*given, "--columns", proposed)
        if splits and read.split == ReadSpec.split:
            split = splits.split(", ")[0]
            return replace(read, split=split), (*given, "--split", split)
        raise
    return read, given


def _format(source: InputSource) -> str:
    """Name the format in words: `JSONL, gzip`, `3 files (Parquet)`, `dataset of save_to_disk`."""
    if source.saved is not None:
        return "dataset of save_to_disk"
    if source.dataset is not None:
        is_folder = Path(source.dataset.rpartition(":")[0] or source.dataset).is_dir()
        return "folder of a dataset" if is_folder else "dataset of the Hugging Face hub"
    titles = sorted({format_called(format_of(file) or "text").title for file in source.files})
    packing = packing_of(source.files[0], b"")
    what = ", ".join(titles) + (f", {packing.name}" if packing else "")
    return what if len(source.files) == 1 else f"{len(source.files)} files ({what})"


def _reading(command: str, path: str, tries: Sequence[Try], made: Ingredients, given: tuple[str, ...]) -> Reading:
    """Return the reading of the first try that keeps half of the records, else of the first that keeps any, or first.

    A folder may have a text of another kind next to its tables, so a try that keeps few records is not good.
    """
    first: Reading | None = None
    poor: Reading | None = None
    for attempt in tries:
        found = Reading(command, shlex.join(["actkit", command, path, *attempt.options, *given]))
        try:
            _prepare(attempt.recipe(made), found)
        except ActkitError as error:
            found.why = f"{error.message}: {error.hint}" if error.hint else error.message
        if found.kept and (command != "reward-detect" or {"positive", "negative"} <= set(found.labels)):
            found.guessed = attempt.is_guess
            if 2 * found.kept >= found.read:
                return found
            poor = poor or found
            continue
        if found.kept:
            found.kept, found.why = 0, f"only {', '.join(found.labels) or 'unlabelled'} texts among the first records"
        first = first or found
    return poor or first or Reading(command, "", why="no column that it could read")


def _prepare(recipe: Recipe, into: Reading) -> None:
    """Prepare the first records by a recipe, and count the results in `into`."""
    if meant := recipe.detected.get("labels"):
        into.meant = labels_shown(meant)
    with closing(recipe.records()) as records:
        for record in islice(records, TRIED):
            into.read += 1
            if isinstance(record, Rejected):
                into.why = into.why or told(record, None)
                continue
            try:
                prepared = recipe.prepare(record)
            except RecordError as error:
                into.why = into.why or told(record.rejected(error), record.value)
                continue
            into.kept += 1
            for kind, names in (("fields_read", into.fields_read), ("fields_left", into.fields_left)):
                names.extend(name for name in prepared.said.get(kind, ()) if name not in names)
            into.shapes.extend(name for name in prepared.said.get("shapes", ()) if name not in into.shapes)
            alone = len(list(islice(prepared.sequences, 2))) == 1
            for sequence in prepared.sequences:
                if sequence.parent is not None or alone or sequence.side != "shared":
                    into.lengths.append(len(sequence.encoding))
                    into.text = into.text or sequence.encoding.text
                if sequence.label:
                    into.labels[sequence.label] = into.labels.get(sequence.label, 0) + 1
