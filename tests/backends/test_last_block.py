"""Where few positions are read, the last block computes those alone, and they are the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from actkit.backends import Model, describe, load
from actkit.backends.last_block import BY_POSITION, PROJECTIONS
from actkit.config import ModelSpec
from actkit.hooks import HookPoint
from actkit.pipeline.data import Batch
from actkit.pipeline.forward.run_batch import forward
from tests.conftest import ARCHITECTURES, PARALLEL, VOCABULARY, relative_error

ModelDir = Callable[[str], Path]
NAMES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z")


def batch(read: list[tuple[int, int]], rows: int = 3, width: int = 20) -> Batch:
    ids = torch.randint(6, VOCABULARY - 40, (rows, width), generator=torch.Generator().manual_seed(0))
    where = torch.tensor(read)
    positions = torch.arange(width).expand(rows, width).contiguous()
    flags = np.zeros(len(read), dtype=bool)
    return Batch(ids, positions, None, where[:, 0], where[:, 1], where[:, 0].numpy(), where[:, 1].numpy(), flags)


def loaded(directory: Path, points: list[HookPoint]) -> Model:
    return load(describe(ModelSpec(str(directory), device="cpu")), points)


def computed(model: Model, points: list[HookPoint], what: Batch) -> tuple[dict[str, torch.Tensor], set[int]]:
    """The kept activations, and how many rows the projections and MLPs of block 1 were given."""
    given: set[int] = set()
    names = ("mlp", *PROJECTIONS)
    parts = [
        part for path, part in model.module.named_modules() if path.endswith(tuple(f".1.{ending}" for ending in names))
    ]
    # The layers with weights inside the parts see what is left, once the rows that are read are taken out.
    leaves = [leaf for part in parts for leaf in part.modules() if hasattr(leaf, "weight")]
    hooks = [leaf.register_forward_hook(lambda _, args, __: given.add(args[0].shape[:-1].numel())) for leaf in leaves]
    found = forward(model, what, points).activations
    for hook in hooks:
        hook.remove()
    return found, given  # type: ignore[return-value]


@pytest.mark.quick(12)
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_stays_the_same(architecture: str, name: str, model_dir: ModelDir) -> None:
    """A few positions read beside the same ones out of a whole batch, at each hook point of the last block."""
    if name == "hook_resid_mid" and architecture in PARALLEL:
        pytest.skip("there is none")
    points = [HookPoint(0, "hook_resid_post"), HookPoint(1, name)]
    model = loaded(model_dir(architecture), points)
    few = [(0, 4), (0, 4), (1, 19), (2, 0), (2, 7)]
    every = [(row, column) for row in range(3) for column in range(20)]
    cut, _ = computed(model, points, batch(few))
    whole, rows = computed(model, points, batch(every))
    at = [every.index(name) for name in few]
    for point in map(str, points):
        assert relative_error(cut[point], whole[point][at]) <= 1e-5
    assert rows <= {60}


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in ("bloom", "opt")])
def test_only_what_is_read_is_computed(architecture: str, model_dir: ModelDir) -> None:
    points = [HookPoint(1, "hook_resid_post")]
    model = loaded(model_dir(architecture), points)
    assert model.description.config.model_type in BY_POSITION
    _, rows = computed(model, points, batch([(0, 4), (0, 4), (1, 19), (2, 7)]))
    assert rows == {3}


def test_the_block_before_a_hook_point_at_an_input_is_the_last(model_dir: ModelDir) -> None:
    points = [HookPoint(2, "hook_resid_pre")]
    _, rows = computed(loaded(model_dir("llama"), points), points, batch([(0, 4), (1, 19)]))
    assert rows == {2}


def test_a_block_that_a_later_one_reads_is_computed_whole(model_dir: ModelDir) -> None:
    points = [HookPoint(1, "hook_resid_post"), HookPoint(2, "hook_resid_post")]
    _, rows = computed(loaded(model_dir("llama"), points), points, batch([(0, 4), (1, 19)]))
    assert rows == {60}


def test_heads_that_are_read_are_those_before_the_projection(model_dir: ModelDir) -> None:
    """The projection's input is tapped, so that it is not cut short, but the MLP is."""
    points = [HookPoint(1, "attn.hook_z"), HookPoint(1, "hook_resid_post")]
    _, rows = computed(loaded(model_dir("gpt2"), points), points, batch([(0, 4), (1, 19)]))
    assert rows == {2, 60}
