"""Describe the labelled texts as a sample: how many, how many repeat, and what their length alone tells."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from actkit.analysis.feature_tests.labelled import Bools, Texts
from actkit.analysis.length import LEFT, LengthCheck


def about_texts(every: Texts, texts: Texts, held: Bools | None) -> dict[str, Any]:
    """Count the texts of each label and part; `texts` are `every` one but those no evidence comes from."""
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
    """The AUROC of the number of tokens alone.

    In all texts, in the held-out ones, and in the strata of length of the discovery part: what `auroc_length_adjusted`
    leaves of it.
    """
    every, own = _check(texts), _check(discovery)
    within = own.adjusted(discovery.lengths.astype(np.float64))
    found: dict[str, Any] = {"all": asdict(every.only), "within_strata": None if np.isnan(within) else within}
    if held is not None:
        found["held_out"] = asdict(_check(texts.where(held)).only)
    return found


def left_of_length(found: Mapping[str, Any]) -> float:
    """The distance from 0.5 of the AUROC of length among texts of about equal length.

    It matters where length tells labels apart at all.

    Zero where that is no more than `LEFT`; 0.5, which nothing is beyond, where no text of one label is about as long as
    one of the other. `found` is what `length_only` gives.
    """
    every, within = found["all"], found["within_strata"]
    if every["low"] <= 0.5 <= every["high"]:
        return 0.0
    off = 0.5 if within is None else abs(float(within) - 0.5)
    return off if off > LEFT else 0.0


def _check(texts: Texts) -> LengthCheck:
    return LengthCheck.of(texts.lengths, texts.positive, texts.groups if texts.grouped else None)
