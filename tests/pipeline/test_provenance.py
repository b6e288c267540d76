"""The version of torch is the one that ran, and the peak of memory is this process's own."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from actkit import CaptureSpec, DenseSpec, ModelSpec, OutputSpec, run_capture
from actkit.pipeline import provenance as peak
from actkit.verify.tables.run import verify

MEASURE = "from actkit.pipeline.provenance import peak_memory_mb; print(peak_memory_mb())"
FROM_A_LARGE_PROCESS = f"""
import subprocess, sys
held = bytearray(b"x" * 500_000_000)
print(subprocess.run([sys.executable, "-c", {MEASURE!r}], stdout=subprocess.PIPE, text=True, check=True).stdout)
"""


def measured(script: str) -> float:
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_what_the_parent_held_is_not_counted() -> None:
    alone = measured(MEASURE)
    assert 1 < alone < 450  # torch comes with the module; the parent below holds 500
    assert abs(measured(FROM_A_LARGE_PROCESS) - alone) < 50


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="not known there")
def test_what_was_held_and_given_back_is_counted() -> None:
    assert measured(f"held = bytearray(b'x' * 300_000_000); del held\n{MEASURE}") > 286


@pytest.mark.skipif(sys.platform == "win32", reason="not known there")
@pytest.mark.parametrize("text", [None, "", "VmRSS:\t 12 kB\n"])
def test_elsewhere_it_is_what_getrusage_says(text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peak, "STATUS", tmp_path / "status")
    if text is not None:
        peak.STATUS.write_text(text)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    found = peak.peak_memory_mb()
    assert found == round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def test_torch_is_named_with_its_build_where_its_metadata_lack_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyPI's CUDA build is 2.13.0 in its metadata: there, verify found fault with every run."""
    monkeypatch.setattr(torch, "__version__", f"{torch.__version__.partition('+')[0]}+cu999")
    done = run_capture(
        CaptureSpec(("A text.",), positions="last"), DenseSpec(ModelSpec("tiny"), OutputSpec(tmp_path / "run"))
    )
    assert str(done.facts["versions"]["torch"]).endswith("+cu999")
    assert verify(done.path).problems == []
