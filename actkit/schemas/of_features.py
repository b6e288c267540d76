"""Tables of SAE features."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

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
CO_ACTIVE = pa.list_(pa.struct([("feature_id", pa.int32()), ("share", pa.float64()), ("lift", pa.float64())]))
"""Features active where one is: on what share of its tokens, and how many times as often as anywhere."""

TABLES["features"] = (
    Column("sequence_id", pa.int64(), "the sequence that computed the position"),
    Column("position", pa.int64(), "0-based, without padding"),
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name; rows of one SAE form row groups"),
    Column("feature_ids", pa.list_(pa.int32()), "by activation, largest first; equal ones by id; never padded"),
    Column("feature_activations", pa.list_(pa.float32()), "of those features, all above zero"),
    Column("n_active", pa.int32(), "active features in all, before the cut to top_k or a threshold"),
)
TABLES["feature_positions"] = (
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name; a row group is of one SAE"),
    Column("feature_id", pa.int32(), "0-based; rows are in order of it, then of sequence and position"),
    Column("sequence_id", pa.int64(), "the sequence that computed the position"),
    Column("position", pa.int32(), "0-based, without padding; special tokens included"),
    Column("activation", pa.float32(), "as in `features`, of which this is the other order"),
)
TABLES["pooled_features"] = (
    Column("sequence_id", pa.int64(), "the text"),
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name; rows of one SAE form row groups"),
    Column("feature_ids", pa.list_(pa.int32()), "all that are active in the text, strongest first"),
    Column("feature_activations", pa.list_(pa.float32()), "pooled over the text's tokens, special ones left out"),
    Column("feature_positions", pa.list_(pa.int32()), "where each is strongest"),
)
TABLES["feature_stats"] = (
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
    Column("feature_id", pa.int32(), "0-based"),
    Column("n_active", pa.int64(), "tokens whose row in `features` has it; special tokens are not counted"),
    Column("density", pa.float64(), "n_active as a share of the tokens that are not special"),
    Column("mean", pa.float64(), "mean activation over those tokens; null if there are none"),
    Column("max", pa.float64(), "largest activation; null if there is none"),
    Column("histogram", pa.list_(pa.int64()), "activations in 40 equal bins between 0 and max"),
    Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
    Column(
        "contexts",
        CONTEXTS,
        "where it is strongest, strongest first: its best token in each of up to 20 sequences, no two of equal text",
    ),
    Column(
        "quantile_contexts",
        pa.list_(CONTEXTS),
        "25 of its tokens at random in five lists, the weakest fifth of them first",
    ),
    Column(
        "co_active",
        CO_ACTIVE,
        "the 8 features most often active where it is, over up to 16,384 tokens at random; null for fewer than 10",
    ),
)
TOKEN_LOGITS = pa.list_(pa.struct([("token_id", pa.int32()), ("token", pa.string()), ("logit", pa.float32())]))
"""Tokens that a feature's decoder row raises or lowers most."""
TABLES["feature_logits"] = (
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
    Column("feature_id", pa.int32(), "0-based; a feature that is active nowhere in the run has no row"),
    Column("top", TOKEN_LOGITS, "10 tokens with the largest unit decoder row · unembedding, largest first"),
    Column("bottom", TOKEN_LOGITS, "10 tokens with the smallest, smallest first"),
    Column(
        "norm_folded", pa.bool_(), "whether the final norm's weight was multiplied in; its division by size never is"
    ),
)
TABLES["feature_scores"] = (
    Column("rank", pa.int64(), "1-based, by AUROC, largest first, over all SAEs of the run"),
    Column("sae", pa.string(), "release/sae_id, or the SAE directory's name"),
    Column("feature_id", pa.int32(), "0-based; features that are active in no discovery text have no row"),
    Column("n_active", pa.int64(), "discovery texts in which it is active"),
    Column("active_rate_positive", pa.float64(), "share of the positive discovery texts, by weight, that activate it"),
    Column("active_rate_negative", pa.float64(), "share of the negative ones"),
    Column("mean_positive", pa.float64(), "mean pooled activation of the positive discovery texts, zeros included"),
    Column("mean_negative", pa.float64(), "of the negative ones"),
    Column("activation_strength", pa.float64(), "mean pooled activation of the texts in which it is active"),
    Column("correlation", pa.float64(), "Pearson's, of pooled activation and label, +1 or -1"),
    Column("auroc", pa.float64(), "chance that a positive text has more of it than a negative one; ties half"),
    Column("auroc_low", pa.float64(), "lower end of its 95 % interval"),
    Column("auroc_high", pa.float64(), "upper end"),
    Column(
        "p_value",
        pa.float64(),
        "two-sided: twice the smaller tail, at most 1; null where no text that has it can get another label",
    ),
    Column("p_method", pa.string(), "exact, limit (three moments) or draws; empty without a p"),
    Column("q_value", pa.float64(), "Benjamini-Hochberg, over all rows of this table that have a p"),
    Column("p_largest", pa.float64(), "how often the SAE's best feature is as far off 0.5 by chance"),
    Column("auroc_heldout", pa.float64(), "AUROC in the held-out texts, which chose nothing; null without them"),
    Column("auroc_heldout_low", pa.float64(), "lower end of its 95 % interval"),
    Column("auroc_heldout_high", pa.float64(), "upper end"),
    Column("heldout_agrees", pa.bool_(), "whether it lies on the same side of 0.5 there; not where either is 0.5"),
    Column(
        "auroc_length_adjusted",
        pa.float64(),
        "AUROC within texts of about equal length only; null where too few are",
    ),
    Column("auroc_within_group", pa.float64(), "AUROC within groups only; null unless labels are exchanged in them"),
    Column(
        "responds_to",
        pa.string(),
        "positive or negative, where all evidence agrees: q, p_largest, held out, adjusted for length; else null",
    ),
    Column(
        "passes_thresholds",
        pa.bool_(),
        "mean activation and correlation (of its own side) are at least the thresholds, by default 0.5 and 0.6",
    ),
    Column("url", pa.string(), "the feature's page on Neuronpedia; null where the SAE has none"),
    Column("contexts", CONTEXTS, "the three texts where it is strongest; of the 100 features at either end"),
)
