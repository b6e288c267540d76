"""The texts of a run in a file that is mapped into memory, from which the viewer cuts contexts.

Parquet is read by row groups: a few rows of each of fifty parts cost the decoding of fifty row groups. The contexts of
one feature are such rows.
"""

import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import writing
from actkit.runs.by_sequence import TokenizedText, tokens_along
from actkit.runs.part import read_part
from actkit.runs.reader import parts, path_of


@dataclass(frozen=True)
class MappedTable:
    """A table in order of sequence, a batch a part. Only rows that were read are in memory."""

    batches: Sequence[pa.RecordBatch] = field(repr=False)
    firsts: Sequence[int]
    """The first sequence_id of each batch."""

    def of_sequence(self, sequence: int) -> pa.RecordBatch | None:
        """Return the rows of one sequence, in order; None where there are none."""
        number = bisect_right(self.firsts, sequence) - 1
        if number < 0:
            return None
        batch = self.batches[number]
        begin, end = np.searchsorted(batch["sequence_id"].to_numpy(), [sequence, sequence + 1]).tolist()
        return batch.slice(begin, end - begin) if end > begin else None


def mapped_table(
    run: Path, table: str, columns: Sequence[str], kept: Callable[[pa.Table], pa.Table] = lambda rows: rows
) -> MappedTable:
    """Map some columns of a table, each part after `kept`; `sequence_id` is one of them, and ascends.

    The mapped file is unlinked, so that it ends with the process. Raises WriteError where the system's folder
    for temporary files is full.
    """
    with tempfile.TemporaryDirectory(prefix="actkit-") as folder:
        path = Path(folder, f"{table}.arrow")
        with writing(f"a temporary file in {tempfile.gettempdir()}"):
            read = (read_part(part, columns) for part in parts(run, table))
            _lay_out(path, map(kept, read))
        if not path.exists():
            return MappedTable((), ())
        with pa.memory_map(str(path)) as file:
            laid_out = pa.ipc.open_file(file)
            batches = [laid_out.get_batch(number) for number in range(laid_out.num_record_batches)]
    return MappedTable(batches, [batch["sequence_id"][0].as_py() for batch in batches])


def _lay_out(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next((rows for rows in tables if len(rows)), None)
    if first is None:
        return
    with pa.ipc.new_file(str(path), first.schema) as writer:
        for rows in chain([first], tables):
            for batch in rows.combine_chunks().to_batches():
                if len(batch):
                    writer.write_batch(batch)


ROW = ("sequence_id", "record_id", "label", "parent_id", "char_offset", "n_tokens", "text")
TOKEN = ("sequence_id", "position", "token", "char_start", "char_end", "is_special")
BYTES_A_TOKEN, ROOM = 48, 2
"""About the bytes of a token and its text in the temporary files; and the multiple of all these that must be free."""
BESIDE = 16
"""Tokens read beyond those that are asked for, since tokens that share a character are drawn as one."""


@dataclass(frozen=True)
class MappedTexts:
    """The sequences and tokens of a run."""

    sequences: MappedTable
    tokens: MappedTable

    def near(self, sequence: int, position: int, around: int) -> TokenizedText:
        """Return a sequence with only its tokens within `around` of a position, and their text.

        Raises KeyError for an unknown sequence, RunError where a sequence that it continues is missing.
        """
        rows = {sequence: self._row(sequence)}
        ahead = rows[sequence]["parent_id"]
        while ahead is not None and ahead not in rows and self.sequences.of_sequence(ahead) is not None:
            rows[ahead] = self._row(ahead)
            ahead = rows[ahead]["parent_id"]
        first, last = position - around - BESIDE, position + around + BESIDE
        own = {owner: self._tokens(owner, first, last) for owner in path_of(sequence, rows)}
        tokens = tuple(tokens_along(rows, own, sequence))
        if not tokens:
            return TokenizedText({**rows[sequence], "text": ""}, ())
        begin, end = tokens[0]["char_start"], max(token["char_end"] for token in tokens)
        text = rows[sequence]["text"] or ""
        for inside in tokens:
            inside["char_start"] -= begin
            inside["char_end"] -= begin
        return TokenizedText({**rows[sequence], "text": text[begin:end]}, tokens)

    def _row(self, sequence: int) -> dict[str, Any]:
        found = self.sequences.of_sequence(sequence)
        if found is None:
            raise KeyError(sequence)
        row: dict[str, Any] = found.to_pylist()[0]
        return row

    def _tokens(self, sequence: int, first: int, last: int) -> list[dict[str, Any]]:
        rows = self.tokens.of_sequence(sequence)
        if rows is None:
            return []
        begin, end = rows["position"].to_numpy().searchsorted([first, last + 1]).tolist()
        return [{**row, "role": None} for row in rows.slice(begin, end - begin).to_pylist()]


def mapped_texts(run: Path, n_tokens: int) -> MappedTexts | None:
    """Map the texts of a run of about `n_tokens`; None where the folder for temporary files has no room for them.

    Raises WriteError where it fills meanwhile.
    """
    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM * BYTES_A_TOKEN * n_tokens:
        return None
    return MappedTexts(mapped_table(run, "sequences", ROW), mapped_table(run, "tokens", TOKEN, _names_of_special))


def _names_of_special(tokens: pa.Table) -> pa.Table:
    """Drop the texts of ordinary tokens, which the sequence's text holds."""
    names = pc.if_else(tokens["is_special"], tokens["token"].cast(pa.string()), pa.scalar(None, pa.string()))
    return tokens.set_column(tokens.column_names.index("token"), "token", names)
