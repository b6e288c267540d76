"""Every command on CUDA devices that are none (`placed_tensors`): where its tensors live, and what comes out of it.

The numbers are those of the host, so that `actkit verify` may hold each run against the plain model on the CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actkit.analysis.feature_logits import Unembedding, feature_logits
from actkit.backends import describe, load, transformer_lens
from actkit.backends.hooked import TREE_MODELS
from actkit.backends.saes import metadata
from actkit.backends.saes.sae_lens import load as load_sae
from actkit.backends.steered import SteeredBatch
from actkit.backends.transformer_lens import block_sites
from actkit.config import ModelSpec, SaeSpec
from actkit.hooks import HookPoint
from actkit.pipeline import compute
from actkit.pipeline.forward import run_batch
from actkit.runs.run import open_run
from actkit.verify.recompute.weights import logit_score
from tests.command_line import Run
from tests.conftest import ARCHITECTURES, relative_error
from tests.placed_tensors import cuda_devices

pytestmark = pytest.mark.skipif(
    torch.backends.cuda.is_built(),
    reason="a build for CUDA asks the driver; the devices that are none need a CPU build",
)
PLACES = {"cuda": ("--device", "cuda"), "cuda:1": ("--device", "cuda:1"), "map": ("--device-map", "balanced")}
DEVICES = {"cuda": {"cuda:0"}, "cuda:1": {"cuda:1"}, "map": {"cuda:0", "cuda:1"}}
DENSE = ("--layers", "0,2", "--sae-release", "tiny", "--sae-id", "blocks.2.hook_resid_post")
CALLS: Mapping[str, tuple[str, ...]] = {
    "dpo": ("pairs", *DENSE),
    "capture": ("answers", "--field", "prompt", *DENSE),
    "concept": ("sides", "--layers", "0,2"),
    "sae-extract": ("answers", "--target-layer", "2", "--save-all-tokens"),
    "feature-dataset": ("stories", "--target-layer", "2"),
    "reward-detect": ("labelled", "--target-layer", "2", "--draws", "1000"),
}
NEVER = {"attn.hook_hidden_states"}
"""Hook points that no forward pass of `tiny` reaches; a run says so."""
STEERED = {
    "concept": ("--strengths", "1,2", "--random", "2"),
    "reward-detect": ("--features", "top:2", "--random", "2"),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What was computed where: `weights`, `sae` or `logits` → the devices; what is kept is where its block is."""
    found: dict[str, set[str]] = {}
    real, real_steered, real_computed = run_batch.forward, SteeredBatch.logits, metadata._functions

    def forward(model: Any, batch: Any, points: Any) -> Any:
        kept = real(model, batch, points)
        blocks = next(module for module in model.module.modules() if isinstance(module, torch.nn.ModuleList))
        for point in points:
            block = next(blocks[point.layer].parameters())
            assert kept.activations[str(point)].device == block.device, point
        found.setdefault("rows", set()).add("whole" if batch.tree is None else "branching")
        found.setdefault("weights", set()).update(str(parameter.device) for parameter in model.module.parameters())
        return kept

    def logits(batch: Any, intervention: Any) -> Any:
        made = real_steered(batch, intervention)
        found.setdefault("logits", set()).add(str(made.device))
        return made

    def computed(sae: Any, centre: bool, dtype: Any) -> Any:
        encode, reconstruct, own = real_computed(sae, centre, dtype)

        def watched(x: torch.Tensor) -> Any:
            active = own(x)
            assert {tensor.device for tensor in (active.rows, active.ids, active.values)} == {x.device}
            found.setdefault("sae", set()).add(str(sae.W_enc.device))
            return active

        return encode, reconstruct, watched

    monkeypatch.setattr(compute, "forward", forward)
    monkeypatch.setattr(SteeredBatch, "logits", logits)
    monkeypatch.setattr(metadata, "_functions", computed)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("place", ["map", "cuda:1", "cuda"])
def test_where_a_command_computes(
    command: str,
    place: str,
    actkit: Run,
    six_runs: Mapping[str, Path],
    seen: dict[str, set[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    inputs, (name, *options) = six_runs["dpo"].parent, CALLS[command]
    line = (command, inputs / f"{name}.jsonl", *options, "--dtype", "float32", *PLACES[place], "-q")
    with cuda_devices(monkeypatch):
        done = actkit(*line, "-o", tmp_path / "run")
        assert done.status == 0, done.err
        first = "cuda:1" if place == "cuda:1" else "cuda:0"
        assert seen["weights"] == DEVICES[place] and seen.get("sae", {first}) == {first}
        again = actkit("verify", tmp_path / "run", "--recompute", "3")  # on the first device
        assert again.status == 0, again.err
    held = actkit("verify", tmp_path / "run", "--recompute", "3")
    assert held.status == 0, held.err + held.out
    assert command != "dpo" or "branching" in seen["rows"]
    usual = open_run(six_runs[command]).facts["counts"]
    assert open_run(tmp_path / "run").facts["counts"] == usual
    if command in STEERED:
        seen.clear()
        with cuda_devices(monkeypatch):
            more = () if place == "map" else PLACES[place]
            done = actkit("steer", tmp_path / "run", *STEERED[command], *more, "-q", "-o", tmp_path / "steered")
            assert done.status == 0, done.err
        held = actkit("verify", tmp_path / "steered", "--recompute", "3")
        assert held.status == 0, held.err + held.out


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "architecture", ["gemma2", *(architecture for architecture in ARCHITECTURES if architecture != "gemma2")]
)
def test_rows_that_branch_on_two_devices(
    architecture: str,
    model_dir: Callable[[str], Path],
    actkit: Run,
    seen: dict[str, set[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Masks, positions and what the first block gives all go on to the second device."""
    same = "The quick brown fox jumps over the lazy dog and "
    (tmp_path / "a.txt").write_text("\n".join(same + end for end in ("sleeps.", "runs away.", "is gone, they say.")))
    line = ("capture", tmp_path / "a.txt", "--model", model_dir(architecture), "--layers", "0,2", "--dtype", "float32")
    with cuda_devices(monkeypatch):
        done = actkit(*line, *PLACES["map"], "-q", "-o", tmp_path / "run")
    assert done.status == 0, done.err
    assert seen["weights"] == DEVICES["map"]
    kind = describe(ModelSpec(str(model_dir(architecture)))).config.model_type
    assert ("branching" in seen["rows"]) == (kind in TREE_MODELS)
    held = actkit("verify", tmp_path / "run", "--recompute", "3")
    assert held.status == 0, held.err + held.out


@pytest.mark.quick(1)
@pytest.mark.parametrize("place", ["map", "cuda:1"])
def test_every_hook_point(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of modules on two devices, and all that a bridge computes on one."""
    about = describe(ModelSpec(device="cpu", dtype="float32"))
    native = sorted(block_sites(about.config, about.architecture))
    names = native if place == "map" else sorted({*native, *transformer_lens.hook_names(about)} - NEVER)
    points = [HookPoint(layer, name) for layer in (0, 2) for name in names]
    ids, positions = torch.arange(12).reshape(2, 6), torch.arange(6)[None].expand(2, 6)

    def read(spec: ModelSpec) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        model = load(describe(spec), points)
        taps = {
            str(point): (lambda tensor, name=str(point): found.__setitem__(name, tensor.clone())) for point in points
        }
        model.run(ids, positions, None, taps)
        return found

    expected = read(ModelSpec(device="cpu", dtype="float32"))
    with cuda_devices(monkeypatch):
        spec = ModelSpec(device_map="balanced") if place == "map" else ModelSpec(device=place)
        found = read(replace(spec, dtype="float32"))
        where = {point: str(tensor.device) for point, tensor in found.items()}
        values = {point: tensor.cpu() for point, tensor in found.items()}
    assert set(where.values()) == DEVICES[place] and found.keys() == {str(point) for point in points}
    for point in points:
        assert place != "map" or where[str(point)] == ("cuda:1" if point.layer else "cuda:0"), point
        assert relative_error(values[str(point)], expected[str(point)]) < 1e-4, point


def test_an_output_layer_on_another_device_than_the_sae(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = load_sae(SaeSpec("tiny", "blocks.2.hook_resid_post"), "cpu")
    model = load(describe(ModelSpec(device="cpu")), [HookPoint(2, "hook_resid_post")])
    head, tokenizer = model.unembedding(), model.description.tokenizer
    assert head is not None
    some = np.arange(0, sae.d_sae, 50)
    expected = list(feature_logits(sae, some, Unembedding.of(head, tokenizer)))
    with cuda_devices(monkeypatch):
        there = load_sae(SaeSpec("tiny", "blocks.2.hook_resid_post"), "cuda:0")
        placed = head.to("cuda:1")
        assert placed.device == torch.device("cuda:1")
        found = list(feature_logits(there, some, Unembedding.of(placed, tokenizer)))
        score = logit_score(there, placed, [0, 3])(1, 7)
    assert [row["top"].to_pylist()[0][0]["token_id"] for row in found] == [
        row["top"].to_pylist()[0][0]["token_id"] for row in expected
    ]
    assert score == pytest.approx(logit_score(sae, head, range(4))(3, 7), rel=1e-4)
