"""Peers, each in an environment of its own, from the package registry: installed once and kept in the user's cache.

torch is what `configs/constraints.txt` says, so that all run the same kernels; everything else is what the peer wants.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import SCRIPTS

CONSTRAINTS = Path(__file__).parents[2] / "configs" / "constraints.txt"
LIMIT = 600
"""Most seconds that installing one peer may take."""


@dataclass(frozen=True)
class Peer:
    """Another tool that does some of the works."""

    script: Path
    requirements: tuple[str, ...]
    """What pip is asked for."""
    alone: tuple[str, ...] = ()
    """What is installed without what it requires, after `requirements`."""
    note: str = ""
    """How it is used, and what differs."""


_DELPHI = "eai-sparsify faiss-cpu sentence-transformers blobfile asyncer jaxtyping beartype orjson simple-parsing"
_PACKED = (
    "documents are packed into windows of 256 tokens, so that they are cut and mixed; time is for the tokens in them, "
    "scaled to those of the documents; compared with the hand-tuned script on the same windows"
)
PEERS = {
    "nnsight": Peer(
        SCRIPTS / "use_nnsight.py",
        ("nnsight",),
        note="batches of 16 in the order of the input, which it pads on the left; stopped after the last layer read",
    ),
    "nnterp": Peer(
        SCRIPTS / "use_nnterp.py",
        ("nnterp", "nnsight<0.8", "accelerate"),
        note="as nnsight, with its own helper for last tokens; nnsight before 0.8, since it does not import with that, "
        "and accelerate, which it needs and does not require; batches are padded on the left, which may be why they "
        "differ: one text at a time, its numbers agree",
    ),
    "repeng": Peer(SCRIPTS / "use_repeng.py", ("repeng",), note="takes texts, in batches of 32, tokenizing included"),
    "delphi": Peer(
        SCRIPTS / "use_delphi.py",
        tuple(_DELPHI.split()),
        ("eai-delphi",),
        note=f"its cache, without vLLM, which its explainers alone need; {_PACKED}; all features above 1e-5 are kept, "
        "and the largest taken from them later, not timed",
    ),
    "SAELens": Peer(SCRIPTS / "use_sae_lens.py", ("sae-lens",), note=f"its ActivationsStore; {_PACKED}"),
}


class NotInstalledError(Exception):
    """A peer cannot be installed: the message is pip's last line."""


def cache() -> Path:
    """Where environments are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actkit-benchmarks"


def interpreter(name: str, peer: Peer, folder: Path) -> Path:
    """The Python of the peer's environment under `folder`, made if it is not there. Raises NotInstalledError."""
    wanted = [torch_line(), *peer.requirements, *peer.alone, sys.version]
    root = folder / f"{name}-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    python = root / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (root / "installed").exists():
        return python
    shutil.rmtree(root, ignore_errors=True)
    end = time.monotonic() + LIMIT
    print(f"installing {name} into {root}", file=sys.stderr, flush=True)
    try:
        _call([sys.executable, "-m", "venv", str(root)], end)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _call([*pip, torch_line()], end)  # first and alone: asked for by another, it would come in its largest build
        _call([*pip, torch_line(), *peer.requirements], end)
        if peer.alone:
            _call([*pip, "--no-deps", *peer.alone], end)
    except NotInstalledError:
        shutil.rmtree(root, ignore_errors=True)
        raise
    (root / "installed").touch()
    return python


def torch_line() -> str:
    """The one line of the constraints that peers share."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _call(call: Sequence[str], end: float) -> None:
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=max(end - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"not within {LIMIT} s") from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and "WARNING" not in line]
        raise NotInstalledError(lines[-1] if lines else f"pip ended with {done.returncode}")
