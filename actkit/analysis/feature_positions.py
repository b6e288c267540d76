"""The table `feature_positions`: what `features` holds, in order of feature, so that one is read without the others.

1. Count each feature's entries, and cut the features into ranges of about `RANGE` entries.
2. Go over `features` part by part, and append each range's entries to its place in a temporary file.
3. Read range by range, sort by feature: entries came in order of sequence and position, and the sort keeps that.

A part and a range are in memory, however many entries there are; a feature of more than a range is not sorted at all.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import parts, sae_groups
from actkit.schemas import arrow_schema

RANGE = 1 << 20
"""Entries in one part of the table, which are in memory together: about 80 MB with what sorting takes."""
GROUP = 1 << 16
"""Entries in a row group, more only where that ends within a feature: what is read to see one feature."""
ENTRY = np.dtype([("feature", "<i4"), ("sequence", "<i8"), ("position", "<i4"), ("activation", "<f4")])
Entries = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]


def feature_positions(
    run: Path, sae: str, d_sae: int, scratch: Path, table: str = "features"
) -> Iterator[dict[str, pa.Table]]:
    """The table of one SAE, part by part, each as its row groups; special tokens are in it.

    Of the `table` pooled_features it is where each feature is strongest in each text.

    Raises WriteError where the temporary file in `scratch` cannot be written.
    """
    counts = np.zeros(d_sae, dtype=np.int64)
    for part in parts(run, table):
        for rows in sae_groups(part, sae, ["feature_ids"]):
            counts += np.bincount(pc.list_flatten(rows["feature_ids"]).to_numpy(), minlength=d_sae)
    range_of, sizes = _ranges(counts)
    begins = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    with Spill(scratch) as file:
        filled = begins.copy()
        for part in parts(run, table):
            for rows in sae_groups(part, sae):
                _append(_entries(rows), range_of, filled, file)
        for number, size in enumerate(sizes.tolist()):
            for first in range(0, size, RANGE):
                begin = int(begins[number]) + first
                found = file.read(begin * ENTRY.itemsize, min(RANGE, size - first), ENTRY)
                yield _groups(found[np.argsort(found["feature"], kind="stable")], sae)


def _ranges(counts: Ints) -> tuple[Ints, Ints]:
    """Which range each feature [d_sae] is in, and the entries of each range; one of more than RANGE has one feature."""
    range_of, sizes = np.zeros(len(counts), dtype=np.int64), [0]
    for feature, count in enumerate(counts.tolist()):
        if sizes[-1] and sizes[-1] + count > RANGE:
            sizes.append(0)
        range_of[feature] = len(sizes) - 1
        sizes[-1] += count
    return range_of, np.array(sizes, dtype=np.int64)


def _entries(table: pa.Table) -> Entries:
    lengths = pc.list_value_length(table["feature_ids"]).to_numpy()
    found = np.empty(int(lengths.sum()), dtype=ENTRY)
    found["feature"] = pc.list_flatten(table["feature_ids"]).to_numpy()
    found["activation"] = pc.list_flatten(table["feature_activations"]).to_numpy()
    found["sequence"] = np.repeat(table["sequence_id"].to_numpy(), lengths)
    if "position" in table.column_names:
        found["position"] = np.repeat(table["position"].to_numpy(), lengths)
    else:
        found["position"] = pc.list_flatten(table["feature_positions"]).to_numpy()
    return found


def _append(found: Entries, range_of: Ints, filled: Ints, file: Spill) -> None:
    """Write the entries behind what each range has; `filled` counts along."""
    where = range_of[found["feature"]]
    order = np.argsort(where, kind="stable")
    numbers, first = np.unique(where[order], return_index=True)
    for number, begin, end in zip(numbers.tolist(), first.tolist(), [*first[1:].tolist(), len(order)], strict=True):
        file.write(found[order[begin:end]], int(filled[number]) * ENTRY.itemsize)
        filled[number] += end - begin


def _groups(found: Entries, sae: str) -> dict[str, pa.Table]:
    """The rows, in groups that end between features where that is possible."""
    starts = np.flatnonzero(np.concatenate([[True], found["feature"][1:] != found["feature"][:-1]]))
    cuts = [0]
    for end in [*starts[1:].tolist(), len(found)]:
        while end - cuts[-1] > 2 * GROUP:  # one feature alone
            cuts.append(cuts[-1] + GROUP)
        if end - cuts[-1] >= GROUP or end == len(found):
            cuts.append(end)
    groups = {}
    for number, (begin, end) in enumerate(pairwise(cuts)):
        rows = found[begin:end]
        columns = {
            "sae": pa.array([sae] * len(rows)),
            "feature_id": np.ascontiguousarray(rows["feature"]),
            "sequence_id": np.ascontiguousarray(rows["sequence"]),
            "position": np.ascontiguousarray(rows["position"]),
            "activation": np.ascontiguousarray(rows["activation"]),
        }
        groups[str(number)] = pa.table(columns, schema=arrow_schema("feature_positions"))
    return groups
