"""Where features are strongest: the best tokens of each, gathered part by part, and the text around them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.runs.reader import Ints, keys_of, part_of, parts
from actkit.schemas import CONTEXTS

AROUND = 60
"""Characters of text before and after the token."""
Floats = npt.NDArray[np.float32]


class Strongest:
    """The `most` strongest tokens of each feature, no two of one sequence; equal ones in order of sequence.

    Memory is `most` × n_features × 20 bytes, however many tokens are added.
    """

    def __init__(self, n_features: int, most: int) -> None:
        self.activations: Floats = np.zeros((n_features, most), dtype=np.float32)
        """Strongest first; 0 where there are fewer."""
        self.sequence_ids: Ints = np.zeros((n_features, most), dtype=np.int64)
        self.positions: Ints = np.zeros((n_features, most), dtype=np.int64)

    def add(self, feature_ids: Ints, activations: Floats, sequence_ids: Ints, positions: Ints) -> None:
        """Add four arrays [n], an entry for each feature of each token; a sequence comes in one call whole."""
        # Most tokens are weaker than what is known already, and need no sorting.
        strong = np.flatnonzero(activations > self.activations[feature_ids, -1])
        order = strong[np.lexsort((positions[strong], -activations[strong], sequence_ids[strong], feature_ids[strong]))]
        ids, sequences = feature_ids[order], sequence_ids[order]
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (ids[1:] != ids[:-1]) | (sequences[1:] != sequences[:-1])
        best = order[first]
        self._merge(np.unique(ids), feature_ids[best], activations[best], sequence_ids[best], positions[best])

    def _merge(self, touched: Ints, ids: Ints, values: Floats, sequences: Ints, places: Ints) -> None:
        most = self.activations.shape[1]
        ids = np.concatenate([np.repeat(touched, most), ids])
        values = np.concatenate([self.activations[touched].reshape(-1), values])
        sequences = np.concatenate([self.sequence_ids[touched].reshape(-1), sequences])
        places = np.concatenate([self.positions[touched].reshape(-1), places])
        order = np.lexsort((sequences, -values, ids))
        ids, values, sequences, places = ids[order], values[order], sequences[order], places[order]
        starts = np.searchsorted(ids, ids, side="left")
        rank = np.arange(len(ids)) - starts
        kept = rank < most
        self.activations[ids[kept], rank[kept]] = values[kept]
        self.sequence_ids[ids[kept], rank[kept]] = sequences[kept]
        self.positions[ids[kept], rank[kept]] = places[kept]


def contexts_of(run: Path, strongest: Strongest, features: Sequence[int]) -> pa.Array:
    """For each of `features` the list of its strongest tokens with the text around them; type `schemas.CONTEXTS`."""
    chosen = np.asarray(features, dtype=np.int64)
    activations = strongest.activations[chosen]
    there = activations > 0
    sequences, positions = strongest.sequence_ids[chosen][there], strongest.positions[chosen][there]
    texts = _texts(run, sequences, positions)
    rows = pa.StructArray.from_arrays(
        [
            pa.array(sequences),
            pa.array(positions),
            pa.array(activations[there]),
            *(pa.array([text[part] for text in texts], type=pa.string()) for part in range(3)),
        ],
        names=[one.name for one in CONTEXTS.value_type],
    )
    offsets = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), rows).cast(CONTEXTS)


def _texts(run: Path, sequences: Ints, positions: Ints) -> list[tuple[str, str, str]]:
    """Before, the token itself, after: of each of the tokens, read part by part."""
    found: list[Any] = [("", "", "")] * len(sequences)
    order = np.lexsort((positions, sequences))
    for part in parts(run, "sequences"):
        table = part_of(run, "sequences", part, ["sequence_id", "char_offset", "text"])
        ids = table["sequence_id"].to_numpy()
        if not len(ids):
            continue
        low, high = np.searchsorted(sequences[order], [ids[0], ids[-1] + 1])
        wanted = order[low:high]
        if not len(wanted):
            continue
        tokens = part_of(run, "tokens", part, ["sequence_id", "position", "char_start", "char_end"])
        keys = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
        row = np.searchsorted(keys, keys_of(sequences[wanted], positions[wanted]))
        owner = np.searchsorted(ids, sequences[wanted])
        offset = table["char_offset"].to_numpy()[owner]
        start = tokens["char_start"].to_numpy()[row] - offset
        end = tokens["char_end"].to_numpy()[row] - offset
        text, last = "", -1
        for where, one, first, past in zip(wanted.tolist(), owner.tolist(), start.tolist(), end.tolist(), strict=True):
            if one != last:
                text, last = table["text"][one].as_py(), one
            found[where] = (text[max(first - AROUND, 0) : first], text[first:past], text[past : past + AROUND])
    return found
