"""The tables of `concept` over a run of contrast pairs: differences, directions, and the evidence for them."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.concepts.contrast import Pairs, Sides, read_pairs, read_sides
from actkit.analysis.concepts.contrast_tables import contrast_rows, contrast_stats
from actkit.analysis.concepts.direction_scores import Background, Evidence, score
from actkit.analysis.concepts.directions import (
    FEWEST_STEMS,
    METHODS,
    Direction,
    Split,
    cosines_between_methods,
    direction,
    split_pairs,
)
from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import hook_points_of
from actkit.schemas import arrow_schema

SHOWN = "mean-diff"


def concept_tables(run: Path, last_only: bool, seed: int, report: dict[str, Any]) -> Iterator[tuple[str, pa.Table]]:
    """The tables, hook point by hook point; `report` gets what holds for the run as a whole.

    The vectors of one hook point at a time, where they are many in a temporary file in `run`. Raises WriteError where
    the disk is full.
    """
    pairs = read_pairs(run)
    split = split_pairs(pairs.stems, seed)
    rows: list[dict[str, Any]] = []
    stats: list[dict[str, Any]] = []
    for hook_point in hook_points_of(run):
        with Spill(run) as file:
            sides = read_sides(run, pairs, hook_point, last_only, file)
            contrasts, size = contrast_rows(pairs, sides)
            stats += contrast_stats(contrasts)
            yield "contrasts", contrasts
            del contrasts
            fit = sides.pairs if split is None else sides.pairs.where(split.train)
            if len(fit.stems) < 2:
                continue
            found = {method: direction(method, fit) for method in METHODS}
            yield "directions", _directions(found, sides, size)
            rows += _scores(found, split, sides, size, seed)
    yield "pair_stats", pa.Table.from_pylist(stats, schema=arrow_schema("pair_stats"))
    yield "direction_scores", pa.Table.from_pylist(rows, schema=arrow_schema("direction_scores"))
    report.update(_report(rows, split, pairs))


def choose(rows: list[dict[str, Any]], method: str) -> dict[str, Any] | None:
    """The row of the layer at which a method does best on the validation pairs; it is reported on the test pairs.

    By AUROC, then by Cohen's d, since easy contrasts reach an AUROC of 1 in many layers; then the earlier layer.
    """
    known = [row for row in rows if row["method"] == method and row["auroc_validation"] is not None]
    return max(known, key=lambda row: (row["auroc_validation"], row["cohens_d_validation"] or 0), default=None)


def _directions(found: dict[str, Direction], sides: Sides, size: float) -> pa.Table:
    rows = [
        {
            "layer": sides.layer,
            "hook_point": sides.hook_point,
            "method": method,
            "direction": one.unit.astype(np.float32),
            "norm": _known(one.norm),
            "relative_norm": _known(one.norm / size if size else np.nan),
        }
        for method, one in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("directions"))


def _scores(
    found: dict[str, Direction], split: Split | None, sides: Sides, size: float, seed: int
) -> list[dict[str, Any]]:
    cosines = cosines_between_methods(found)
    evidence: dict[str, dict[str, float]] = {method: {} for method in found}
    if split is not None:
        background = Background.of(sides.pairs, split, seed)
        evidence = {name: asdict(score(name, one, sides.pairs, split, seed, background)) for name, one in found.items()}
    rows = []
    for method, one in found.items():
        others = {f"cosine_{other}".replace("-", "_"): _cosine(cosines, method, other) for other in METHODS}
        rows.append(
            {
                "layer": sides.layer,
                "hook_point": sides.hook_point,
                "method": method,
                "n_pairs": len(sides.pairs.stems),
                "n_train": int(split.train.sum()) if split else len(sides.pairs.stems),
                "n_heldout": int(split.test.sum()) if split else 0,
                "relative_norm": _known(one.norm / size if size else np.nan),
                **{name: _known(evidence[method].get(name, np.nan)) for name in Evidence.__dataclass_fields__},
                **others,
            }
        )
    return rows


def _cosine(cosines: dict[tuple[str, str], float], one: str, other: str) -> float:
    return 1.0 if one == other else cosines.get((one, other), cosines.get((other, one), np.nan))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _report(rows: list[dict[str, Any]], split: Split | None, pairs: Pairs) -> dict[str, Any]:
    best = {method: choose(rows, method) for method in METHODS}
    chosen = best[SHOWN]
    warnings = []
    if split is None:
        warnings.append(
            f"{pairs.n_stems} stems are too few to hold pairs out (it takes {FEWEST_STEMS}): whether these directions "
            "hold for others is unknown"
        )
    elif chosen is not None:
        low, high = chosen["auroc_heldout_low"], chosen["auroc_heldout_high"]
        if low is not None and low <= 0.5 <= high:
            warnings.append("even the chosen layer does not tell the held-out sides apart (its interval holds 0.5)")
        elif high is not None and high < 0.5:
            warnings.append("at the chosen layer the direction points the other way on the held-out pairs")
        transfer = chosen["auroc_transfer"]
        if transfer is not None and transfer < 0.6 <= chosen["auroc_heldout"]:
            warnings.append("the direction does not carry over to other templates: it may be the wording's alone")
    if pairs.n_joined:
        warnings.append(
            f"{pairs.n_joined} stems have a text in common with another: they are counted as one with it, so that no "
            "text is fitted on and held out too"
        )
    if len(pairs.template_names) < 2:
        warnings.append("there is one template, so that wording and concept cannot be told apart")
    return {
        "n_pairs": len(pairs.stems),
        "n_stems": pairs.n_stems,
        "templates": list(pairs.template_names),
        "split": None if split is None else {name: int(part.sum()) for name, part in vars(split).items()},
        "method": SHOWN,
        "chosen": {method: row for method, row in best.items() if row is not None},
        "warnings": warnings,
    }
