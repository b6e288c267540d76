"""The plain model, by which runs are verified: each hook point is the tensor of its name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from actkit.backends import describe
from actkit.backends.reference import load_plain
from actkit.backends.sites import Site
from actkit.config import ModelSpec
from actkit.hooks import HookPoint
from tests.command_line import Run
from tests.conftest import save_random_model

ModelDir = Callable[[str], Path]
MAMBA = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 4, "expand": 2}


@pytest.fixture
def mamba(tmp_path: Path) -> Path:
    save_random_model("Mamba", MAMBA, tmp_path / "mamba")
    return tmp_path / "mamba"


@pytest.mark.parametrize("own", ["mamba", "llama", "gemma2"])
def test_the_residual_stream_before_and_after_each_block_is_what_the_block_takes_and_gives(
    own: str, mamba: Path, model_dir: ModelDir
) -> None:
    """Hidden states of a Mamba are counted from the first block's output, elsewhere from its input."""
    plain = load_plain(describe(ModelSpec(str(mamba if own == "mamba" else model_dir(own)), device="cpu")))
    blocks = plain.module.backbone.layers if own == "mamba" else plain.module.model.layers
    taken, given = {}, {}
    for layer, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda _, args, layer=layer: taken.__setitem__(layer, args[0]))
        block.register_forward_hook(
            lambda _, __, out, layer=layer: given.__setitem__(layer, out[0] if isinstance(out, tuple) else out)
        )
    names = [name for name in ("hook_resid_pre", "hook_resid_post") if name in plain.sites]
    points = [HookPoint(layer, name) for layer in range(3) for name in names]
    ids = torch.arange(5, 20).numpy()
    for point, tensor in plain.read(ids, points).items():
        expected = (taken if point.name == "hook_resid_pre" else given)[point.layer][0]
        assert torch.equal(tensor, expected.reshape(tensor.shape)), point


def test_a_run_of_a_mamba_is_verified(mamba: Path, tmp_path: Path, actkit: Run) -> None:
    done = actkit("capture", "-p", "One.", "-p", "Two, three.", "-m", mamba, "--verify", "2", "-o", tmp_path / "run")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "run" / "run.json").read_text())["verify"]
    assert found["records"] == 2 and len(found["hook_points"]) == 3


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_block_may_return_its_output_in_a_list(kind: type) -> None:
    """OpenAI's first GPT does; a run of it could be made and not be verified."""

    class Block(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return kind([x + 1])

    block, found = Block(), []
    Site("block", "out").hook(block, found.append)
    block(torch.zeros(1, 2))
    assert found[0].tolist() == [[1, 1]]
