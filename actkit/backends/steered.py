"""Run a batch under many interventions: the blocks below them only once, and logits only where they are read.

1. The unsteered model runs once. For each intervention, the output of the last block that it does not change is kept.
2. For each intervention the model runs again, but the blocks up to that one only return the kept output. Embeddings,
   masks, positions, the final norm and any change of logits are the model's own.
3. The last block (`last_block`) and the output layer compute only the rows that are read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from actkit.backends.hooked import STREAM, HuggingFaceModel, Stop
from actkit.backends.interventions import Intervention, edited
from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.last_block import only_read
from actkit.backends.model import Model
from actkit.backends.tensors import to_device
from actkit.errors import ModelError
from actkit.hooks import HookPoint


@dataclass
class SteeredBatch:
    """A batch on a model, to be run under interventions; `logits` returns the logits at the positions read."""

    model: HuggingFaceModel
    inputs: Mapping[str, Any]
    steered: torch.Tensor
    """[batch, column] bool, on the model's device: whether interventions act there."""
    rows: torch.Tensor
    columns: torch.Tensor
    """`rows` and `columns`, [n] each, on the host: where logits are read."""
    below: dict[int, Any] = field(default_factory=dict)
    """Block → its output in the unsteered model; see `keep_below`."""

    def keep_below(self, interventions: Sequence[Intervention]) -> None:
        """Run the model once, and keep the output of the last unchanged block below each intervention."""
        unchanged = map(last_unchanged, interventions)
        wanted = {block for block in unchanged if block is not None and block >= 0}
        if not wanted:
            return
        last = max(wanted)

        def keep(block: int, _: torch.nn.Module, __: tuple[Any, ...], output: Any) -> None:
            self.below[block] = output
            if block == last:
                raise Stop

        with ExitStack() as hooks, suppress(Stop):
            blocks = self.model.blocks
            for block in wanted:
                hooks.enter_context(blocks[block].register_forward_hook(partial(keep, block)))
            self._run()
        if last not in self.below:
            raise ModelError(f"block {last} did not run", "this architecture does not run its blocks as expected")

    def logits(self, intervention: Intervention) -> torch.Tensor:
        """[n, vocabulary] in float32: the logits at (`rows`, `columns`) under an intervention."""
        read = [edit.hook_point for edit in intervention.edits]
        last = HookPoint(self.model.description.n_layers - 1, STREAM)
        known = last_unchanged(intervention)
        with ExitStack() as around:
            if known is not None and known in self.below:
                around.enter_context(_given(self.model.blocks[: known + 1], self.below[known]))
            around.enter_context(edited(self.model.hooked, intervention.edits, lambda: self.steered))
            around.enter_context(only_read(self.model, [*read, last], self.rows, self.columns, self.steered.shape))
            around.enter_context(self._gathered())
            found: torch.Tensor = self._run().logits
        n = len(self.rows)
        if found.shape[:2] != (1, n):
            raise ModelError("the output layer ran otherwise than once", "this architecture cannot be steered")
        return found[0].float()

    def _run(self) -> Any:
        with torch.inference_mode(), fast_modules(self.model.module), fast_products():
            return self.model.module(**self.inputs)

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """Inside, the output layer gets only the rows that are read, [1, n, d_model]."""
        module: Any = self.model.module
        head = module.get_output_embeddings()
        device = self.steered.device
        rows, columns = to_device(self.rows, device), to_device(self.columns, device)

        def before(_: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0][rows.to(args[0].device), columns.to(args[0].device)][None], *args[1:])

        with head.register_forward_pre_hook(before):
            yield


def steered_batch(
    model: Model,
    input_ids: torch.Tensor,
    positions: torch.Tensor,
    tree: torch.Tensor | None,
    steered: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
) -> SteeredBatch:
    """Make a `SteeredBatch` of a batch, as `Model.run` takes it; interventions act at `steered` [batch, column].

    Raises ModelError for a model that cannot be steered: one that a bridge runs, or one without an output layer.
    """
    if not isinstance(model, HuggingFaceModel):
        raise ModelError(
            "this hook point is computed by TransformerLens's bridge, where actkit does not steer",
            "steer at hook_resid_post",
        )
    module: Any = model.module
    if module.get_output_embeddings() is None:
        raise ModelError(f"{model.description.spec.name} has no output layer, so it has no answers to be steered")
    inputs = model.inputs(input_ids, positions, tree)
    return SteeredBatch(model, inputs, to_device(steered, model.description.spec.device), rows, columns)


def last_unchanged(intervention: Intervention) -> int | None:
    """The last block below all edits; -1 where there is none, None for an intervention without edits.

    An edit of that block's own output is allowed: the output is kept before the edit.
    """
    if not intervention.edits:
        return None
    return min(edit.hook_point.layer - (edit.hook_point.name != STREAM) for edit in intervention.edits)


@contextmanager
def _given(blocks: Sequence[torch.nn.Module], output: Any) -> Iterator[None]:
    """Inside, these blocks compute nothing and return `output`."""
    with ExitStack() as replaced:
        for block in blocks:
            replaced.enter_context(patch.object(block, "forward", lambda *_args, **_kwargs: output))
        yield
