"""Interventions: what is done to the vectors at a hook point while a model runs, as hooks on its own modules.

An `Edit` says where and what; an `Intervention` is one or several of them at once. Edits are formulas of one vector at
a time, so they mean the same in a batch, for one sequence alone and while a model generates:

* add: x + strength * vector
* project out: x - share * (x . u) u
* features: x + what the SAE's reconstruction changes by when some features are zeroed, clamped or raised; what the SAE
  does not reconstruct of x stays as it is
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from actkit.backends.saes.sae import Sae
from actkit.backends.sites import Site
from actkit.errors import ModelError
from actkit.hooks import HookPoint

Change: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Vectors [n, d_model] → what is added to them, [n, d_model]."""
FeatureDo = Literal["zero", "clamp", "add"]


@dataclass(frozen=True)
class Edit:
    """A change at one hook point."""

    hook_point: HookPoint
    change: Change


@dataclass(frozen=True)
class Intervention:
    """Edits that are made together; none is the model as it is."""

    intervention_id: int
    edits: tuple[Edit, ...] = ()


def add(vector: torch.Tensor) -> Change:
    """Add `vector` [d_model]."""
    return lambda x: vector.to(x).expand_as(x)


def project_out(unit: torch.Tensor, share: float = 1.0) -> Change:
    """Take out `share` of what lies along `unit` [d_model], which has length 1 (refusal_direction's ablation)."""

    def change(x: torch.Tensor) -> torch.Tensor:
        u = unit.to(x)
        return -share * (x @ u)[:, None] * u

    return change


def change_features(
    sae: Sae, feature_ids: Sequence[int], do: FeatureDo, value: float | Sequence[float] = 0.0
) -> Change:
    """Set features to zero or to `value`, or add `value` to them, one value for all or one each.

    `zero` and `clamp` read the SAE's own encoding of x; a feature that was off is raised by `clamp` too. Raises
    ModelError for an SAE that gives no reconstruction of what it reads.
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
        # Reconstructions are affine in the encoding, so that a difference of encodings gives one of reconstructions.
        return (reconstruct(x, encoded) - reconstruct(x, torch.zeros_like(encoded))).to(x.dtype)

    return change


def as_long_as(real: Change, unit: torch.Tensor) -> Change:
    """A control: along `unit` [d_model] each vector is moved as far as `real` would move it."""
    return lambda x: real(x).norm(dim=-1, keepdim=True) * unit.to(x)


def sparing(change: Change, most: float) -> Change:
    """`change`, which leaves vectors longer than `most` as they are: attention sinks, which carry no text."""

    def spared(x: torch.Tensor) -> torch.Tensor:
        short = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32) <= most
        return torch.where(short, change(x), torch.zeros_like(x))

    return spared


@contextmanager
def edited(
    modules: Mapping[str, tuple[torch.nn.Module, Site]], edits: Sequence[Edit], where: Callable[[], torch.Tensor]
) -> Iterator[None]:
    """Inside, the tensors at the hook points of `edits` are changed where `where()` [batch, column] is true.

    `modules` has, for each hook point, its module and site. Edits at one hook point act one after another. Raises
    ModelError for a module whose tensors are no [batch, column, d_model].
    """
    with ExitStack() as hooks:
        for edit in edits:
            module, site = modules[str(edit.hook_point)]
            hooks.enter_context(_hook(module, site, edit, where))
        yield


def _hook(module: torch.nn.Module, site: Site, edit: Edit, where: Callable[[], torch.Tensor]) -> Any:
    def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (_changed(args[0], edit, where()), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _changed(kwargs["hidden_states"], edit, where())}

    def after(_: torch.nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)((_changed(output[0], edit, where()), *output[1:]))
        return _changed(output, edit, where())

    if site.side == "in":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _changed(tensor: torch.Tensor, edit: Edit, where: torch.Tensor) -> torch.Tensor:
    """A copy with the vectors changed at which `where` [batch, column] is true."""
    rows = where.to(tensor.device)
    if tensor.ndim == 3 and tensor.shape[:2] == rows.shape:
        new = tensor.clone()
        new[rows] += edit.change(tensor[rows])
        return new
    if tensor.ndim == 2 and len(tensor) == rows.numel():  # all tokens in one row (OPT's MLP, some experts)
        return _changed(tensor.reshape(*rows.shape, -1), edit, where).reshape(tensor.shape)
    raise ModelError(
        f"{edit.hook_point} has a tensor of shape {tuple(tensor.shape)}, no vector a token",
        "steer at hook_resid_post, which all models have",
    )
