"""The table `feature_logits`: which tokens each feature's decoder row raises and lowers most at the model's output.

The unit decoder row times the unembedding: the direct path alone, as if the feature wrote next to the output layer. The
final norm is left out: its division by size changes no order, and its weight is not multiplied in.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.saes.sae import Sae
from actkit.schemas import arrow_schema

TOP = 10
ELEMENTS = 1 << 24
"""Tokens × features that are in memory at once: 64 MB in float32."""
BLOCK = 8192
"""Features in one part of the table."""


def feature_logits(sae: Sae, head: torch.Tensor, tokenizer: Any) -> Iterator[pa.Table]:
    """The table of one SAE, block by block; `head` is the unembedding [vocabulary, d_model]."""
    assert sae.cosines is not None
    n = min(len(head), len(tokenizer))
    step = max(ELEMENTS // sae.d_sae, 1)
    best: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for first in range(0, n, step):
        rows = head[first : min(first + step, n)].float()
        cosines = sae.cosines(rows).float()  # on the SAE's device, which need not be the output layer's
        # [d_sae, tokens]: of the unit decoder row with each token's row of the unembedding. Along a row that lies whole
        # in memory, the largest are found three times as fast.
        logits = (cosines * rows.norm(dim=1, keepdim=True).to(cosines.device)).T.contiguous()
        for end in ("top", "bottom"):
            values, ids = _furthest(logits, end)
            ids = ids + first
            if end in best:
                values, ids = torch.cat([best[end][0], values], 1), torch.cat([best[end][1], ids], 1)
                values, at = _furthest(values, end)
                ids = ids.gather(1, at)
            best[end] = values, ids
    columns = {end: _listed(*best[end], tokenizer) for end in ("top", "bottom")}
    schema = arrow_schema("feature_logits")
    for first in range(0, sae.d_sae, BLOCK):
        length = min(BLOCK, sae.d_sae - first)
        of = {end: column.slice(first, length) for end, column in columns.items()}
        of |= {"sae": pa.repeat(sae.name, length), "feature_id": pa.array(range(first, first + length), pa.int32())}
        of |= {"norm_folded": pa.repeat(False, length)}
        yield pa.table([of[field.name].cast(field.type) for field in schema], schema=schema)


def _furthest(values: torch.Tensor, end: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The TOP largest of each row, or smallest, and where they stand; of equal ones the first comes first."""
    largest = end == "top"
    near = values.topk(min(2 * TOP, values.shape[1]), dim=1, largest=largest).indices.sort(dim=1).values
    order = values.gather(1, near).sort(dim=1, descending=largest, stable=True).indices[:, :TOP]
    at = near.gather(1, order)
    return values.gather(1, at), at


def _listed(values: torch.Tensor, ids: torch.Tensor, tokenizer: Any) -> pa.ListArray:
    """Per row a list of tokens and what they get: {token_id, token, logit}."""
    distinct, which = torch.unique(ids, return_inverse=True)
    names = pa.array([tokenizer.decode([token]) for token in distinct.tolist()], pa.string())
    flat = pa.StructArray.from_arrays(
        [
            pa.array(ids.reshape(-1).cpu().numpy(), pa.int32()),
            names.take(pa.array(which.reshape(-1).cpu().numpy())),
            pa.array(values.reshape(-1).cpu().numpy(), pa.float32()),
        ],
        ["token_id", "token", "logit"],
    )
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * ids.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
