"""actkit: from a dataset and a language model to Parquet tables of activations and SAE features.

    import actkit

    run = actkit.capture("The capital of France is", layers="recommended")
    run["tokens"].head()  # tables; run.activations(…) arrays, run.plot pictures

One line each (options are the command line's; `model` is a name or a handle of `load_model`; each returns a `Run`):
    capture, concept, dpo, sae_extract, feature_dataset, reward_detect
Read a run:
    open_run, Run, describe (the meaning of a table's columns)
Change the model's behaviour:
    steer (measured, a run), steering (a direction or feature while you generate)
The same commands from specs with typed fields, each to a `Finished` run:
    run_capture, run_concept, run_dpo, run_sae_extract, run_feature_dataset, run_reward_detect
    CaptureSpec, ConceptSpec, DpoSpec, SaeExtractSpec, FeatureDatasetSpec, RewardDetectSpec
    DenseSpec, SparseSpec, ModelSpec, SaeSpec, OutputSpec, BatchSpec, TokenSpec, ReadSpec
    ScoreSettings, FeedbackFields, PairFields, ContextFields, Template
Functions of the older scripts, on top of the same recipes, with tensors in memory:
    load_model, capture_activations, CapturedActivations, save_activations, compute_activation_stats
    capture_contrastive_activations, ContrastiveActivations, compute_contrastive_diff
    capture_from_concept, ConceptActivations
    SAEActivationExtractor, ExtractionConfig, load_samples_from_json, save_results_to_json
    create_feature_dataset, SAEFeatureExtractor
    RewardSignalDetector, RewardSignals, FeedbackDataLoader
The error for every failure that you can act on:
    ActkitError

`actkit docs python` in a shell has examples. `import actkit` alone loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actkit.analysis.feature_tests.feature_scores import ScoreSettings as ScoreSettings
    from actkit.api.captures import CapturedActivations as CapturedActivations
    from actkit.api.captures import capture_activations as capture_activations
    from actkit.api.commands import capture as capture
    from actkit.api.commands import concept as concept
    from actkit.api.commands import dpo as dpo
    from actkit.api.commands import feature_dataset as feature_dataset
    from actkit.api.commands import reward_detect as reward_detect
    from actkit.api.commands import sae_extract as sae_extract
    from actkit.api.concepts import ConceptActivations as ConceptActivations
    from actkit.api.concepts import capture_from_concept as capture_from_concept
    from actkit.api.contrasts import ContrastiveActivations as ContrastiveActivations
    from actkit.api.contrasts import capture_contrastive_activations as capture_contrastive_activations
    from actkit.api.feature_datasets import create_feature_dataset as create_feature_dataset
    from actkit.api.feedback_data import FeedbackDataLoader as FeedbackDataLoader
    from actkit.api.loading import load_model as load_model
    from actkit.api.opened import Run as Run
    from actkit.api.opened import describe as describe
    from actkit.api.opened import open_run as open_run
    from actkit.api.rewards import RewardSignalDetector as RewardSignalDetector
    from actkit.api.rewards import RewardSignals as RewardSignals
    from actkit.api.rewards import SAEFeatureExtractor as SAEFeatureExtractor
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
    from actkit.recipes.conversations.fields import ContextFields as ContextFields
    from actkit.recipes.conversations.fields import PairFields as PairFields
    from actkit.recipes.dpo import DpoSpec as DpoSpec
    from actkit.recipes.dpo import run_dpo as run_dpo
    from actkit.recipes.feature_dataset import FeatureDatasetSpec as FeatureDatasetSpec
    from actkit.recipes.feature_dataset import run_feature_dataset as run_feature_dataset
    from actkit.recipes.labels import FeedbackFields as FeedbackFields
    from actkit.recipes.reward_detect import RewardDetectSpec as RewardDetectSpec
    from actkit.recipes.reward_detect import run_reward_detect as run_reward_detect
    from actkit.recipes.sae_extract import SaeExtractSpec as SaeExtractSpec
    from actkit.recipes.sae_extract import run_sae_extract as run_sae_extract
    from actkit.recipes.specs import DenseSpec as DenseSpec
    from actkit.recipes.specs import SparseSpec as SparseSpec

_NAMES = {
    "actkit.analysis.feature_tests.feature_scores": "ScoreSettings",
    "actkit.api.captures": "CapturedActivations capture_activations",
    "actkit.api.commands": "capture concept dpo feature_dataset reward_detect sae_extract",
    "actkit.api.concepts": "ConceptActivations capture_from_concept",
    "actkit.api.contrasts": "ContrastiveActivations capture_contrastive_activations",
    "actkit.api.feature_datasets": "create_feature_dataset",
    "actkit.api.feedback_data": "FeedbackDataLoader",
    "actkit.api.loading": "load_model",
    "actkit.api.opened": "Run describe open_run",
    "actkit.api.rewards": "RewardSignalDetector RewardSignals SAEFeatureExtractor",
    "actkit.api.sae_extraction": "ExtractionConfig SAEActivationExtractor",
    "actkit.api.samples": "load_samples_from_json save_results_to_json",
    "actkit.api.saving": "save_activations",
    "actkit.api.statistics": "compute_activation_stats compute_contrastive_diff",
    "actkit.api.steering": "steer steering",
    "actkit.config": "BatchSpec ModelSpec OutputSpec ReadSpec SaeSpec TokenSpec",
    "actkit.errors": "ActkitError",
    "actkit.pipeline.recipe": "Finished",
    "actkit.recipes.capture": "CaptureSpec run_capture",
    "actkit.recipes.concept": "ConceptSpec run_concept",
    "actkit.recipes.concepts": "Template",
    "actkit.recipes.conversations.fields": "ContextFields PairFields",
    "actkit.recipes.dpo": "DpoSpec run_dpo",
    "actkit.recipes.feature_dataset": "FeatureDatasetSpec run_feature_dataset",
    "actkit.recipes.labels": "FeedbackFields",
    "actkit.recipes.reward_detect": "RewardDetectSpec run_reward_detect",
    "actkit.recipes.sae_extract": "SaeExtractSpec run_sae_extract",
    "actkit.recipes.specs": "DenseSpec SparseSpec",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("actkit")
    if name not in _WHERE:
        raise AttributeError(f"module 'actkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
