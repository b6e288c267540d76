"""Tables of contrast pairs and of the directions found in them."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

TABLES["contrasts"] = (
    Column("record_id", pa.int64(), "0-based index of the pair"),
    Column("template", pa.string(), "the pair's wording; null where there is one only"),
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("diff_norm", pa.float64(), "norm of positive - negative"),
    Column("cosine", pa.float64(), "cosine of the two; null for a zero vector"),
)
TABLES["directions"] = (
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("method", pa.string(), "mean-diff, pca or logistic"),
    Column("direction", pa.list_(pa.float32()), "unit vector from negative to positive, fitted on training pairs"),
    Column("norm", pa.float64(), "length before it was made a unit vector; null for logistic"),
    Column("relative_norm", pa.float64(), "norm as a share of the mean norm of the activations there"),
)
TABLES["direction_scores"] = (
    Column("layer", pa.int32(), "0-based"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("method", pa.string(), "mean-diff, pca or logistic"),
    Column("n_pairs", pa.int64(), "pairs in all"),
    Column("n_train", pa.int64(), "pairs that the direction was fitted to"),
    Column("n_heldout", pa.int64(), "test pairs, which chose nothing; they are what held out means"),
    Column("relative_norm", pa.float64(), "the direction's norm as a share of the activations' mean norm"),
    Column(
        "auroc_train",
        pa.float64(),
        "chance that a positive text projects higher; training pairs",
    ),
    Column("auroc_validation", pa.float64(), "of the validation pairs, which choose the layer"),
    Column(
        "choice_score",
        pa.float64(),
        "what chooses the layer: mean of auroc_validation and, where there is one, auroc_transfer_validation",
    ),
    Column(
        "choice_error",
        pa.float64(),
        "standard error of auroc_validation, of a perfect one too; the earliest layer this near the best is chosen",
    ),
    Column("auroc_heldout", pa.float64(), "of the test pairs"),
    Column(
        "auroc_heldout_low",
        pa.float64(),
        "lower end of its 95 % interval, clustered by stem, with Student's quantile",
    ),
    Column("auroc_heldout_high", pa.float64(), "upper end"),
    Column("accuracy_train", pa.float64(), "share of texts on their side of the midpoint of the training means"),
    Column("accuracy_heldout", pa.float64(), "of the test pairs"),
    Column("accuracy_heldout_low", pa.float64(), "lower end of its 95 % interval (Wilson, clustered by stem)"),
    Column("accuracy_heldout_high", pa.float64(), "upper end"),
    Column("pair_accuracy", pa.float64(), "share of test pairs whose positive text projects higher; ties half"),
    Column("opposite", pa.float64(), "share of test pairs whose difference points the other way"),
    Column("cohens_d", pa.float64(), "difference of the test means along it, in pooled standard deviations"),
    Column("cohens_d_validation", pa.float64(), "of the validation pairs"),
    Column(
        "auroc_transfer",
        pa.float64(),
        "AUROC on test stems in other templates than the one fitted to; mean",
    ),
    Column("auroc_transfer_validation", pa.float64(), "likewise on validation stems"),
    Column(
        "spearman_length",
        pa.float64(),
        "Spearman's correlation of a test text's projection with its number of tokens",
    ),
    Column(
        "auroc_length_adjusted",
        pa.float64(),
        "auroc_heldout within texts of about equal length only; null where too few are",
    ),
    Column("auroc_length_only", pa.float64(), "AUROC of the test texts' numbers of tokens alone; 0.5 is chance"),
    Column("pairwise_cosine", pa.float64(), "mean cosine of two pairs' differences"),
    Column("split_half_cosine", pa.float64(), "mean cosine of the directions of two halves of the training stems"),
    Column(
        "shuffled_low",
        pa.float64(),
        "lower end of its 95 % band when the sides are exchanged at random",
    ),
    Column("shuffled_high", pa.float64(), "upper end"),
    Column("random_low", pa.float64(), "lower end of the held-out AUROC's 95 % band of random directions"),
    Column("random_high", pa.float64(), "upper end"),
    Column("cosine_mean_diff", pa.float64(), "cosine with the direction of that method"),
    Column("cosine_pca", pa.float64(), "likewise"),
    Column("cosine_logistic", pa.float64(), "likewise"),
)
TABLES["projections"] = (
    Column("sequence_id", pa.int64(), "the sequence that computed the position"),
    Column("position", pa.int64(), "0-based, without padding"),
    Column("layer", pa.int32(), "0-based; the one that the concept run chose for the method"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("method", pa.string(), "mean-diff, pca or logistic"),
    Column("value", pa.float64(), "the stored vector times the unit direction"),
)
TABLES["direction_features"] = (
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
    Column("layer", pa.int32(), "0-based; the SAE's own"),
    Column("hook_point", pa.string(), "TransformerLens name"),
    Column("method", pa.string(), "which direction"),
    Column("rank", pa.int64(), "1-based, by cosine, largest first"),
    Column("feature_id", pa.int32(), "0-based"),
    Column("cosine", pa.float64(), "of the feature's decoder row with the direction"),
    Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
)
