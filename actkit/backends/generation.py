"""Greedy answers of a model: for the texts that interventions are measured on, and for looking at."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from actkit.backends.hooked import HuggingFaceModel, check_known
from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.model import Model
from actkit.errors import ModelError

AT_ONCE = 16
"""Prompts in one batch."""
Ints: TypeAlias = npt.NDArray[np.int64]


def greedy(model: Model, prompts: Sequence[Ints], n_tokens: int) -> list[Ints]:
    """The most likely next tokens after each prompt, one after another, at most `n_tokens`, up to the end token.

    Prompts of about equal length are run together, padded on the left as `generate` wants it. Nothing of the model's
    own generation settings is used but its end tokens. Raises ModelError for a model that a bridge runs.
    """
    if not isinstance(model, HuggingFaceModel):
        raise ModelError("a model that TransformerLens's bridge runs gives no answers here", "steer at hook_resid_post")
    found: dict[int, Ints] = {}
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    for first in range(0, len(order), AT_ONCE):
        some = order[first : first + AT_ONCE]
        found |= zip(some, _batch(model, [prompts[one] for one in some], n_tokens), strict=True)
    return [found[index] for index in range(len(prompts))]


def _batch(model: HuggingFaceModel, prompts: Sequence[Ints], n_tokens: int) -> list[Ints]:
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    ids, seen = torch.zeros((len(prompts), width), dtype=torch.int64), torch.zeros((len(prompts), width))
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(np.ascontiguousarray(prompt))
        seen[row, width - len(prompt) :] = 1
    check_known(model.module, ids)
    ends = ends_of(model)
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=n_tokens, eos_token_id=sorted(ends) or None, pad_token_id=min(ends, default=0)
    )
    module: Any = model.module
    device = model.description.spec.device
    with torch.inference_mode(), fast_modules(module), fast_products():
        out = module.generate(ids.to(device), attention_mask=seen.long().to(device), generation_config=settings)
    return [_until(row, ends) for row in out[:, width:].cpu().numpy()]


def ends_of(model: HuggingFaceModel) -> set[int]:
    """The tokens at which the model's answers end."""
    own = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    several = own if isinstance(own, (list, tuple)) else [own]
    return {int(one) for one in (*several, model.description.tokenizer.eos_token_id) if one is not None}


def _until(row: Ints, ends: set[int]) -> Ints:
    stop = np.flatnonzero(np.isin(row, sorted(ends)))
    return row[: stop[0]] if len(stop) else row
