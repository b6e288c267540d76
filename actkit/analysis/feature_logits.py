"""The table `feature_logits`: which tokens each feature's decoder row raises and lowers most at the model's output.

The unit decoder row times the unembedding: the direct path alone, as if the feature wrote next to the output layer. The
final norm is left out: its division by size changes no order, and its weight is not multiplied in.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.kernels import fast_products
from actkit.backends.saes.sae import Sae
from actkit.schemas import arrow_schema

TOP = 10
ELEMENTS = 1 << 24
"""Features × tokens whose logits are in memory at once: 64 MB in float32."""
BLOCK = 8192
"""Features in one part of the table."""


def feature_logits(sae: Sae, head: torch.Tensor, tokenizer: Any) -> Iterator[pa.Table]:
    """The table of one SAE, part by part; `head` is the unembedding [vocabulary, d_model]."""
    n = min(len(head), len(tokenizer))
    schema = arrow_schema("feature_logits")
    name = cache(lambda token: tokenizer.decode([token]))  # most tokens are near to many features
    for first in range(0, sae.d_sae, BLOCK):
        length = min(BLOCK, sae.d_sae - first)
        of: dict[str, Any] = _ends(sae, range(first, first + length), head[:n], name)
        of |= {"sae": pa.repeat(sae.name, length), "feature_id": pa.array(range(first, first + length), pa.int32())}
        of |= {"norm_folded": pa.repeat(False, length)}
        yield pa.table([of[field.name].cast(field.type) for field in schema], schema=schema)


def _ends(sae: Sae, features: range, head: torch.Tensor, name: Callable[[int], str]) -> dict[str, pa.ListArray]:
    """`top` and `bottom` of these features: all tokens' logits of some features at a time, so that rows are long.

    The largest of one row of n are found several times as fast as those of many short pieces of it.
    """
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {"top": [], "bottom": []}
    step = max(ELEMENTS // len(head), 1)
    for first in range(features.start, features.stop, step):
        logits = _logits(sae, slice(first, min(first + step, features.stop)), head)
        for end, parts in found.items():
            parts.append(_furthest(logits, end))
    return {
        end: _listed(torch.cat([values for values, _ in parts]), torch.cat([ids for _, ids in parts]), name)
        for end, parts in found.items()
    }


def _logits(sae: Sae, features: slice, head: torch.Tensor) -> torch.Tensor:
    """[features, tokens] on the SAE's device, which need not be the output layer's."""
    assert sae.decoder is not None
    rows = sae.decoder[features].float()
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    logits: torch.Tensor = unit.new_empty(len(unit), len(head))
    step = max(ELEMENTS // head.shape[1], 1)
    with torch.inference_mode(), fast_products():
        for first in range(0, len(head), step):  # of a head in half precision only so much is held in float32
            tokens = slice(first, min(first + step, len(head)))
            logits[:, tokens] = torch.nn.functional.linear(unit, head[tokens].to(unit))
    return logits


def _furthest(values: torch.Tensor, end: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The TOP largest of each row, or smallest, and where they stand; of equal ones the first comes first."""
    largest = end == "top"
    near = values.topk(min(2 * TOP, values.shape[1]), dim=1, largest=largest).indices.sort(dim=1).values
    order = values.gather(1, near).sort(dim=1, descending=largest, stable=True).indices[:, :TOP]
    at = near.gather(1, order)
    return values.gather(1, at), at


def _listed(values: torch.Tensor, ids: torch.Tensor, name: Callable[[int], str]) -> pa.ListArray:
    """Per row a list of tokens and what they get: {token_id, token, logit}."""
    distinct, which = torch.unique(ids, return_inverse=True)
    names = pa.array([name(token) for token in distinct.tolist()], pa.string())
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
