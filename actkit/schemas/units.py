"""Columns of tables, and in what each counts or measures: columns of equal names measure alike, in whatever table."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: `type` None is the vector type, which depends on the run (see `vector_type`)."""

    name: str
    type: pa.DataType | None
    meaning: str


TOKENS, CHARACTERS = "tokens", "Unicode characters"
POSITION = "tokens from the sequence's first, 0-based"
MODEL = "as the model computes it"
FEATURE = "as the SAE encodes it"
SHARE, AUROC, COSINE = "share, 0 to 1", "AUROC, 0 to 1; 0.5 is chance", "cosine, -1 to 1"
CORRELATION, PROBABILITY = "correlation, -1 to 1", "probability, 0 to 1"
NATS, NATS_A_TOKEN = "nats", "nats per token"
DEVIATIONS = "pooled standard deviations"

_COLUMNS: Mapping[str, str] = {
    TOKENS: (
        "n_tokens n_truncated n_kept n_special_in_text n_unknown chosen_length rejected_length n_positions "
        "chosen_response_positions rejected_response_positions"
    ),
    POSITION: (
        "position start response_start feature_positions chosen_divergence rejected_divergence chosen_response_start "
        "rejected_response_start"
    ),
    CHARACTERS: "char_offset char_start char_end",
    "lines of the source, 1-based": "line",
    "blocks of the model, 0-based": "layer",
    MODEL: (
        "mean_norm divergence_diff_norm response_diff_norm diff_norm norm value unit_norm sink_norm direction vector"
    ),
    FEATURE: "feature_activations mean_positive mean_negative activation_strength",
    SHARE: (
        "density active_rate_positive active_rate_negative accuracy_train accuracy_heldout accuracy_heldout_low "
        "accuracy_heldout_high pair_accuracy opposite share_right anti_steerable"
    ),
    AUROC: (
        "auroc auroc_low auroc_high auroc_heldout auroc_heldout_low auroc_heldout_high auroc_length_adjusted "
        "auroc_within_group auroc_train auroc_validation auroc_transfer auroc_transfer_validation auroc_length_only "
        "choice_score choice_error shuffled_low shuffled_high random_low random_high"
    ),
    COSINE: (
        "cosine divergence_cosine response_cosine pairwise_cosine split_half_cosine cosine_mean_diff cosine_pca "
        "cosine_logistic"
    ),
    CORRELATION: "correlation spearman_length",
    PROBABILITY: "p_value p_largest",
    "false-discovery rate, 0 to 1": "q_value",
    "share of the activations' mean norm": "relative_norm",
    DEVIATIONS: "cohens_d cohens_d_validation",
    NATS: "logprob words_positive words_negative",
    NATS_A_TOKEN: (
        "kl delta_nll delta_nll_low delta_nll_high effect low high effect_minus_control control_low control_high "
        "delta_positive delta_negative"
    ),
    "nats per token, per unit of strength": "slope slope_low slope_high",
    "the difference measured at the layer; of project-out a share": "strength",
    "pairs": "n_pairs n_train n_heldout",
    "prompts or texts": "n",
    "stems": "n_stems",
    "controls": "n_controls",
}
"""Unit → the columns that have it, in whatever table."""
UNITS: Mapping[str, str] = {name: unit for unit, names in _COLUMNS.items() for name in names.split()}
BY_TABLE: Mapping[tuple[str, str], str] = {
    ("activations", "activation"): MODEL,
    ("pooled_activations", "activation"): MODEL,
    ("feature_positions", "activation"): FEATURE,
    ("features", "n_active"): "features",
    ("logprobs", "kl"): NATS,
    ("feature_stats", "n_active"): TOKENS,
    ("feature_scores", "n_active"): "texts",
    ("feature_stats", "mean"): FEATURE,
    ("feature_stats", "max"): FEATURE,
    **{("layer_stats", name): MODEL for name in ("mean", "std", "min", "max")},
    **{("pair_stats", name): "of the measure in the same row" for name in ("mean", "std", "min", "max", "median")},
}
"""Columns whose unit depends on the table."""


def unit_of(table: str, column: str) -> str:
    """The unit; empty for names, texts, ids, flags and what has none."""
    return BY_TABLE.get((table, column)) or UNITS.get(column, "")
