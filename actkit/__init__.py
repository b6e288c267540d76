"""actkit: from a dataset and a language model to Parquet tables of activations.

    from pathlib import Path
    import actkit

    run = actkit.run_dpo(
        actkit.DpoSpec("pairs.jsonl"),
        actkit.DenseSpec(actkit.ModelSpec("tiny"), output=actkit.OutputSpec(Path("runs/pairs"))),
    )
    run.path, run.facts["counts"]

Names are imported when they are first used: `import actkit` alone loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actkit.config import BatchSpec as BatchSpec
    from actkit.config import ModelSpec as ModelSpec
    from actkit.config import OutputSpec as OutputSpec
    from actkit.config import SaeSpec as SaeSpec
    from actkit.config import TokenSpec as TokenSpec
    from actkit.errors import ActkitError as ActkitError
    from actkit.pipeline.recipe import Finished as Finished
    from actkit.recipes.capture import CaptureSpec as CaptureSpec
    from actkit.recipes.capture import run as run_capture
    from actkit.recipes.dense import DenseSpec as DenseSpec
    from actkit.recipes.dpo import DpoSpec as DpoSpec
    from actkit.recipes.dpo import run as run_dpo
    from actkit.recipes.feature_dataset import FeatureDatasetSpec as FeatureDatasetSpec
    from actkit.recipes.feature_dataset import run as run_feature_dataset
    from actkit.recipes.sae_extract import SaeExtractSpec as SaeExtractSpec
    from actkit.recipes.sae_extract import run as run_sae_extract
    from actkit.recipes.sparse import SparseSpec as SparseSpec

_WHERE = {
    "ActkitError": ("actkit.errors", "ActkitError"),
    "BatchSpec": ("actkit.config", "BatchSpec"),
    "CaptureSpec": ("actkit.recipes.capture", "CaptureSpec"),
    "DenseSpec": ("actkit.recipes.dense", "DenseSpec"),
    "DpoSpec": ("actkit.recipes.dpo", "DpoSpec"),
    "FeatureDatasetSpec": ("actkit.recipes.feature_dataset", "FeatureDatasetSpec"),
    "Finished": ("actkit.pipeline.recipe", "Finished"),
    "ModelSpec": ("actkit.config", "ModelSpec"),
    "OutputSpec": ("actkit.config", "OutputSpec"),
    "SaeExtractSpec": ("actkit.recipes.sae_extract", "SaeExtractSpec"),
    "SaeSpec": ("actkit.config", "SaeSpec"),
    "SparseSpec": ("actkit.recipes.sparse", "SparseSpec"),
    "TokenSpec": ("actkit.config", "TokenSpec"),
    "run_capture": ("actkit.recipes.capture", "run"),
    "run_dpo": ("actkit.recipes.dpo", "run"),
    "run_feature_dataset": ("actkit.recipes.feature_dataset", "run"),
    "run_sae_extract": ("actkit.recipes.sae_extract", "run"),
}
__all__ = [
    "ActkitError",
    "BatchSpec",
    "CaptureSpec",
    "DenseSpec",
    "DpoSpec",
    "FeatureDatasetSpec",
    "Finished",
    "ModelSpec",
    "OutputSpec",
    "SaeExtractSpec",
    "SaeSpec",
    "SparseSpec",
    "TokenSpec",
    "run_capture",
    "run_dpo",
    "run_feature_dataset",
    "run_sae_extract",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'actkit' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
