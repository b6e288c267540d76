"""The table `feature_positions`: `features` in order of feature, so that a feature is read without the others."""

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.analysis.entries_by_feature import Entries, EntriesByFeature
from actkit.schemas import arrow_schema

GROUP = 1 << 16
"""Entries in a row group, the least that is read for a feature; a group may be larger to end between features."""


def feature_positions(
    run: Path, sae: str, d_sae: int, scratch: Path, table: str = "features"
) -> Iterator[dict[str, pa.Table]]:
    """Yield the table of one SAE, part by part, each as its row groups; special tokens are included.

    With `table` pooled_features, it has each feature's strongest position in each text.

    Errors: see `EntriesByFeature`.
    """
    with closing(EntriesByFeature(run, sae, d_sae, scratch, table)) as entries:
        yield from positions_of(entries)


def positions_of(entries: EntriesByFeature) -> Iterator[dict[str, pa.Table]]:
    """Yield the table `feature_positions` of entries that are sorted already."""
    for found in entries.ranges():
        yield _groups(found, entries.sae)


def _groups(found: Entries, sae: str) -> dict[str, pa.Table]:
    """The rows, in groups that end between features where that is possible."""
    n = len(found.features)
    starts = np.flatnonzero(np.concatenate([[True], found.features[1:] != found.features[:-1]]))
    cuts = [0]
    for end in [*starts[1:].tolist(), n]:
        while end - cuts[-1] > 2 * GROUP:  # one feature alone
            cuts.append(cuts[-1] + GROUP)
        if end - cuts[-1] >= GROUP or end == n:
            cuts.append(end)
    columns = [pa.repeat(sae, n), found.features, found.sequences, found.positions, found.values]
    table = pa.table([pa.array(column) for column in columns], schema=arrow_schema("feature_positions"))
    return {str(number): table.slice(begin, end - begin) for number, (begin, end) in enumerate(pairwise(cuts))}
