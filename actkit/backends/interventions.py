"""Interventions: changes of the vectors at hook points while a model runs, made by hooks on its own modules.

An `Edit` is a hook point and a change; an `Intervention` is a set of edits made together. A change is a formula of one
vector at a time, so it means the same in a batch, for one sequence alone and while a model generates:

* add: x + strength * vector
* project out: x - share * (x . u) u
* features: x + the change of the SAE's reconstruction when some features are zeroed, clamped or raised; the SAE's
  error, x less its reconstruction, stays as it is
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch

from actkit.backends.saes.sae import Sae
from actkit.backends.sites import Site
from actkit.errors import ModelError
from actkit.hooks import HookPoint

Change: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Vectors [n, d_model] → the differences to add to them, [n, d_model]."""
FeatureDo = Literal["zero", "clamp", "add"]


@dataclass(frozen=True)
class Edit:
    """A change at one hook point."""

    hook_point: HookPoint
    change: Change


@dataclass(frozen=True)
class Intervention:
    """Edits that are made together; without edits the model runs unsteered."""

    intervention_id: int
    edits: tuple[Edit, ...] = ()


def add(vector: torch.Tensor) -> Change:
    """Make the change that adds `vector` [d_model]."""
    return lambda x: vector.to(x).expand_as(x)


def project_out(unit: torch.Tensor, share: float = 1.0) -> Change:
    """Make the change that removes `share` of x along `unit` [d_model], of length 1 (refusal_direction's ablation)."""

    def change(x: torch.Tensor) -> torch.Tensor:
        u = unit.to(x)
        return -share * (x @ u)[:, None] * u

    return change


def change_features(
    sae: Sae, feature_ids: Sequence[int], do: FeatureDo, value: float | Sequence[float] = 0.0
) -> Change:
    """Make the change that sets features to zero or `value`, or adds `value` to them: one for all or one each.

    `zero` and `clamp` read the SAE's own encoding of x; `clamp` also raises a feature that was off. Raises ModelError
    for an SAE that does not reconstruct its own input.
    """
    reconstruct = sae.reconstruct
    if reconstruct is None or sae.predicts is not None:
        raise ModelError(f"{sae.name} predicts another hook point than it reads", "features of an SAE can be changed")
    ids = torch.tensor(list(feature_ids), dtype=torch.int64)
    values = torch.as_tensor(value, dtype=torch.float32).expand(len(ids))

    def change(x: torch.Tensor) -> torch.Tensor:
        here, target = ids.to(x.device), values.to(x)
        encoded = torch.zeros(len(x), sae.d_sae, dtype=x.dtype, device=x.device)
        if do == "add":
            encoded[:, here] = target
        else:
            was = sae.encode(x)[:, here].to(x.dtype)
            encoded[:, here] = (target - was) if do == "clamp" else -was
        # A reconstruction is affine in the encoding, so a difference of encodings gives that of reconstructions.
        return (reconstruct(x, encoded) - reconstruct(x, torch.zeros_like(encoded))).to(x.dtype)

    return change


def as_long_as(real: Change, unit: torch.Tensor) -> Change:
    """Make a control: move each vector along `unit` [d_model], as far as `real` would move it."""
    return lambda x: real(x).norm(dim=-1, keepdim=True) * unit.to(x)


def sparing(change: Change, most: float) -> Change:
    """Limit `change` to vectors of at most length `most`: longer ones are attention sinks, which carry no text."""

    def spared(x: torch.Tensor) -> torch.Tensor:
        short = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32) <= most
        return torch.where(short, change(x), torch.zeros_like(x))

    return spared


@contextmanager
def edited(
    modules: Mapping[str, tuple[torch.nn.Module, Site]], edits: Sequence[Edit], where: Callable[[], torch.Tensor]
) -> Iterator[None]:
    """Inside, `edits` change the tensors at their hook points where `where()` [batch, column] is true.

    `modules` has the module and site of each hook point. Edits at one hook point act one after another. Raises
    ModelError for a module whose tensors are not [batch, column, d_model].
    """
    with ExitStack() as hooks:
        for edit in edits:
            module, site = modules[str(edit.hook_point)]
            hooks.enter_context(site.hook(module, partial(_changed, edit, where)))
        yield


def _changed(edit: Edit, where: Callable[[], torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    """Copy the tensor; change its vectors where `where()` [batch, column] is true. Raises ModelError: see `edited`."""
    rows = where().to(tensor.device)
    if tensor.ndim == 3 and tensor.shape[:2] == rows.shape:
        new = tensor.clone()
        new[rows] += edit.change(tensor[rows])
        return new
    if tensor.ndim == 2 and len(tensor) == rows.numel():  # all tokens in one row (OPT's MLP, some experts)
        return _changed(edit, where, tensor.reshape(*rows.shape, -1)).reshape(tensor.shape)
    raise ModelError(
        f"{edit.hook_point} has a tensor of shape {tuple(tensor.shape)}, no vector a token",
        "steer at hook_resid_post, which all models have",
    )
