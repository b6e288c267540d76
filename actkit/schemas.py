"""Every Parquet table, column by column; the meanings are what README and `actkit show` print."""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 2
"""Raised when a column changes its name or meaning; added columns do not raise it."""


@dataclass(frozen=True)
class Column:
    """One column: `type` None is the vector type, which depends on the run (see `vector_type`)."""

    name: str
    type: pa.DataType | None
    meaning: str


CONTEXTS = pa.list_(
    pa.struct(
        [
            ("sequence_id", pa.int64()),
            ("position", pa.int64()),
            ("activation", pa.float32()),
            ("before", pa.string()),
            ("token", pa.string()),
            ("after", pa.string()),
        ]
    )
)
"""A feature's strongest tokens: where each is, and the text around it."""

TABLES: dict[str, tuple[Column, ...]] = {
    "sequences": (
        Column("sequence_id", pa.int64(), "0-based number of the sequence in this run"),
        Column("record_id", pa.int64(), "0-based index of the input record, bad records counted"),
        Column("source", pa.string(), "file that the record came from"),
        Column("line", pa.int64(), "1-based line at which the record begins; null where the format has none"),
        Column("side", pa.string(), "shared, chosen or rejected in pairs; null elsewhere"),
        Column("parent_id", pa.int64(), "sequence_id of the sequence that this one continues; null for a whole one"),
        Column("start", pa.int64(), "first position of its own: earlier ones are the parent's"),
        Column("n_tokens", pa.int64(), "tokens in all, the parent's included: positions run from 0 to n_tokens - 1"),
        Column("n_truncated", pa.int64(), "tokens cut off the end to fit the maximum length"),
        Column("response_start", pa.int64(), "first position of the response; null where there is none"),
        Column("group", pa.string(), "what belongs together, such as a question's id; null where there is none"),
        Column("label", pa.string(), "the record's label, such as a template's name; null where there is none"),
        Column("template", pa.string(), "the wording around the record's own text; null where there is one only"),
        Column("score", pa.float64(), "the record's weight in means and correlation; null where it has none"),
        Column("n_kept", pa.int64(), "positions that are read, special tokens not counted"),
        Column("chunk", pa.int64(), "0-based number of this piece of a document; null where documents are not cut"),
        Column("char_offset", pa.int64(), "where in the document `text` begins, in characters; 0 for whole ones"),
        Column("boundary_merged", pa.bool_(), "the token at response_start also holds text before the response"),
        Column(
            "n_special_in_text", pa.int64(), "special tokens typed inside the text, where they act as control tokens"
        ),
        Column(
            "text",
            pa.string(),
            "exactly what was tokenized, a chat template's markers included; U+FFFD for a character in part",
        ),
    ),
    "tokens": (
        Column("sequence_id", pa.int64(), "the sequence that computed the position"),
        Column("position", pa.int64(), "0-based, without padding"),
        Column("token_id", pa.int32(), "id in the model's vocabulary"),
        Column("token", pa.string(), "the token alone as text; part of a character shows as U+FFFD"),
        Column("char_start", pa.int64(), "first character in the document; less char_offset, in the sequence's text"),
        Column("char_end", pa.int64(), "one past the last character; tokens may share a character"),
        Column("role", pa.string(), "role in a chat; prompt or response of plain texts; template for markers; or null"),
        Column("is_special", pa.bool_(), "BOS, role markers and the like"),
    ),
    "activations": (
        Column("sequence_id", pa.int64(), "the sequence that computed the position"),
        Column("position", pa.int64(), "0-based, without padding"),
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name; rows of one hook point form row groups of their own"),
        Column("activation", None, "the vector; [n_heads, position + 1] flattened for attention patterns"),
    ),
    "features": (
        Column("sequence_id", pa.int64(), "the sequence that computed the position"),
        Column("position", pa.int64(), "0-based, without padding"),
        Column("sae", pa.string(), "release/sae_id, or the SAE directory's name; rows of one SAE form row groups"),
        Column("feature_ids", pa.list_(pa.int32()), "by activation, largest first; equal ones by id; never padded"),
        Column("feature_activations", pa.list_(pa.float32()), "of those features, all above zero"),
        Column("n_active", pa.int32(), "active features in all, before the cut to top_k or a threshold"),
    ),
    "pooled_features": (
        Column("sequence_id", pa.int64(), "the text"),
        Column("sae", pa.string(), "release/sae_id, or the SAE directory's name; rows of one SAE form row groups"),
        Column("feature_ids", pa.list_(pa.int32()), "all that are active in the text, strongest first"),
        Column("feature_activations", pa.list_(pa.float32()), "pooled over the text's tokens, special ones left out"),
        Column("feature_positions", pa.list_(pa.int32()), "where each is strongest"),
    ),
    "pooled_activations": (
        Column("sequence_id", pa.int64(), "the text"),
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column(
            "activation",
            pa.list_(pa.float32()),
            "mean vector of the text's tokens, special ones left out; with `--pool last` the last one",
        ),
    ),
    "feature_stats": (
        Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
        Column("feature_id", pa.int32(), "0-based"),
        Column("n_active", pa.int64(), "tokens whose row in `features` has it; special tokens are not counted"),
        Column("density", pa.float64(), "n_active as a share of the tokens that are not special"),
        Column("mean", pa.float64(), "mean activation over those tokens; null if there are none"),
        Column("max", pa.float64(), "largest activation; null if there is none"),
        Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
        Column("contexts", CONTEXTS, "where it is strongest, strongest first: its best token in each of 20 sequences"),
    ),
    "feature_scores": (
        Column("rank", pa.int64(), "1-based, by AUROC, largest first, over all SAEs of the run"),
        Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
        Column("feature_id", pa.int32(), "0-based; features that are active in no discovery text have no row"),
        Column("n_active", pa.int64(), "discovery texts in which it is active"),
        Column("active_rate_positive", pa.float64(), "share of the positive discovery texts in which it is active"),
        Column("active_rate_negative", pa.float64(), "share of the negative ones"),
        Column("mean_positive", pa.float64(), "mean pooled activation of the positive discovery texts, zeros included"),
        Column("mean_negative", pa.float64(), "of the negative ones"),
        Column("activation_strength", pa.float64(), "mean pooled activation of the texts in which it is active"),
        Column("correlation", pa.float64(), "Pearson's, of pooled activation and label, +1 or -1"),
        Column("auroc", pa.float64(), "chance that a positive text has more of it than a negative one; ties half"),
        Column("auroc_low", pa.float64(), "lower end of its 95 % interval"),
        Column("auroc_high", pa.float64(), "upper end"),
        Column("p_value", pa.float64(), "two-sided, under exchange of labels as the groups allow"),
        Column("p_method", pa.string(), "exact, limit (three moments) or draws"),
        Column("q_value", pa.float64(), "Benjamini-Hochberg, over all rows of this table"),
        Column("p_largest", pa.float64(), "how often the SAE's best feature is as far off 0.5 by chance"),
        Column("auroc_heldout", pa.float64(), "AUROC in the held-out texts, which chose nothing; null without them"),
        Column("auroc_heldout_low", pa.float64(), "lower end of its 95 % interval"),
        Column("auroc_heldout_high", pa.float64(), "upper end"),
        Column("heldout_agrees", pa.bool_(), "whether it lies on the same side of 0.5 there"),
        Column(
            "auroc_length_adjusted",
            pa.float64(),
            "AUROC within texts of about equal length only; null where too few are",
        ),
        Column("auroc_within_group", pa.float64(), "AUROC within groups only; null where no group has both labels"),
        Column("survives", pa.bool_(), "responds to positive texts, q small enough, above both thresholds"),
        Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
        Column("contexts", CONTEXTS, "the three texts where it is strongest; of the 100 features at either end"),
    ),
    "layer_stats": (
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("special_tokens", pa.bool_(), "whether special tokens are counted; they can dominate every figure"),
        Column("n_positions", pa.int64(), "positions counted"),
        Column("mean", pa.float64(), "mean over all elements"),
        Column("std", pa.float64(), "standard deviation over all elements (population)"),
        Column("mean_norm", pa.float64(), "mean Euclidean norm of a position's vector"),
        Column("min", pa.float64(), "smallest element"),
        Column("max", pa.float64(), "largest element"),
    ),
    "pairs": (
        Column("record_id", pa.int64(), "0-based index of the input record, bad records counted"),
        Column("status", pa.string(), "ok, identical, chosen_is_prefix, rejected_is_prefix or prompts_differ"),
        Column("chosen_divergence", pa.int64(), "first position whose token differs; null if chosen has no such token"),
        Column("rejected_divergence", pa.int64(), "the same position in rejected; null if rejected has no such token"),
        Column("chosen_length", pa.int64(), "tokens of the whole chosen rendering"),
        Column("rejected_length", pa.int64(), "tokens of the whole rejected rendering"),
        Column("chosen_response_start", pa.int64(), "first position of the chosen response"),
        Column("rejected_response_start", pa.int64(), "first position of the rejected response"),
        Column("prompt_sha256", pa.string(), "of the rendered text before the chosen response"),
        Column("chosen_sha256", pa.string(), "of the chosen response's text"),
        Column("rejected_sha256", pa.string(), "of the rejected response's text"),
    ),
    "pair_diffs": (
        Column("record_id", pa.int64(), "0-based index of the input record"),
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("divergence_diff_norm", pa.float64(), "norm of chosen - rejected at the divergence position"),
        Column("divergence_cosine", pa.float64(), "cosine of the two there; null where a side has no such token"),
        Column(
            "response_diff_norm",
            pa.float64(),
            "norm of the difference of the means over the kept positions of the answer itself",
        ),
        Column(
            "response_cosine",
            pa.float64(),
            "cosine of those means; null where a side has no kept position of its answer",
        ),
        Column("chosen_response_positions", pa.int64(), "positions in the chosen mean"),
        Column("rejected_response_positions", pa.int64(), "positions in the rejected mean"),
    ),
    "pair_stats": (
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("measure", pa.string(), "a numeric column of pair_diffs or of contrasts"),
        Column("n_pairs", pa.int64(), "pairs that have the measure, whatever their status"),
        Column("mean", pa.float64(), "over pairs"),
        Column("std", pa.float64(), "over pairs (sample; null for one pair)"),
        Column("median", pa.float64(), "over pairs"),
        Column("min", pa.float64(), "over pairs"),
        Column("max", pa.float64(), "over pairs"),
    ),
    "contrasts": (
        Column("record_id", pa.int64(), "0-based index of the pair"),
        Column("template", pa.string(), "the pair's wording; null where there is one only"),
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("diff_norm", pa.float64(), "norm of positive - negative"),
        Column("cosine", pa.float64(), "cosine of the two; null for a zero vector"),
    ),
    "directions": (
        Column("layer", pa.int32(), "0-based"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("method", pa.string(), "mean-diff, pca or logistic"),
        Column("direction", pa.list_(pa.float32()), "unit vector from negative to positive, fitted on training pairs"),
        Column("norm", pa.float64(), "length before it was made a unit vector; null for logistic"),
        Column("relative_norm", pa.float64(), "norm as a share of the mean norm of the activations there"),
    ),
    "direction_scores": (
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
    ),
    "direction_features": (
        Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
        Column("layer", pa.int32(), "0-based; the SAE's own"),
        Column("hook_point", pa.string(), "TransformerLens name"),
        Column("method", pa.string(), "which direction"),
        Column("rank", pa.int64(), "1-based, by cosine, largest first"),
        Column("feature_id", pa.int32(), "0-based"),
        Column("cosine", pa.float64(), "of the feature's decoder row with the direction"),
        Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
    ),
    "rejected": (
        Column("record_id", pa.int64(), "0-based index of the input record"),
        Column("source", pa.string(), "file that the record came from"),
        Column("line", pa.int64(), "1-based line; null where the format has none"),
        Column("field", pa.string(), "the part of the record that is at fault, where one can be named"),
        Column("reason", pa.string(), "why it was not used"),
    ),
}


def vector_type(width: int | None, store_dtype: str) -> pa.DataType:
    """The type of `activation`: fixed-size lists where all hook points of a run are equally wide, else plain lists."""
    item = pa.float16() if store_dtype == "float16" else pa.float32()
    return pa.list_(item) if width is None else pa.list_(item, width)


def arrow_schema(table: str, vector: pa.DataType | None = None) -> pa.Schema:
    """The Arrow schema of `table`; `vector` is needed where a column is a vector."""
    return pa.schema(
        [pa.field(column.name, vector if column.type is None else column.type) for column in TABLES[table]]
    )
