"""The benchmark for GPUs runs on a CPU as well, so that it is known to run where there is one. No timing."""

from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu


@pytest.mark.slow
@pytest.mark.parametrize("workload", gpu.WORKLOADS)
def test_the_model_alone_runs_just_the_batches_that_actkit_made(workload: str, tmp_path: Path) -> None:
    size = gpu.workloads.Size(4, 96, 2, 512, documents=3, pairs=2, answers=3, contrasts=2)
    inputs, spec = gpu.make(tmp_path, size, "cpu")
    noted: gpu.Noted = []
    with gpu.noting(noted):
        facts = gpu.own.run(inputs, workload, spec, tmp_path / "run")
    run = sum(int(torch.unique(batch.rows).numel()) for batch, _ in noted)
    assert 0 < run <= facts["counts"]["sequences"]
    assert sum(len(batch.kept_positions) for batch, _ in noted) >= facts["counts"]["sequences"]
    found = gpu.measure(inputs, workload, spec, 1)
    assert found["alone"] > 0 and 0 < found["loop"] <= found["whole"]
    assert found["tokens"] == facts["counts"]["tokens"]
