"""Read a run's tables part by part: activations of one hook point, features of one SAE, special tokens."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.errors import RunError
from actkit.runs.fast_vectors import vectors
from actkit.runs.json_file import is_regular
from actkit.runs.part import open_part, ranges_in, read_part
from actkit.runs.paths import numbered

LEFT_OUT = ("is_special", "is_sink")
"""Columns of `tokens` that mark the tokens that statistics leave out."""
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The activations of one hook point in one shard."""

    hook_point: str
    layer: int
    sequence_ids: Ints
    positions: Ints
    activations: Floats
    """[n, d_model] float32, or the stored dtype."""


def parts(run: Path, table: str) -> list[Path]:
    """The part files of one table, in order. Raises RunError for one that is no regular file: reading may not end."""
    found = numbered(run / table, ".parquet")
    for path in found:
        if not is_regular(path):
            raise RunError(f"{path} is no regular file", "actkit verify says what else is wrong with the run")
    return found


def part_of(run: Path, table: str, part: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the part of `table` of the same shard as `part`; all columns, or `columns`."""
    return read_part(run / table / part.name, columns)


def table_of(run: Path, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a small table whole. Raises ArrowInvalid for a table that the run does not have."""
    return pa.concat_tables([read_part(part, columns) for part in parts(run, table)])


def rows_of_table(run: Path, table: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read every row of a small table, in order; empty for a table that the run does not have."""
    return [row for part in parts(run, table) for row in read_part(part, columns).to_pylist()]


def hook_points_of(run: Path) -> list[str]:
    """The hook points of a run's activations, in order: those of the first part that has rows."""
    for part in parts(run, "activations"):
        with open_part(part) as file:
            found = [str(ends[0]) for ends in ranges_in(file, "hook_point") if ends is not None]
        if found:
            return list(dict.fromkeys(found))
    return []


def rows_of(part: Path, hook_point: str | None = None, as_stored: bool = False) -> Iterator[Rows]:
    """Read one part of `activations`, hook point by hook point; leave out those whose vectors differ in length.

    With `hook_point`, only that one's vectors are read. `as_stored` leaves float16 as it is.
    """
    with open_part(part) as file:
        for group, ends in enumerate(ranges_in(file, "hook_point")):
            if hook_point is not None and ends is not None and ends[0] != hook_point:
                continue
            table = file.read_row_group(group, columns=["sequence_id", "position", "layer", "hook_point"])
            if not len(table) or (hook_point is not None and table["hook_point"][0].as_py() != hook_point):
                continue
            values = _values(part, file, group)
            if values is None:
                continue
            values = values if as_stored else values.astype(np.float32, copy=False)
            yield Rows(
                table["hook_point"][0].as_py(),
                table["layer"][0].as_py(),
                table["sequence_id"].to_numpy(),
                table["position"].to_numpy(),
                values.reshape(len(table), -1),
            )


def span(sequence_ids: Ints, sequence_id: int) -> slice:
    """The rows of one sequence in a column that is sorted by sequence."""
    first, last = np.searchsorted(sequence_ids, [sequence_id, sequence_id + 1])
    return slice(int(first), int(last))


def _values(part: Path, file: pq.ParquetFile, group: int) -> npt.NDArray[Any] | None:
    """[n * width] the vectors of one row group end to end, in the stored dtype; None where they differ in length."""
    if pa.types.is_fixed_size_list(file.schema_arrow.field("activation").type):
        plain = vectors(part, file.metadata, group, "activation")
        if plain is not None:
            return plain
    lists = file.read_row_group(group, columns=["activation"])["activation"].combine_chunks()
    if not pa.types.is_fixed_size_list(lists.type) and len(set(np.diff(lists.offsets))) != 1:
        return None
    values: npt.NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return values


def sae_groups(part: Path, sae: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read the rows of one SAE in one part of `features` or `pooled_features`, whose row groups hold one SAE each.

    All columns, or `columns`. Of other SAEs' row groups only the name is read.
    """
    with open_part(part) as file:
        for group in range(file.num_row_groups):
            named = file.read_row_group(group, columns=["sae"])["sae"]
            if len(named) and named[0].as_py() == sae:
                # For so few columns, threads cost more than they save.
                yield file.read_row_group(group, columns=columns and list(columns), use_threads=False)


def rows_of_sae(part: Path, sae: str) -> pa.Table | None:
    """Read the rows of one SAE in one part as one table; None where there are none."""
    groups = list(sae_groups(part, sae))
    return pa.concat_tables(groups).combine_chunks() if groups else None


def places(sequence_ids: Ints, some: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """[k] the index of each id of `some` in `sequence_ids` [n], which ascend; and [k] whether it is there."""
    at = np.searchsorted(sequence_ids, some)
    there = at < len(sequence_ids)
    there[there] = sequence_ids[at[there]] == some[there]
    return at, there


def tokens_of(run: Path, part: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of the part of `tokens` of the same shard as `part`, and those that `left_out` needs.

    Runs of an older actkit have no `is_sink`.
    """
    return read_part(run / "tokens" / part.name, columns, also=LEFT_OUT)


def left_out(tokens: pa.Table) -> pa.ChunkedArray:
    """[n] whether statistics leave out each row of `tokens`: special ones and attention sinks."""
    flags = [pc.fill_null(tokens[name], False) for name in LEFT_OUT if name in tokens.column_names]
    return functools.reduce(pc.or_, flags)


def special_keys(run: Path, part: Path) -> Ints:
    """[n] ascending: keys (`keys_of`) of the tokens of a shard that statistics leave out: special ones and sinks."""
    tokens = tokens_of(run, part, ["sequence_id", "position"])
    special = tokens.filter(left_out(tokens))
    return keys_of(special["sequence_id"].to_numpy(), special["position"].to_numpy())


def is_special(rows: Rows, special: Ints) -> npt.NDArray[np.bool_]:
    """[n] whether the key of each row is in `special`."""
    return places(special, keys_of(rows.sequence_ids, rows.positions))[1]


def keys_of(sequence_ids: Ints, positions: Ints) -> Ints:
    """[n] sequence and position as one number, which fits since no context is 2^31 tokens long."""
    keys: Ints = (sequence_ids << 31) | positions
    return keys


def path_of(sequence_id: int, rows: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """The ids of a sequence and of those that it continues, the first one last; `rows` of `sequences` by id.

    Raises RunError where one of them is not there, or continues itself.
    """
    path = [sequence_id]
    while (parent := rows[path[-1]]["parent_id"]) is not None:
        if parent not in rows or parent in path:
            why = "is not there" if parent not in rows else "continues itself"
            raise RunError(f"sequence {sequence_id} continues sequence {parent}, which {why}", "the run is damaged")
        path.append(parent)
    return path


def matrix(table: pa.Table) -> npt.NDArray[np.float64] | None:
    """[n, width] the column `activation`; None where its vectors differ in length."""
    values, lengths = lists_in(table, "activation")
    return values.astype(np.float64).reshape(len(table), -1) if len(np.unique(lengths)) == 1 else None


def lists_in(table: pa.Table, column: str) -> tuple[npt.NDArray[Any], Ints]:
    """A column of lists: all values end to end, and the length [n] of each row's list."""
    lengths = pc.list_value_length(table[column]).to_numpy(zero_copy_only=False)
    return pc.list_flatten(table[column]).to_numpy(zero_copy_only=False), lengths.astype(np.int64)


def active_in(rows: pa.Table) -> tuple[Ints, npt.NDArray[np.int32], Floats]:
    """The features in `rows` of `features` or `pooled_features`: number in each row [n], all ids, all activations."""
    ids, lengths = lists_in(rows, "feature_ids")
    return lengths, ids, lists_in(rows, "feature_activations")[0]


def features_table(run: Path) -> str:
    """The name of the table of a run's features: `features`, or else `pooled_features`."""
    return "features" if parts(run, "features") else "pooled_features"


def features_seen(run: Path, sae: str, d_sae: int) -> Ints:
    """The features of one SAE that are active anywhere in a run, ascending."""
    seen = np.zeros(d_sae, dtype=np.bool_)
    for part in parts(run, features_table(run)):
        for rows in sae_groups(part, sae, ["feature_ids"]):
            seen[lists_in(rows, "feature_ids")[0]] = True
    return np.flatnonzero(seen)
