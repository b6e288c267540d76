"""The table `feature_logits`: the tokens whose logits each active feature's decoder row raises and lowers most.

A logit is the unit decoder row times a row of the unembedding: the direct path alone, as if the feature wrote right
before the output layer. The final norm is left out: its division by size changes no order, and its weight is not
multiplied in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.kernel_choice import FASTER_IN_BFLOAT16, bfloat16_speed
from actkit.backends.saes.extreme_products import Others, extremes
from actkit.backends.saes.sae import Sae
from actkit.backends.token_texts import token_texts
from actkit.runs.reader import Ints
from actkit.schemas import arrow_schema

TOP = 10
BLOCK = 8192
"""Features in one part of the table."""


@dataclass(frozen=True)
class Unembedding:
    """The output layer's rows, and a function from a row's number to its token's text."""

    rows: Others
    name: Callable[[int], str]

    @classmethod
    def of(cls, head: torch.Tensor, tokenizer: Any) -> "Unembedding":
        """Make it from `head` [vocabulary, d_model]; rows past the tokenizer's tokens are left out."""
        in_bfloat16 = head.device.type == "cpu" and (bfloat16_speed() or 0.0) >= FASTER_IN_BFLOAT16
        rows = Others.of(head[: min(len(head), len(tokenizer))], in_bfloat16)
        # Cached, since most tokens are among the extremes of many features.
        return cls(rows, cache(lambda token: token_texts(tokenizer, [token])[0]))


def feature_logits(sae: Sae, features: Ints, unembedding: Unembedding) -> Iterator[pa.Table]:
    """Yield the table for some of an SAE's features, ascending, part by part."""
    schema = arrow_schema("feature_logits")
    assert sae.decoder is not None
    for first in range(0, len(features), BLOCK):
        some = features[first : first + BLOCK]
        rows = sae.decoder[torch.from_numpy(some).to(sae.decoder.device)].float()
        units = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
        ends = extremes(units.to(unembedding.rows.vectors.device), unembedding.rows, TOP)
        of: dict[str, Any] = {end: _listed(values, ids, unembedding.name) for end, (values, ids) in ends.items()}
        of |= {"sae": pa.repeat(sae.name, len(some)), "feature_id": pa.array(some.astype(np.int32))}
        of |= {"norm_folded": pa.repeat(False, len(some))}
        yield pa.table([of[field.name].cast(field.type) for field in schema], schema=schema)


def _listed(values: torch.Tensor, ids: torch.Tensor, name: Callable[[int], str]) -> pa.ListArray:
    """Make a list of tokens and their logits for each row: {token_id, token, logit}."""
    distinct, which = torch.unique(ids, return_inverse=True)
    names = pa.array([name(token) for token in distinct.tolist()], pa.string())
    flat = pa.StructArray.from_arrays(
        [
            pa.array(ids.reshape(-1).numpy(), pa.int32()),
            names.take(pa.array(which.reshape(-1).numpy())),
            pa.array(values.reshape(-1).numpy(), pa.float32()),
        ],
        ["token_id", "token", "logit"],
    )
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * ids.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
