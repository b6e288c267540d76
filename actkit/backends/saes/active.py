"""Finds the active features in an SAE's encoding: the few numbers of each token that are not zero."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Active:
    """The active features of an encoding [n, d_sae], token by token and by id within a token."""

    rows: torch.Tensor
    ids: torch.Tensor
    values: torch.Tensor
    """[nonzeros] each."""

    def of(self, chosen: torch.Tensor, n: int, d_sae: int) -> torch.Tensor:
        """Some of the n tokens, by number and in order, as a sparse tensor [chosen, d_sae]."""
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

    On a CPU eight of them are looked at at once: of few in many, that is several times as fast.
    """
    if mask.device.type != "cpu" or mask.shape[1] % 8 or not mask.numel() or not mask.is_contiguous():
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns
    words = mask.view(torch.int64).flatten().nonzero()[:, 0]
    which, at = mask.view(-1, 8)[words].nonzero(as_tuple=True)
    flat = words[which] * 8 + at
    return flat // mask.shape[1], flat % mask.shape[1]
