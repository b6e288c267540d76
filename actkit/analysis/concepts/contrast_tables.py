"""How far apart the two sides of contrast pairs are: the tables `contrasts` and `pair_stats`."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.analysis.concepts.contrast import Pairs, Sides
from actkit.schemas import arrow_schema


def row_norms(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """[n] float64: the norms of the rows of [n, d_model]."""
    found: npt.NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return found


def contrast_rows(pairs: Pairs, sides: Sides) -> tuple[pa.Table, float]:
    """The table `contrasts` of one hook point, one row a pair; and the mean norm of the vectors there, both sides."""
    n = len(pairs.record_ids)
    apart, cosine, known, total = np.empty(n), np.empty(n), np.empty(n, dtype=np.bool_), 0.0
    for here, positive, negative in sides.pairs.blocks():
        of_positive, of_negative = row_norms(positive), row_norms(negative)
        norms = of_positive * of_negative
        total += float(of_positive.sum() + of_negative.sum())
        cosine[here] = np.einsum("nd,nd->n", positive, negative) / np.where(norms > 0, norms, 1)
        known[here] = norms > 0
        apart[here] = row_norms(positive - negative)
    columns = {
        "record_id": pa.array(pairs.record_ids),
        "template": pa.array(pairs.template_names, pa.string()).take(pa.array(pairs.templates)),
        "layer": pa.array(np.full(n, sides.layer, dtype=np.int32)),
        "hook_point": pa.repeat(sides.hook_point, n),
        "diff_norm": pa.array(apart),
        "cosine": pa.array(cosine, mask=~known),
    }
    return pa.table(columns, schema=arrow_schema("contrasts")), total / (2 * n)


def contrast_stats(table: pa.Table) -> list[dict[str, Any]]:
    """Rows of the table `pair_stats`, from `contrasts` of one hook point: what the differences are like, by measure."""
    rows = []
    for measure in ("diff_norm", "cosine"):
        values = table[measure].drop_null().to_numpy()
        if not len(values):
            continue
        rows.append(
            {
                "layer": table["layer"][0].as_py(),
                "hook_point": table["hook_point"][0].as_py(),
                "measure": measure,
                "n_pairs": len(values),
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else None,
                "median": float(np.median(values)),
                "min": float(values.min()),
                "max": float(values.max()),
            }
        )
    return rows
