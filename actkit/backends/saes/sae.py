"""`Sae`, the only interface to sparse autoencoders: its hook point, its functions and its facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from actkit.config import SaeDtype
from actkit.hooks import HookPoint
from actkit.remote.url import FEATURE_PAGES


@dataclass(frozen=True)
class Active:
    """The active features of an encoding [n, d_sae], sorted by token, then by id."""

    rows: torch.Tensor
    ids: torch.Tensor
    values: torch.Tensor
    """`rows`, `ids` and `values`, [nonzeros] each."""

    def of(self, chosen: torch.Tensor, n: int, d_sae: int) -> torch.Tensor:
        """The encoding of the tokens `chosen` of n, ascending, as a sparse tensor [chosen, d_sae]."""
        number = torch.full((n,), -1, device=chosen.device)
        number[chosen] = torch.arange(len(chosen), device=chosen.device)
        rows = number[self.rows]
        kept = rows >= 0
        indices = torch.stack([rows[kept], self.ids[kept]])
        size = (len(chosen), d_sae)
        return torch.sparse_coo_tensor(indices, self.values[kept], size, check_invariants=False, is_coalesced=True)


def active_of(features: torch.Tensor) -> Active:
    """Find the features above zero in an encoding [n, d_sae]."""
    rows, ids = nonzeros(features > 0)
    return Active(rows, ids, features[rows, ids])


def nonzeros(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of each True in a matrix, row after row.

    On a CPU it tests eight entries at once, which is several times as fast where few are True.
    """
    if mask.device.type != "cpu" or mask.shape[1] % 8 or not mask.numel() or not mask.is_contiguous():
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns
    words = mask.view(torch.int64).flatten().nonzero()[:, 0]
    which, at = mask.view(-1, 8)[words].nonzero(as_tuple=True)
    flat = words[which] * 8 + at
    return flat // mask.shape[1], flat % mask.shape[1]


@dataclass(frozen=True)
class Sae:
    """A loaded SAE."""

    name: str
    """`release/sae_id`, or the directory's name: the value of the column `sae`."""
    hook_point: HookPoint
    """The hook point that the SAE reads."""
    d_in: int
    d_sae: int
    architecture: str
    """standard, topk, batchtopk, jumprelu, gated, …"""
    encode: Callable[[torch.Tensor], torch.Tensor]
    """Input [n, d_in] as the model computes it → [n, d_sae]: the SAE's own normalisation and encode."""
    reconstruct: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None
    """Input [n, d_in] and its encoding [n, d_sae], sparse (COO) or not → the SAE's reconstruction [n, d_in].
    None for a transcoder, which predicts another hook point."""
    model_name: str | None = None
    """The model on which the SAE was trained."""
    context_size: int | None = None
    """Tokens in the contexts of its training."""
    prepend_bos: bool = True
    """Whether these contexts began with BOS."""
    neuronpedia_id: str | None = None
    guesses: tuple[str, ...] = field(default=())
    """Assumptions made where the SAE's files say nothing."""
    facts: dict[str, Any] = field(default_factory=dict)
    """All entries of its metadata, for `run.json`."""
    decoder: torch.Tensor | None = field(default=None, repr=False)
    """The decoder [d_sae, d_in]: each feature's vector at the hook point; None for a transcoder."""
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    """Name → tensor: all weights of `encode`, whose digest detects another SAE under the same name."""
    predicts: HookPoint | None = None
    """The hook point that a transcoder predicts; None for an SAE, which reconstructs its input."""
    active: Callable[[torch.Tensor], Active | None] | None = None
    """Input [n, d_in] → the active features of its encoding, in less time than `encode` takes, or None for rows that
    only `encode` can handle. The field is None for an SAE that only `encode` can handle."""
    dtype: SaeDtype = "float32"
    """The dtype in which `active` finds features; their activations are float32."""

    def about(self) -> dict[str, Any]:
        """The entry of `run.json` about the SAE."""
        return {
            "name": self.name,
            "hook_point": str(self.hook_point),
            "predicts": None if self.predicts is None else str(self.predicts),
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "found_in": self.dtype,
            "neuronpedia_id": self.neuronpedia_id,
            "metadata": {
                key: value
                for key, value in self.facts.items()
                if isinstance(value, (str, int, float, bool, list, dict))
            },
        }

    def cosines(self, directions: torch.Tensor) -> torch.Tensor:
        """Return the cosines [m, d_sae] of directions [m, d_in] with each feature's decoder row; needs a decoder."""
        assert self.decoder is not None
        with torch.inference_mode():
            # A direction may be zero, such as the unembedding's row of a padding token: its cosines are 0.
            unit = directions.to(self.decoder)
            unit = unit / unit.norm(dim=1, keepdim=True).clamp_min(1e-12)
            cosines: torch.Tensor = (unit @ self.decoder.T) / self.decoder.norm(dim=1).clamp_min(1e-12)
        return cosines

    def feature_url(self, feature_id: int) -> str | None:
        """The feature's page on Neuronpedia, where the SAE has one."""
        return f"{FEATURE_PAGES}/{self.neuronpedia_id}/{feature_id}" if self.neuronpedia_id else None
