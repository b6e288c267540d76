"""Read parts for the checks: some columns of a part, or its row groups one by one; nulls are refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.part import open_part, read_part
from actkit.runs.reader import Ints, places
from actkit.verify.tables.findings import Findings

Bools = npt.NDArray[np.bool_]
MAY_BE_NULL = ("line", "parent_id", "response_start", "chunk", "is_sink")
CHECK_OF = {
    "activations": "activations",
    "features": "features",
    "pooled_features": "pooled",
    "pooled_activations": "pooled",
}
"""Tables of vectors and features → the check that they belong to."""


@dataclass(frozen=True)
class Sequences:
    """The sequences of one shard, by id; each field is [n], an entry for each sequence."""

    ids: Ints
    records: Ints
    start: Ints
    n_tokens: Ints
    n_kept: Ints
    char_start: Ints
    char_end: Ints
    """`char_start` is the place in the document where the text begins, `char_end` one past its last character."""
    special: Ints | None = None
    """Sorted keys (`keys_of`) of the shard's special tokens and sinks; None where its tokens could not be read."""

    def find(self, sequence_ids: Ints) -> tuple[Ints, Bools]:
        """[m] the row of each sequence id, 0 for an unknown one; and [m] whether it is known."""
        at, known = places(self.ids, sequence_ids)
        return np.where(known, at, 0), known


@dataclass(frozen=True)
class Group:
    """One row group: the rows of one hook point or SAE, in a part file."""

    part: Path
    table: pa.Table
    name: str
    """The hook point or the SAE."""
    ids: Ints
    positions: Ints | None
    """None in pooled tables."""
    start: Ints
    n_tokens: Ints
    """`start` and `n_tokens` of each row's sequence, [n] each."""
    known: Bools
    """[n] whether the row's sequence is in the shard."""
    findings: Findings

    def place(self, row: int) -> str:
        """The name of a row, for people."""
        at = f", position {self.positions[row]}" if self.positions is not None else ""
        return f"{self.name}, sequence {self.ids[row]}{at}"

    def wrong(self, bad: Bools, what: str) -> bool:
        """Add one problem for all `bad` rows [n]; return whether there are any."""
        return self.findings.rows(CHECK_OF[self.part.parent.name], self.part, bad, what, self.place)

    def says(self, what: str) -> None:
        """Add one problem of the group as a whole."""
        self.findings.wrong(CHECK_OF[self.part.parent.name], self.part, what)

    def of_rows(self, bad: Bools, lengths: Ints) -> Bools:
        """[n] whether any element of each row's list is bad; `bad` has the elements of all lists, end to end."""
        owner = np.repeat(np.arange(len(self.table)), lengths)
        found: Bools = np.bincount(owner[bad], minlength=len(self.table)) > 0
        return found


def columns_of(part: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of one part. Raises ArrowInvalid for a null in a column that must have none."""
    return _without_nulls(read_part(part, columns))


def groups_of(part: Path, sequences: Sequences, findings: Findings) -> Iterator[Group]:
    """Read the row groups of a part of vectors or features, each of one hook point or SAE.

    A row group of several is a problem, and is not returned. Raises ArrowInvalid for a null.
    """
    with open_part(part) as file:
        for number in range(file.num_row_groups):
            table = _without_nulls(file.read_row_group(number))
            findings.count(CHECK_OF[part.parent.name], len(table))
            names = pc.unique(table["sae" if "sae" in table.column_names else "hook_point"]).to_pylist()
            if len(names) > 1:
                named = ", ".join(map(str, names))
                findings.wrong(CHECK_OF[part.parent.name], part, f"row group {number} holds {named}, not one of them")
            if len(names) != 1:
                continue
            ids = table["sequence_id"].to_numpy()
            positions = table["position"].to_numpy() if "position" in table.column_names else None
            row, known = sequences.find(ids)
            start, end = (column[row] if len(column) else row for column in (sequences.start, sequences.n_tokens))
            yield Group(part, table, names[0], ids, positions, start, end, known, findings)


def _without_nulls(table: pa.Table) -> pa.Table:
    for name in table.column_names:
        column = table[name]
        nested = pa.types.is_list(column.type) and pc.list_flatten(column).null_count
        if name not in MAY_BE_NULL and (column.null_count or nested):
            raise pa.ArrowInvalid(f"nulls in the column {name}")
    return table
