"""Generate greedy answers of a model, to read them and to measure interventions on them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from actkit.backends.hooked import HuggingFaceModel, check_known
from actkit.backends.interventions import Edit, edited
from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.model import Model
from actkit.backends.sites import Site
from actkit.errors import ModelError

AT_ONCE = 16
"""Prompts in one batch."""
Ints: TypeAlias = npt.NDArray[np.int64]


def greedy(model: Model, prompts: Sequence[Ints], n_tokens: int, edits: Sequence[Edit] = ()) -> list[Ints]:
    """Generate the most likely tokens after each prompt: at most `n_tokens`, up to the end token.

    `edits` steer the model in the prompt and in its answer.

    Prompts of about equal length run together, padded on the left as `generate` needs it. Of the model's own generation
    settings only the end tokens apply. Raises ModelError for a model that a bridge runs.
    """
    if not isinstance(model, HuggingFaceModel):
        raise ModelError("a model that TransformerLens's bridge runs gives no answers here", "steer at hook_resid_post")
    special = torch.tensor(sorted(model.description.tokenizer.all_special_ids), dtype=torch.int64)
    found: dict[int, Ints] = {}
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    for first in range(0, len(order), AT_ONCE):
        some = order[first : first + AT_ONCE]
        with edited_module(model.module, model.hooked, edits, special):
            found |= zip(some, _batch(model, [prompts[index] for index in some], n_tokens), strict=True)
    return [found[index] for index in range(len(prompts))]


@contextmanager
def edited_module(
    module: torch.nn.Module,
    hooked: Mapping[str, tuple[torch.nn.Module, Site]],
    edits: Sequence[Edit],
    special: torch.Tensor,
) -> Iterator[None]:
    """Inside, `edits` steer a `transformers` model in every call and generation; `hooked` as `modules` of `edited`."""
    current: list[torch.Tensor] = []

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        current[:] = [steered_now(args, kwargs, special)]

    with module.register_forward_pre_hook(note, with_kwargs=True), edited(hooked, edits, lambda: current[0]):
        yield


def steered_now(args: tuple[Any, ...], kwargs: dict[str, Any], special: torch.Tensor) -> torch.Tensor:
    """[batch, column] whether one forward pass of a `transformers` model is steered there.

    It is steered everywhere except at padding, each text's first token and the `special` ids. In generation, only the
    pass over the prompt has padding and a first token.
    """
    ids = kwargs.get("input_ids", args[0] if args else None)
    shape = (ids if ids is not None else kwargs["inputs_embeds"]).shape[:2]
    device = (ids if ids is not None else kwargs["inputs_embeds"]).device
    where = torch.ones(shape, dtype=torch.bool, device=device)
    past = kwargs.get("past_key_values")
    if past is None or not past.get_seq_length():
        mask = kwargs.get("attention_mask")
        real = mask.bool() if mask is not None and mask.shape == shape else where
        where = real & (real.cumsum(1) > 1)
    return where if ids is None else where & ~torch.isin(ids, special.to(device))


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
    return {int(token_id) for token_id in (*several, model.description.tokenizer.eos_token_id) if token_id is not None}


def _until(row: Ints, ends: set[int]) -> Ints:
    stop = np.flatnonzero(np.isin(row, sorted(ends)))
    return row[: stop[0]] if len(stop) else row
