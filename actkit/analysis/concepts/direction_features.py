"""The table `direction_features`: the SAE features that point the way a direction does."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.runs.reader import rows_of_table
from actkit.schemas import arrow_schema

NEAREST = 20
"""Features written for each direction."""


def direction_features(run: Path, saes: Sequence[Sae]) -> pa.Table:
    """Of each SAE the features whose decoder rows are closest to the directions at its hook point."""
    directions = rows_of_table(run, "directions")
    rows = []
    for sae in saes:
        here = [row for row in directions if row["hook_point"] == str(sae.hook_point)]
        if not here or sae.cosines is None:
            continue
        cosines = sae.cosines(torch.tensor([row["direction"] for row in here])).float().cpu()
        for row, of_row in zip(here, cosines, strict=True):
            best = of_row.topk(min(NEAREST, sae.d_sae))
            for rank, (value, feature) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True), 1):
                place = {"sae": sae.name, "layer": row["layer"], "hook_point": row["hook_point"]}
                found = {"rank": rank, "feature_id": feature, "cosine": value, "url": sae.feature_url(feature)}
                rows.append({**place, "method": row["method"], **found})
    return pa.Table.from_pylist(rows, schema=arrow_schema("direction_features"))
