"""`reward_features.json`: the first features of the ranking, the statistics of the test, and warnings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.analysis.feature_tests.labelled import left_of_length
from actkit.runs.reader import table_of

COLUMNS = (
    *("rank", "sae", "feature_id", "correlation", "activation_strength", "mean_positive", "mean_negative"),
    *("active_rate_positive", "active_rate_negative", "auroc", "auroc_low", "auroc_high", "p_value", "q_value"),
    *("p_largest", "auroc_heldout", "heldout_agrees", "auroc_length_adjusted", "responds_to", "passes_thresholds"),
    *("url", "contexts"),
)
"""Columns of `feature_scores` that are in the document."""
RENAMED = {
    "feature_id": "feature_index",
    "correlation": "correlation_score",
    "mean_positive": "positive_activation",
    "mean_negative": "negative_activation",
    "active_rate_positive": "positive_active_rate",
    "active_rate_negative": "negative_active_rate",
}
"""Column → another name that it has in the document."""
LARGE_BY_CHANCE = 0.8
"""Above this best AUROC by chance, even a strong effect cannot be told from chance."""
MANY_REPEATED = 0.05
"""Share of repeated texts above which a caveat says so."""


def reward_features(run: Path, facts: Mapping[str, Any], top_k: int) -> str:
    """Return the document's text; `features` are the first `top_k` of the ranking.

    `reward_features` are those of them that respond to positive feedback by all evidence: see `feature_scores`.
    """
    rows = table_of(run, "feature_scores", list(COLUMNS)).slice(0, top_k).to_pylist()
    # `feature_idx` is the name that readers of the older script's file look for.
    head = [{"feature_idx": row["feature_id"], **{RENAMED.get(name, name): row[name] for name in row}} for row in rows]
    document = {
        "configuration": facts["options"],
        "model": {key: facts["model"][key] for key in ("name", "revision", "dtype")},
        "saes": [{key: sae[key] for key in ("name", "hook_point", "d_sae")} for sae in facts["saes"]],
        "statistics": facts["scores"],
        "warnings": [*facts["warnings"], *caveats(facts["scores"])],
        "reward_features": [row for row in head if row["responds_to"] == "positive"],
        "features": head,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def too_small(scores: Mapping[str, Any]) -> str | None:
    """Return a sentence on a sample that is too small for a ranking; None where it may be large enough."""
    chance = max((sae["largest_auroc_by_chance"]["q95"] for sae in scores["saes"]), default=0.5)
    if chance <= LARGE_BY_CHANCE:
        return None
    return (
        "the sample is too small to tell: by chance alone the best of its features reaches an AUROC of "
        f"{chance:.2f} in one run of twenty"
    )


def caveats(scores: Mapping[str, Any]) -> list[str]:
    """Sentences that a reader must know before believing the ranking."""
    found = scores["found"]
    said = ["an association with feedback is no cause of it"]
    if not any(found["significant"].values()):
        said.append(f"no feature responds to feedback at a false-discovery rate of {found['q']:g}")
    elif not any(found["respond_to"].values()):
        said.append(
            f"features respond to feedback at q ≤ {found['q']:g}, and none by all of the evidence (beyond the best of "
            "chance, held out, length)"
        )
    said += filter(None, [too_small(scores)])
    return said + _about_data(scores["data"]) + _about_length(scores["length_only"])


def _about_data(data: Mapping[str, Any]) -> list[str]:
    said, n = [], data["positive"] + data["negative"]
    if data["held_out"] is None:
        why = "too few texts to hold some out, or too few that differ" if data["share_to_hold_out"] else ""
        said.append(f"{why or 'nothing was held out'}: no feature was checked on texts that did not choose it")
    if data["repeated"] > MANY_REPEATED * n:
        said.append(
            f"{data['repeated']:,} of {n:,} texts repeat another word for word: those without a group count together, "
            "and those in several groups as samples of their own, for which p and q may be too small"
        )
    return said


def _about_length(length: Mapping[str, Any]) -> list[str]:
    found, left = length["all"], length["within_strata"]
    if found["low"] <= 0.5 <= found["high"]:
        return []
    says = f"length alone separates the classes with AUROC {found['value']:.2f} over all texts (0.5 is chance)"
    if left is None:
        return [f"{says}, and no texts of both labels are of about equal length: no feature is said to respond"]
    said = [f"{says}: read auroc_length_adjusted"]
    if left_of_length(length):
        said.append(
            f"length alone still has AUROC {left:.2f} among texts of about equal length: what responds is further from "
            "0.5 there"
        )
    return said
