"""Compute only the rows that are read in the last block that runs: after its attention, no module mixes positions.

Earlier blocks need every row, since later blocks attend to all of them. In the last block, rows that are not kept need
no MLP and no output projection of attention, three quarters of the block's work. Where a run keeps one position of a
text, it saves nearly all of that.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from actkit.backends.hooked import TREE_MODELS, HuggingFaceModel
from actkit.backends.model import Model
from actkit.backends.tensors import to_device
from actkit.hooks import HookPoint

MOST_READ = 0.5
"""Largest share of rows read: above it, taking rows out and putting them back costs more than it saves."""
BY_POSITION = frozenset(TREE_MODELS)
"""`model_type`s whose blocks have an `mlp` and an output projection that treat each position alone: a test shows that
the rows that are read stay the same."""
PROJECTIONS = ("attn.c_proj", "self_attn.o_proj", "attention.dense", "self_attn.dense")
"""Names of attention's output projection in the blocks of these models."""


@contextmanager
def only_read(
    model: Model, hook_points: Sequence[HookPoint], rows: torch.Tensor, columns: torch.Tensor, shape: Sequence[int]
) -> Iterator[None]:
    """Inside, the last block that `hook_points` need computes only (`rows`, `columns`), [n] each, on the host.

    `shape` is [batch, column]. Other positions are zero in the output of these modules. Nothing changes for a model
    that is not known to allow it, or where most positions are read.
    """
    with ExitStack() as hooks:
        read = torch.unique(rows * shape[1] + columns)
        if len(read) <= MOST_READ * shape[0] * shape[1]:
            read = to_device(read, model.description.spec.device)
            for part in _parts(model, hook_points):
                hooks.enter_context(_cut_short(part, read))
        yield


def _parts(model: Model, hook_points: Sequence[HookPoint]) -> list[torch.nn.Module]:
    """The modules of the last block that may leave out rows: none whose input or inner module is a hook point read."""
    if not isinstance(model, HuggingFaceModel):
        return []
    if model.description.config.get_text_config().model_type not in BY_POSITION:
        return []
    last = max(point.layer - (point.name == "hook_resid_pre") for point in hook_points)
    ends = tuple(f".{last}.{name}" for name in ("mlp", *PROJECTIONS))
    read = [(module, site.side) for module, site in (model.hooked[str(point)] for point in hook_points)]
    return [
        part
        for path, part in model.module.named_modules()
        if path.endswith(ends)
        and not any(module in part.modules() and (module is not part or side == "in") for module, side in read)
    ]


@contextmanager
def _cut_short(part: torch.nn.Module, read: torch.Tensor) -> Iterator[None]:
    """Inside, `part` computes only rows `read` of [batch * column], and its output is zero elsewhere."""
    shape: list[int] = []

    def before(_: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        shape[:] = args[0].shape[:2]
        return (args[0].flatten(0, 1)[read][None], *args[1:])

    def after(_: torch.nn.Module, __: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        whole = output.new_zeros(shape[0] * shape[1], output.shape[-1])
        whole[read] = output[0]
        return whole.view(*shape, -1)

    with part.register_forward_pre_hook(before), part.register_forward_hook(after):
        yield
