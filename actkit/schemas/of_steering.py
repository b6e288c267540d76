"""Tables of `steer`: interventions, their outcomes text by text, and effects."""

import pyarrow as pa

from actkit.schemas.units import Column

TABLES: dict[str, tuple[Column, ...]] = {}
"""Name → columns."""

TABLES["steered_texts"] = (
    Column("record_id", pa.int64(), "0-based index of the record"),
    Column("split", pa.string(), "validation (chooses), test (is reported) or neutral (says what it costs)"),
    Column("stem", pa.string(), "what belongs together: intervals are clustered by it"),
    Column("template", pa.string(), "wording under which the model gave the answers; null where they were given"),
    Column("prompt", pa.string(), "what is answered; null where a text stands alone"),
    Column("positive", pa.string(), "the answer that counts as positive; null where there is none"),
    Column("negative", pa.string(), "the other one"),
    Column("text", pa.string(), "a text that stands alone"),
)
TABLES["logprobs"] = (
    Column("sequence_id", pa.int64(), "the answer or text"),
    Column("intervention_id", pa.int32(), "what the model was under; 0 is the model as it is"),
    Column("n_tokens", pa.int64(), "tokens of the answer, or of the text after its first"),
    Column("logprob", pa.float64(), "nats, sum over those tokens, teacher-forced"),
    Column("kl", pa.float64(), "nats, sum over tokens: KL of the next token from the unsteered; neutral texts only"),
    Column("words_positive", pa.float64(), "nats, log-probability that a positive word follows; null without --words"),
    Column("words_negative", pa.float64(), "likewise, of the negative words"),
)
TABLES["interventions"] = (
    Column("intervention_id", pa.int32(), "0 is the model as it is; one row a hook point that is changed"),
    Column("do", pa.string(), "none, add, project-out, zero or clamp"),
    Column("hook_point", pa.string(), "TransformerLens name; null for 0"),
    Column("layer", pa.int32(), "0-based; null for 0"),
    Column("source", pa.string(), "the direction's method, features, gaussian, exchanged or matched; null for 0"),
    Column("is_control", pa.bool_(), "whether it only says what chance does"),
    Column("control_group", pa.int32(), "an intervention is compared with the controls of the same number"),
    Column("feature_ids", pa.list_(pa.int32()), "features that are changed; null for directions"),
    Column("sae", pa.string(), "whose features; null for directions"),
    Column("strength", pa.float64(), "1 adds the difference that was measured; of project-out, the share taken out"),
    Column("values", pa.list_(pa.float64()), "what features are set to or raised by; null for directions"),
    Column("unit_norm", pa.float64(), "length of what strength 1 adds; null where that depends on the text"),
    Column("expected", pa.int32(), "1 where it should favour the positive answers, -1 the negative ones"),
    Column("positions", pa.string(), "all, prompt or response; the first token and special ones never"),
    Column("seed", pa.int64(), "of the random ones; null for others"),
    Column("sink_norm", pa.float64(), "longer vectors, attention sinks, are left as they are; null where unknown"),
    Column("vector", pa.list_(pa.float32()), "[d_model] of length 1; null where features alone are changed"),
)
TABLES["effects"] = (
    Column("intervention_id", pa.int32(), "see interventions"),
    Column("do", pa.string(), "as there"),
    Column("layer", pa.int32(), "as there; the lowest of several"),
    Column("source", pa.string(), "as there"),
    Column("strength", pa.float64(), "as there"),
    Column("is_control", pa.bool_(), "as there"),
    Column("metric", pa.string(), "answers, words or texts"),
    Column("split", pa.string(), "validation or test"),
    Column("chosen", pa.bool_(), "whether layer and strength were chosen on the validation split"),
    Column("n", pa.int64(), "prompts, or texts"),
    Column("n_stems", pa.int64(), "clusters"),
    Column("effect", pa.float64(), "nats a token: change of log P(positive) - log P(negative), mean over prompts"),
    Column("low", pa.float64(), "lower end of its 95 % interval, clustered by stem"),
    Column("high", pa.float64(), "upper end"),
    Column("effect_minus_control", pa.float64(), "effect less the mean effect of its controls"),
    Column("control_low", pa.float64(), "lower end of the middle 95 % of its controls' effects"),
    Column("control_high", pa.float64(), "upper end"),
    Column("n_controls", pa.int64(), "controls"),
    Column("p_value", pa.float64(), "(1 + controls whose |effect| is as large) / (1 + controls)"),
    Column("q_value", pa.float64(), "Benjamini-Hochberg, over the split's interventions that are no controls"),
    Column("delta_positive", pa.float64(), "nats a token, change of the positive answers' log-probability alone"),
    Column("delta_negative", pa.float64(), "of the negative ones'"),
    Column("share_right", pa.float64(), "share of prompts that moved as expected"),
    Column("slope", pa.float64(), "effect by strength, mean over prompts of each one's least-squares slope"),
    Column("slope_low", pa.float64(), "lower end of its 95 % interval"),
    Column("slope_high", pa.float64(), "upper end"),
    Column("anti_steerable", pa.float64(), "share of prompts whose slope has not the expected sign (+ where none is)"),
    Column(
        "kl",
        pa.float64(),
        "nats a token, over all tokens of neutral texts: KL from the unsteered",
    ),
    Column("delta_nll", pa.float64(), "nats a token by which neutral texts become less likely, mean over texts: cost"),
    Column("delta_nll_low", pa.float64(), "lower end of its 95 % interval"),
    Column("delta_nll_high", pa.float64(), "upper end"),
    Column("within_budget", pa.bool_(), "whether the cost is within --budget"),
)
TABLES["effect_samples"] = (
    Column("intervention_id", pa.int32(), "see interventions"),
    Column("record_id", pa.int64(), "the prompt, or text: see steered_texts"),
    Column("split", pa.string(), "validation, test or neutral"),
    Column("metric", pa.string(), "answers, words or texts; cost for neutral texts, where effect is the change of NLL"),
    Column("effect", pa.float64(), "nats a token"),
    Column("delta_positive", pa.float64(), "nats a token, change of the positive side's log-probability"),
    Column("delta_negative", pa.float64(), "of the negative side's"),
)
