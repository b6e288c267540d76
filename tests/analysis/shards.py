"""A finished run's tables cut into other shards, for tests of what is computed over them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actkit.runs.reader import parts
from actkit.runs.writer import start_run

GROUPED = {
    "activations": "hook_point",
    "pooled_activations": "hook_point",
    "features": "sae",
    "pooled_features": "sae",
}
"""Table → the column by whose values it has row groups."""
OF_RECORDS = ("pairs", "rejected", "steered_texts")
OF_SEQUENCES = ("sequences", "tokens", "logprobs", *GROUPED)


def recut(run: Path, out: Path, ends: list[int]) -> Path:
    """The run's tables in `out`, a shard for each two of `ends` that follow one another: record_ids [first, last)."""
    directory = start_run(out, {})
    sequences = whole(run, "sequences", ["sequence_id", "record_id"])
    for name in (*OF_SEQUENCES, *OF_RECORDS):
        if not parts(run, name):
            continue
        table = whole(run, name)
        records = table["record_id"] if "record_id" in table.column_names else _records(table, sequences)
        column = GROUPED.get(name)
        names = pc.unique(table[column]).to_pylist() if column else [""]
        for number, (first, last) in enumerate(pairwise(ends)):
            here = pc.and_(pc.greater_equal(records, first), pc.less(records, last))
            some = table.filter(here)
            groups = {table: some.filter(pc.equal(some[column], table)) if column else some for table in names}
            directory.write(name, groups, number)
    return directory.partial


def whole(run: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """All parts of a table."""
    return pa.concat_tables(pq.read_table(part, columns=columns, partitioning=None) for part in parts(run, name))


def _records(table: pa.Table, sequences: pa.Table) -> pa.Array:
    ids = sequences["sequence_id"].to_numpy()
    order = np.argsort(ids)
    at = order[np.searchsorted(ids[order], table["sequence_id"].to_numpy())]
    return pa.array(sequences["record_id"].to_numpy()[at])
