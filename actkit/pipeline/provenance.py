"""The provenance of a run: model, versions, machine, memory."""

import importlib.metadata
import platform
import re
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from actkit.backends import Model
from actkit.backends.kernel_choice import choice
from actkit.pipeline.recipe import Job
from actkit.pipeline.resume.session import Session
from actkit.runs.facts import metadata_of
from actkit.runs.progress import profile
from actkit.schemas import SCHEMA_VERSION

PACKAGES = ("actkit", *"torch transformers transformer-lens sae-lens tokenizers numpy pyarrow pandas".split())


AS_LOADED = ("dtype", "device", "attn", "device_map", "quantize", "allow_pickle", "trust_remote_code")
"""Fields of a `ModelSpec` that `run.json` repeats, with their resolved values."""


def file_metadata(job: Job) -> dict[str, str]:
    """Return the metadata of every Parquet file of a run: see `metadata_of`."""
    points = [str(point) for point in job.hook_points]
    return metadata_of({"command": job.recipe.command, "model": _about_model(job.model), "hook_points": points})


def run_facts(job: Job, run: Session, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of `run.json`."""
    recipe, progress, tables = job.recipe, run.progress, run.directory.tables()
    return {
        "schema_version": SCHEMA_VERSION,
        "command": recipe.command,
        "unit": recipe.unit,
        "exports": list(recipe.exports),
        "rules": recipe.rules.plain(),
        "model": _about_model(job.model),
        "hook_points": [str(point) for point in job.hook_points],
        "options": dict(job.options),
        "detected": dict(recipe.detected),
        "counts": {
            "read": progress.read,
            "written": progress.written,
            "rejected": progress.rejected,
            "truncated": progress.truncated,
            "special_in_text": progress.special_in_text,
            "unknown_in_text": progress.unknown_in_text,
            "sinks": progress.sinks,
            "sequences": tables.get("sequences", {}).get("rows", 0),
            "tokens": progress.tokens,
        },
        **recipe.found(),
        "input": {kind: dict(counts) for kind, counts in progress.seen.items()},
        "statistics": {name: dict(settings) for name, settings in recipe.statistics.items()},
        "rejected_reasons": progress.reasons,
        "first_rejected": progress.first_rejected or None,
        "tables": tables,
        "seconds": {part: round(seconds, 3) for part, seconds in progress.seconds.items()},
        "profile": profile(progress),
        "tokens_per_second": round(progress.tokens / max(sum(progress.seconds.values()), 1e-9), 1),
        "peak_memory_mb": peak_memory_mb(),
        "batch_tokens_used": run.budget.tokens,
        "began": run.sessions[0]["began"],
        "ended": round(time.time(), 3),
        "sessions": run.sessions,
        "notes": progress.notes,
        # The metadata of PyPI's CUDA build lack the `+cu130` that tells it from other builds.
        "versions": {**_versions(), "torch": str(torch.__version__)},
        "fingerprint": dict(fingerprint),
    }


def _about_model(model: Model) -> dict[str, object]:
    """Describe the model and how it was loaded, for `run.json`."""
    description = model.description
    return {
        "name": description.spec.name,
        "revision": description.revision,
        "architecture": description.architecture,
        "model_type": description.config.get_text_config().model_type,
        "n_layers": description.n_layers,
        "d_model": description.d_model,
        "context_length": description.context_length,
        **{name: getattr(description.spec, name) for name in AS_LOADED},
        "shares_prefixes": model.shares_prefixes,
        "backend": type(model).__name__,
        "products": str(choice()) if description.spec.device == "cpu" else None,
    }


@cache
def _versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that affect the numbers, looked up once a process."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process so far, in MiB; None where the system does not report it.

    On Linux it is the kernel's `VmHWM`: getrusage there begins at the memory of the process that started this one, be
    it a test suite or a notebook.
    """
    if sys.platform == "win32":
        return None
    try:
        found = re.search(r"^VmHWM:\s*(\d+)", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return round(int(found[1]) / 2**10, 1)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
