"""What is said of the labelled texts as a sample: how many, how many repeat, and what their length alone tells."""

from dataclasses import asdict
from typing import Any

import numpy as np

from actkit.analysis.auroc import auroc, stratified_aurocs
from actkit.analysis.columns import Columns
from actkit.analysis.feature_tests.labelled import Bools, Texts, length_strata
from actkit.runs.reader import Ints


def strata_of(discovery: Texts) -> Ints | None:
    """Classes of about equal length; None where there are too few texts to tell lengths apart."""
    strata = length_strata(discovery.lengths)
    return strata if len(set(strata.tolist())) > 1 or not np.ptp(discovery.lengths) else None


def about_texts(every: Texts, texts: Texts, held: Bools | None) -> dict[str, Any]:
    """How many texts there are of each label and part; `texts` are `every` one but those no evidence comes from."""
    discovery = texts if held is None else texts.where(~held)

    def counted(some: Texts) -> dict[str, int]:
        return {"positive": int(some.positive.sum()), "negative": int((~some.positive).sum())}

    return {
        **counted(every),
        "neutral": every.n_neutral,
        "groups": len(np.unique(every.groups)) if every.grouped else None,
        "repeated": every.repeated,
        "discovery": counted(discovery),
        "held_out": None if held is None else counted(texts.where(held)),
        "also_in_discovery": len(every.positive) - len(texts.positive),
    }


def length_only(texts: Texts, discovery: Texts, held: Bools | None) -> dict[str, Any]:
    """What the number of tokens alone tells of the label.

    In all texts, in the held-out ones, and in the strata of length of the discovery part: what `auroc_length_adjusted`
    leaves of it.
    """
    lengths, strata = discovery.lengths, strata_of(discovery)
    column = Columns(
        len(lengths), np.array([0, len(lengths)]), np.arange(len(lengths), dtype=np.int32), lengths.astype(np.float32)
    )
    within = np.nan if strata is None else float(stratified_aurocs(column, discovery.positive, strata)[0])
    found: dict[str, Any] = {"all": _of_lengths(texts), "within_strata": None if np.isnan(within) else within}
    if held is not None:
        found["held_out"] = _of_lengths(texts.where(held))
    return found


def _of_lengths(texts: Texts) -> dict[str, float]:
    groups = texts.groups if texts.grouped else None
    return asdict(auroc(texts.lengths.astype(np.float64), texts.positive, groups))
