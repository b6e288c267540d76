"""Memory that was freed goes back to the system."""

import ctypes
import sys
from pathlib import Path

import pytest

from actkit.pipeline.forward import out_of_memory as memory


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
def test_freed_pieces_go_back_to_the_system() -> None:
    pieces = [ctypes.create_string_buffer(50_000) for _ in range(4000)]  # each too small for pages of its own
    kept = pieces[::100]  # which hold the heap's end in place
    del pieces
    before = resident_kb()
    memory.trim()
    assert before - resident_kb() > 100_000
    assert len(kept) == 40
