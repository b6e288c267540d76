"""`Job`: one command's recipe on one model, and where its rows go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actkit.backends import Model
from actkit.config import BatchSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """One run, ready to be computed. Who computes it, and where, is no part of it."""

    recipe: Recipe
    model: Model
    hook_points: Sequence[HookPoint]
    """All that are read: those whose activations are stored, and those that SAEs read."""
    output: OutputSpec
    batch: BatchSpec = field(default_factory=BatchSpec)
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was asked, option → plain value, for `run.json` and the fingerprint; see `recipes.asked`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name → text of what is written beside the tables when the run begins."""
