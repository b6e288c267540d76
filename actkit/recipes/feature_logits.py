"""The table `feature_logits` for those of a run's SAEs for which it can be made in good time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from actkit.analysis.feature_logits import feature_logits
from actkit.backends import Model
from actkit.backends.saes.sae import Sae
from actkit.pipeline.recipe import Recipe
from actkit.runs.writer import Groups

MOST_CPU, MOST_GPU = 4e12, 1e15
"""Multiplications above which the table is left out: about a minute on two cores, seconds on a GPU."""


def with_logits(recipe: Recipe, model: Model, saes: Sequence[Sae]) -> Recipe:
    """The recipe with the table for the SAEs that have one; why another has none, `run.json` says."""
    left_out: dict[str, str] = {}
    head = model.unembedding()
    usable = [sae for sae in saes if not _is_left_out(sae, head, left_out)]

    def finish(run: Path) -> Iterator[tuple[str, pa.Table | Groups]]:
        yield from recipe.finish(run)
        for sae in usable:
            assert head is not None
            for table in feature_logits(sae, head, model.description.tokenizer):
                yield "feature_logits", table

    def found() -> Mapping[str, Any]:
        return {**recipe.found(), **({"feature_logits_left_out": left_out} if left_out else {})}

    return replace(recipe, finish=finish, found=found)


def _is_left_out(sae: Sae, head: torch.Tensor | None, left_out: dict[str, str]) -> bool:
    """Whether an SAE has no such table; why, is put into `left_out`."""
    why = None
    if head is None:
        why = "the model has no output layer that can be read"
    elif sae.cosines is None or not str(sae.hook_point).endswith(("resid_pre", "resid_mid", "resid_post", "_out")):
        why = "its decoder does not write into the residual stream"
    elif head.shape[1] != sae.d_in:
        why = f"the output layer reads {head.shape[1]} numbers, its decoder writes {sae.d_in}"
    elif 2.0 * sae.d_sae * head.numel() > (MOST_CPU if head.device.type == "cpu" else MOST_GPU):
        why = f"{2.0 * sae.d_sae * head.numel():.0e} multiplications are too many for this device"
    if why is not None:
        left_out[sae.name] = why
    return why is not None
