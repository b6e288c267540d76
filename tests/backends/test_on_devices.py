"""Runs on CUDA devices that are none (`placed_tensors`): where each tensor lives, and that none meets another device's.

Two devices at once, and numbers, are not looked at: transformers' buffers that are in no file come out wrong there.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from actkit.backends import describe, load
from actkit.config import ModelSpec
from actkit.hooks import HookPoint
from actkit.pipeline import compute
from actkit.pipeline.data import Ragged
from actkit.pipeline.forward import run_batch
from actkit.runs.run import open_run
from tests.command_line import Run
from tests.placed_tensors import PlacedTensor, cuda_devices

SAE = ("--sae-release", "tiny", "--sae-id", "blocks.2.hook_resid_post")
pytestmark = pytest.mark.skipif(
    torch.backends.cuda.is_built(),
    reason="a build for CUDA asks the driver; the devices that are none need a CPU build",
)
PLACES = {"cuda": ("--device", "cuda"), "cuda:1": ("--device", "cuda:1")}


def test_tensors_of_two_devices_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_devices(monkeypatch):
        first, second, host = torch.ones(3, device="cuda"), torch.ones(3).to("cuda:1"), torch.ones(3)
        assert [str(tensor.device) for tensor in (first, second, host, first.cpu())] == [
            "cuda:0",
            "cuda:1",
            "cpu",
            "cpu",
        ]
        assert (second + 1).device == second.device and float((second + 1).sum()) == 6
        for mine, other in ((first, second), (first, host), (host, second)):
            with pytest.raises(RuntimeError, match="tensors on"):
                mine * other
        with pytest.raises((RuntimeError, TypeError)):
            first.numpy()
        with pytest.raises(RuntimeError, match="tensors on"):
            host[second.to(torch.int64)]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_where_each_tensor_of_a_run_lives(
    place: str, actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The texts share a beginning that is long enough for a tree."""
    same = "The quick brown fox jumps over the lazy dog and "
    (tmp_path / "a.txt").write_text("\n".join(same + end for end in ("sleeps.", "runs away.", "is gone, they say.")))
    asked = (
        "capture",
        tmp_path / "a.txt",
        "--layers",
        "1,2",
        "--hook-point",
        "hook_resid_post",
        *SAE,
        "-q",
    )
    seen: list[tuple[bool, dict[str, str]]] = []
    real = run_batch.forward

    def forward(model: Any, batch: Any, points: Any) -> Any:
        kept = real(model, batch, points)
        of = {
            name: (activation.values if isinstance(activation, Ragged) else activation)
            for name, activation in kept.activations.items()
        }
        seen.append((batch.tree is not None, {name: str(tensor.device) for name, tensor in of.items()}))
        return kept

    monkeypatch.setattr(compute, "forward", forward)
    with cuda_devices(monkeypatch):
        result = actkit(*asked, *PLACES[place], "-o", tmp_path / "there")
    assert result.status == 0, result.err
    devices = {device for _, of in seen for device in of.values()}
    assert devices == {"cuda:0" if place == "cuda" else "cuda:1"}
    assert any(is_tree for is_tree, _ in seen)
    there = open_run(tmp_path / "there")
    assert there.facts["model"]["device"] == place and len(there.table("features")) == len(there.table("tokens"))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "point", ["hook_resid_pre", "attn.hook_pattern", "attn.hook_z", "mlp.hook_post", "hook_mlp_out"]
)
def test_weights_and_every_kind_of_hook_point_are_on_the_device(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_devices(monkeypatch):
        points = [HookPoint(1, point)]
        model = load(describe(ModelSpec(device="cuda:1")), points)
        weights = [*model.module.parameters(), *model.module.buffers()]
        assert {str(weight.device) for weight in weights} == {"cuda:1"}
        assert all(isinstance(weight, PlacedTensor) for weight in weights)
        ids = torch.arange(12).reshape(2, 6)
        taken: list[torch.Tensor] = []
        model.run(ids, torch.arange(6)[None].expand(2, 6), None, {str(points[0]): taken.append})
        assert [str(tensor.device) for tensor in taken] == ["cuda:1"]
