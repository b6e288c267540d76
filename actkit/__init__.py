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
    from actkit.analysis.feature_tests.feature_scores import ScoreSettings as ScoreSettings
    from actkit.api.captured import CapturedActivations as CapturedActivations
    from actkit.api.captures import capture_activations as capture_activations
    from actkit.api.concepts import ConceptActivations as ConceptActivations
    from actkit.api.concepts import capture_from_concept as capture_from_concept
    from actkit.api.contrasts import ContrastiveActivations as ContrastiveActivations
    from actkit.api.contrasts import capture_contrastive_activations as capture_contrastive_activations
    from actkit.api.feature_datasets import create_feature_dataset as create_feature_dataset
    from actkit.api.feedback_data import FeedbackDataLoader as FeedbackDataLoader
    from actkit.api.loading import load_model as load_model
    from actkit.api.opened import Run as Run
    from actkit.api.opened import open_run as open_run
    from actkit.api.pooled_features import SAEFeatureExtractor as SAEFeatureExtractor
    from actkit.api.rewards import RewardSignalDetector as RewardSignalDetector
    from actkit.api.rewards import RewardSignals as RewardSignals
    from actkit.api.sae_extraction import ExtractionConfig as ExtractionConfig
    from actkit.api.sae_extraction import SAEActivationExtractor as SAEActivationExtractor
    from actkit.api.samples import load_samples_from_json as load_samples_from_json
    from actkit.api.samples import save_results_to_json as save_results_to_json
    from actkit.api.saving import save_activations as save_activations
    from actkit.api.statistics import compute_activation_stats as compute_activation_stats
    from actkit.api.statistics import compute_contrastive_diff as compute_contrastive_diff
    from actkit.api.steering import steer as steer
    from actkit.api.steering import steering as steering
    from actkit.config import BatchSpec as BatchSpec
    from actkit.config import ModelSpec as ModelSpec
    from actkit.config import OutputSpec as OutputSpec
    from actkit.config import ReadSpec as ReadSpec
    from actkit.config import SaeSpec as SaeSpec
    from actkit.config import TokenSpec as TokenSpec
    from actkit.errors import ActkitError as ActkitError
    from actkit.pipeline.recipe import Finished as Finished
    from actkit.recipes.capture import CaptureSpec as CaptureSpec
    from actkit.recipes.capture import run_capture as run_capture
    from actkit.recipes.concept import ConceptSpec as ConceptSpec
    from actkit.recipes.concept import run_concept as run_concept
    from actkit.recipes.concepts import Template as Template
    from actkit.recipes.dpo import DpoSpec as DpoSpec
    from actkit.recipes.dpo import run_dpo as run_dpo
    from actkit.recipes.feature_dataset import FeatureDatasetSpec as FeatureDatasetSpec
    from actkit.recipes.feature_dataset import run_feature_dataset as run_feature_dataset
    from actkit.recipes.feedback import FeedbackFields as FeedbackFields
    from actkit.recipes.reward_detect import RewardDetectSpec as RewardDetectSpec
    from actkit.recipes.reward_detect import run_reward_detect as run_reward_detect
    from actkit.recipes.sae_extract import SaeExtractSpec as SaeExtractSpec
    from actkit.recipes.sae_extract import run_sae_extract as run_sae_extract
    from actkit.recipes.specs import DenseSpec as DenseSpec
    from actkit.recipes.specs import SparseSpec as SparseSpec

_WHERE = {
    "ActkitError": ("actkit.errors", "ActkitError"),
    "BatchSpec": ("actkit.config", "BatchSpec"),
    "CaptureSpec": ("actkit.recipes.capture", "CaptureSpec"),
    "CapturedActivations": ("actkit.api.captured", "CapturedActivations"),
    "ConceptActivations": ("actkit.api.concepts", "ConceptActivations"),
    "ConceptSpec": ("actkit.recipes.concept", "ConceptSpec"),
    "ContrastiveActivations": ("actkit.api.contrasts", "ContrastiveActivations"),
    "DenseSpec": ("actkit.recipes.specs", "DenseSpec"),
    "DpoSpec": ("actkit.recipes.dpo", "DpoSpec"),
    "ExtractionConfig": ("actkit.api.sae_extraction", "ExtractionConfig"),
    "FeatureDatasetSpec": ("actkit.recipes.feature_dataset", "FeatureDatasetSpec"),
    "FeedbackDataLoader": ("actkit.api.feedback_data", "FeedbackDataLoader"),
    "FeedbackFields": ("actkit.recipes.feedback", "FeedbackFields"),
    "Finished": ("actkit.pipeline.recipe", "Finished"),
    "ModelSpec": ("actkit.config", "ModelSpec"),
    "OutputSpec": ("actkit.config", "OutputSpec"),
    "RewardDetectSpec": ("actkit.recipes.reward_detect", "RewardDetectSpec"),
    "RewardSignalDetector": ("actkit.api.rewards", "RewardSignalDetector"),
    "RewardSignals": ("actkit.api.rewards", "RewardSignals"),
    "ReadSpec": ("actkit.config", "ReadSpec"),
    "Run": ("actkit.api.opened", "Run"),
    "SAEActivationExtractor": ("actkit.api.sae_extraction", "SAEActivationExtractor"),
    "SAEFeatureExtractor": ("actkit.api.pooled_features", "SAEFeatureExtractor"),
    "SaeExtractSpec": ("actkit.recipes.sae_extract", "SaeExtractSpec"),
    "SaeSpec": ("actkit.config", "SaeSpec"),
    "ScoreSettings": ("actkit.analysis.feature_tests.feature_scores", "ScoreSettings"),
    "SparseSpec": ("actkit.recipes.specs", "SparseSpec"),
    "Template": ("actkit.recipes.concepts", "Template"),
    "TokenSpec": ("actkit.config", "TokenSpec"),
    "capture_activations": ("actkit.api.captures", "capture_activations"),
    "capture_contrastive_activations": ("actkit.api.contrasts", "capture_contrastive_activations"),
    "capture_from_concept": ("actkit.api.concepts", "capture_from_concept"),
    "compute_activation_stats": ("actkit.api.statistics", "compute_activation_stats"),
    "compute_contrastive_diff": ("actkit.api.statistics", "compute_contrastive_diff"),
    "create_feature_dataset": ("actkit.api.feature_datasets", "create_feature_dataset"),
    "load_model": ("actkit.api.loading", "load_model"),
    "load_samples_from_json": ("actkit.api.samples", "load_samples_from_json"),
    "open_run": ("actkit.api.opened", "open_run"),
    "run_capture": ("actkit.recipes.capture", "run_capture"),
    "run_concept": ("actkit.recipes.concept", "run_concept"),
    "run_dpo": ("actkit.recipes.dpo", "run_dpo"),
    "run_feature_dataset": ("actkit.recipes.feature_dataset", "run_feature_dataset"),
    "run_reward_detect": ("actkit.recipes.reward_detect", "run_reward_detect"),
    "run_sae_extract": ("actkit.recipes.sae_extract", "run_sae_extract"),
    "save_activations": ("actkit.api.saving", "save_activations"),
    "save_results_to_json": ("actkit.api.samples", "save_results_to_json"),
    "steer": ("actkit.api.steering", "steer"),
    "steering": ("actkit.api.steering", "steering"),
}
__all__ = [
    "ActkitError",
    "BatchSpec",
    "CaptureSpec",
    "CapturedActivations",
    "ConceptActivations",
    "ConceptSpec",
    "ContrastiveActivations",
    "DenseSpec",
    "DpoSpec",
    "ExtractionConfig",
    "FeatureDatasetSpec",
    "FeedbackDataLoader",
    "FeedbackFields",
    "Finished",
    "ModelSpec",
    "OutputSpec",
    "ReadSpec",
    "RewardDetectSpec",
    "RewardSignalDetector",
    "RewardSignals",
    "Run",
    "SAEActivationExtractor",
    "SAEFeatureExtractor",
    "SaeExtractSpec",
    "SaeSpec",
    "ScoreSettings",
    "SparseSpec",
    "Template",
    "TokenSpec",
    "capture_activations",
    "capture_contrastive_activations",
    "capture_from_concept",
    "compute_activation_stats",
    "compute_contrastive_diff",
    "create_feature_dataset",
    "load_model",
    "load_samples_from_json",
    "open_run",
    "run_capture",
    "run_concept",
    "run_dpo",
    "run_feature_dataset",
    "run_reward_detect",
    "run_sae_extract",
    "save_activations",
    "save_results_to_json",
    "steer",
    "steering",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("actkit")
    if name not in _WHERE:
        raise AttributeError(f"module 'actkit' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
