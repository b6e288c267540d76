"""How faithful and how sparse the stored SAEs are, and what splicing one in does to the model's loss."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae_lens import SAE
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.bundled_recipe import language_scores
from tests.bundled_recipe.residual import LAYERS, hook_point, is_bos, replaced, residuals

WINDOWS_A_FORWARD = 8
"""The features of 8 windows take 50 MB in float32 at d_sae 3,072."""


@dataclass(frozen=True)
class Fidelity:
    """One SAE over the positions of some windows that are not BOS.

    `l0` is the mean number of active features a token; `explained_variance` 1 - sum |x - x̂|² / sum |x - mean|²;
    `fired [d_sae]` says which features were ever active; `mean [d_model]` is the mean of x.
    """

    tokens: int
    l0: float
    explained_variance: float
    fired: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Splice:
    """Mean next-token loss in nats: as it is, with the SAE's reconstruction in place, with the mean in place."""

    clean: float
    spliced: float
    ablated: float


def load_saes(folder: Path) -> dict[str, SAE[Any]]:
    """Load the stored SAEs by hook point, in float32 whatever the type they are stored in."""
    return {hook_point(layer): SAE.load_from_disk(folder / hook_point(layer)) for layer in LAYERS}


@torch.no_grad()
def fidelity(model: LlamaForCausalLM, saes: dict[str, SAE[Any]], rows: np.ndarray) -> dict[str, Fidelity]:
    """Encode and decode every position of the windows `rows` that is not BOS."""
    sums = {name: _Sums(sae.cfg.d_in, sae.cfg.d_sae) for name, sae in saes.items()}
    for start in range(0, len(rows), WINDOWS_A_FORWARD):
        ids = language_scores.as_ids(rows[start : start + WINDOWS_A_FORWARD, :-1])
        kept = ~is_bos(model, ids)
        for name, stream in residuals(model, ids).items():
            sums[name].add(saes[name], stream[kept])
    return {name: found.fidelity() for name, found in sums.items()}


def splice(model: LlamaForCausalLM, sae: SAE[Any], layer: int, mean: Tensor, rows: np.ndarray, clean: float) -> Splice:
    """Measure the loss on windows with block `layer`'s output replaced at every position but BOS, beside `clean`."""

    def loss_with(change: Callable[[Tensor], Tensor]) -> float:
        # One batch at a time, since which positions are BOS is known only to the caller of the model.
        total = 0.0
        for start in range(0, len(rows), WINDOWS_A_FORWARD):
            chunk = rows[start : start + WINDOWS_A_FORWARD]
            sink = is_bos(model, language_scores.as_ids(chunk[:, :-1])).unsqueeze(-1)
            with replaced(model, layer, _except_at(sink, change)):
                total += language_scores.loss(model, chunk).nats * len(chunk)
        return total / len(rows)

    return Splice(
        clean=clean,
        spliced=loss_with(lambda stream: sae.decode(sae.encode(stream))),
        ablated=loss_with(lambda stream: mean.to(stream.dtype).expand_as(stream)),
    )


def _except_at(sink: Tensor, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda stream: torch.where(sink, stream, change(stream))


class _Sums:
    """Running sums in float64, from which a Fidelity follows; a mean of squares minus a squared mean needs them."""

    def __init__(self, d_model: int, d_sae: int) -> None:
        self.tokens = 0
        self.active = 0
        self.error = 0.0
        self.squares = 0.0
        self.total = torch.zeros(d_model, dtype=torch.float64)
        self.fired = torch.zeros(d_sae, dtype=torch.bool)

    def add(self, sae: SAE[Any], x: Tensor) -> None:
        """Count the positions `x [token, d_model]`."""
        features = sae.encode(x)
        error = (x - sae.decode(features)).double()
        active = features > 0
        self.tokens += len(x)
        self.active += int(active.sum())
        self.error += float(error.square().sum())
        self.squares += float(x.double().square().sum())
        self.total += x.double().sum(0)
        self.fired |= active.any(0)

    def fidelity(self) -> Fidelity:
        """Say what the sums amount to."""
        mean = self.total / self.tokens
        variance = self.squares - self.tokens * float(mean.square().sum())
        return Fidelity(self.tokens, self.active / self.tokens, 1 - self.error / variance, self.fired, mean)
