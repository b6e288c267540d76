"""Reads `features` part by part for pictures, so that memory does not grow with the run."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actkit.plots.picture import Source, needs
from actkit.runs.reader import Ints, active_in, keys_of, left_out, parts, sae_groups, tokens_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PositionRows:
    """Rows [n] of one SAE in one part of `features`, joined with their rows of `tokens`."""

    sequence_ids: Ints
    positions: Ints
    n_active: Ints
    is_special: npt.NDArray[np.bool_]
    """Special tokens and attention sinks, which statistics leave out."""
    roles: npt.NDArray[np.object_]
    tokens: npt.NDArray[np.object_]
    lengths: Ints
    """How many features each row has."""
    feature_ids: Ints
    activations: Floats
    """`feature_ids` and `activations` of all rows, end to end."""

    def counts(self, some: npt.NDArray[np.bool_], d_sae: int) -> Ints:
        """Return [d_sae] the number of `some` rows [n] in which each feature is active."""
        return np.bincount(self.feature_ids[np.repeat(some, self.lengths)], minlength=d_sae)


def position_rows(run: Source, sae: str, with_features: bool = True) -> Iterator[PositionRows]:
    """Yield every position of one SAE, a part at a time."""
    needs(run, "features")
    for part in parts(run.path, "features"):
        tokens = tokens_of(run.path, part, ["sequence_id", "position", "role", "token"])
        excluded = left_out(tokens)
        keys = keys_of(tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy())
        wanted = ["sequence_id", "position", "n_active"]
        wanted += ["feature_ids", "feature_activations"] if with_features else []
        for table in sae_groups(part, sae, wanted):
            ids, positions = table["sequence_id"].to_numpy(), table["position"].to_numpy()
            at = np.minimum(np.searchsorted(keys, keys_of(ids, positions)), max(len(keys) - 1, 0))
            here = tokens.take(at)
            none = np.zeros(0, dtype=np.int64)
            lengths, features, activations = active_in(table) if with_features else (none, none, none)
            yield PositionRows(
                ids,
                positions,
                table["n_active"].to_numpy().astype(np.int64),
                excluded.take(at).to_numpy(zero_copy_only=False).astype(np.bool_),
                here["role"].to_numpy(zero_copy_only=False),
                here["token"].to_numpy(zero_copy_only=False),
                lengths,
                features.astype(np.int64),
                activations.astype(np.float64),
            )
