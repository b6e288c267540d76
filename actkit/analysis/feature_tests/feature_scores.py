"""The table `feature_scores`: SAE features ranked by how they tell positive from negative texts, with evidence.

1. Texts are split by group into a discovery and a held-out part. All columns but the held-out ones are computed on the
   discovery part: the texts that select a feature are not those that test it.
2. A text is one sample, whatever its length: each feature has been pooled over its tokens.
3. Features are ranked by AUROC, in which zeros tie. p comes from exchanging labels as groups allow, q from all p.
4. The report compares them with the AUROCs of chance, of length alone and of plain probes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.columns import Bools, Floats
from actkit.analysis.feature_tests.block_statistics import BlockStatistics
from actkit.analysis.feature_tests.column_file import ColumnFile, pooled_columns
from actkit.analysis.feature_tests.labelled import (
    Texts,
    about_texts,
    divided,
    hold_out,
    left_of_length,
    length_only,
    read_texts,
    without_twins,
)
from actkit.analysis.feature_tests.probes import dense_probe, feature_probes
from actkit.analysis.feature_tests.ranking import finished, ranked
from actkit.analysis.permutation.design import design_of
from actkit.analysis.permutation.p_values import Exchange
from actkit.analysis.split_column import with_split
from actkit.errors import RunError


@dataclass(frozen=True)
class ScoredSae:
    """An SAE whose features are scored; `url` returns a feature's page."""

    name: str
    d_sae: int
    hook_point: str
    url: Callable[[int], str | None] = lambda _feature: None


@dataclass(frozen=True)
class ScoreSettings:
    """Settings of the tests."""

    held_out: float = field(default=0.3, metadata={"least": 0, "most": 0.9})
    """Share of the groups that is held out; 0 for none."""
    draws: int = field(default=10_000, metadata={"least": 100})
    """Exchanges of labels for a p that has to be drawn."""
    null_draws: int = field(default=1000, metadata={"least": 1})
    """Exchanges of labels for the distribution of the largest AUROC."""
    q: float = field(default=0.05, metadata={"least": 0, "most": 1})
    """False-discovery rate."""
    activation_threshold: float | None = field(default=None, metadata={"option": "strength_threshold"})
    correlation_threshold: float | None = None
    """Least mean activation where a feature is active, and least correlation with the label of its side. They are
    conditions of a response where they are given. The column `passes_thresholds` takes THRESHOLDS for None."""
    seed: int = field(default=0, metadata={"least": 0})


def score_features(run: Path, saes: Sequence[ScoredSae], settings: ScoreSettings) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table `feature_scores` of a run with `pooled_features`, and a report on the run as a whole.

    Raises RunError when one of the labels does not occur, or only with weight 0.
    """
    texts = read_texts(run)
    _check_both_labels(texts)
    every, (texts, held) = texts, divided(texts, settings.held_out, settings.seed)
    discovery = texts if held is None else texts.where(~held)
    found: dict[str, pa.Table] = {}
    report: dict[str, Any] = {
        "data": about_texts(every, texts, held) | {"share_to_hold_out": settings.held_out},
        "length_only": length_only(texts, discovery, held),
        "saes": [],
    }
    del every
    for sae in saes:
        with closing(pooled_columns(run, sae.name, sae.d_sae, texts.sequence_ids)) as columns:
            table, about = _score(run, columns, sae, texts, discovery, held, settings)
            if held is not None:
                order = np.argsort(-np.abs(table["auroc"].to_numpy() - 0.5), kind="stable")
                strongest = table["feature_id"].to_numpy()[order].astype(np.int64)
                probes = feature_probes(columns, strongest, texts, held, settings.seed)
                about["feature_probes"] = {str(size): asdict(probe) for size, probe in probes.items()}
        if held is not None:
            about["dense_probe"] = asdict(dense_probe(run, sae.hook_point, texts, held, settings.seed))
        report["saes"].append(about)
        found[sae.name] = table
    thresholds = settings.activation_threshold, settings.correlation_threshold
    table, report["found"] = ranked(found, settings.q, *thresholds, left_of_length(report["length_only"]))
    return finished(run, table, {sae.name: sae.url for sae in saes}, discovery.sequence_ids), report


def feature_tables(
    run: Path, saes: Sequence[ScoredSae], settings: ScoreSettings, report: dict[str, Any]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield `sequences` with its split, part by part, then `feature_scores`; fill `report` as `score_features` does.

    Raises RunError as `score_features` does.
    """
    for part in feature_split(run, settings):
        yield "sequences", part
    table, figures = score_features(run, saes, settings)
    report.update(figures)
    yield "feature_scores", table


def feature_split(run: Path, settings: ScoreSettings) -> Iterator[pa.Table]:
    """Yield the table `sequences` with the split that `settings` ask for, part by part; `score_features` reads it.

    Raises RunError as `score_features` does.
    """
    texts = read_texts(run)
    _check_both_labels(texts)
    texts, held = without_twins(texts, hold_out(texts, settings.held_out, settings.seed))
    held = np.zeros(len(texts.positive), dtype=np.bool_) if held is None else held
    yield from with_split(run, texts.sequence_ids, ("discovery", "held_out"), held.astype(np.int64))


def _check_both_labels(texts: Texts) -> None:
    counts = int(texts.positive.sum()), int((~texts.positive).sum())
    weights = texts.weights[texts.positive].sum(), texts.weights[~texts.positive].sum()
    problem = f"{counts[0]:,} positive and {counts[1]:,} negative texts"
    if min(counts) and min(weights) <= 0:
        problem = f"every {'positive' if weights[0] <= 0 else 'negative'} text has the weight 0"
    if min(*counts, *weights) <= 0:
        raise RunError(
            f"there is nothing to compare: {problem}", "check the labels, or name them: --positive L --negative L"
        )


def _score(
    run: Path,
    columns: ColumnFile,
    sae: ScoredSae,
    texts: Texts,
    discovery: Texts,
    held: Bools | None,
    settings: ScoreSettings,
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows and the report of an SAE; of each block of columns, only figures by column stay in memory."""
    rng = np.random.default_rng(settings.seed)
    design = design_of(discovery.positive, discovery.exchangeable())
    statistics = BlockStatistics(texts, discovery, held, design.kind == "within-groups")
    found: list[dict[str, Floats]] = []
    with closing(Exchange(design, run)) as exchange:
        for _, block in columns.blocks():
            part = block if held is None else block.where(~held)
            exchange.add(part)
            found.append(statistics.of(part, None if held is None else block.where(held)))
            del block, part
        p, method = exchange.p_values(rng, settings.draws)
        null = exchange.largest(rng, settings.null_draws)
    values: dict[str, Any] = {name: np.concatenate([block[name] for block in found]) for name in found[0]}
    off = np.abs(values["auroc"] - 0.5) + 0.5
    values |= {
        "p_value": p,
        "p_method": method.astype(object),
        "p_largest": (1 + len(null) - np.searchsorted(np.sort(null), off - 1e-12)) / (1 + len(null)),
    }
    fired = np.flatnonzero(values["n_active"])
    table = pa.table({"feature_id": fired.astype(np.int32), **{name: value[fired] for name, value in values.items()}})
    about = {
        "sae": sae.name,
        "n_features": sae.d_sae,
        "n_tested": len(fired),
        "exchanged": design.kind,
        "largest_auroc_by_chance": {
            "median": float(np.median(null)),
            "q95": float(np.quantile(null, 0.95)),
            "q99": float(np.quantile(null, 0.99)),
            "draws": len(null),
        },
    }
    return table, about
