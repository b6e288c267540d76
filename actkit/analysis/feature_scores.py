"""Which SAE features respond to positive feedback, and what may be believed of it.

1. Texts are split by group into a discovery and a held-out part. Everything but the held-out columns is computed on the
   discovery part, so that what was selected is tested on texts that did not select it.
2. A text is one sample, whatever its length: its features are pooled over its tokens before.
3. Features are ranked by AUROC, in which zeros tie; p by exchange of labels as groups allow; q over all features.
4. Beside them stand what chance, length and a plain probe achieve.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.auroc import column_aurocs, stratified_aurocs
from actkit.analysis.class_means import class_means
from actkit.analysis.columns import Columns
from actkit.analysis.labelled import Bools, Texts, hold_out, read_texts, without_twins
from actkit.analysis.permutation import design_of, largest_under_null, p_values
from actkit.analysis.probes import dense_probe, feature_probes
from actkit.analysis.ranking import finished, ranked
from actkit.analysis.sample import about_texts, length_only, strata_of
from actkit.analysis.shards import Ints, parts, sae_groups


@dataclass(frozen=True)
class ScoredSae:
    """What is asked about an SAE here."""

    name: str
    d_sae: int
    hook_point: str
    url: Callable[[int], str | None] = lambda _feature: None


@dataclass(frozen=True)
class ScoreSettings:
    """How features are tested."""

    held_out: float = 0.3
    """Share of the groups that is held out; 0 for none."""
    draws: int = 10_000
    """Exchanges of labels, where p cannot be had without."""
    null_draws: int = 1000
    """Exchanges of labels for the distribution of the largest AUROC."""
    q: float = 0.05
    """False-discovery rate."""
    activation_threshold: float = 0.5
    correlation_threshold: float = 0.6
    seed: int = 0


def score_features(run: Path, saes: Sequence[ScoredSae], settings: ScoreSettings) -> tuple[pa.Table, dict[str, Any]]:
    """The table `feature_scores` of a run with `pooled_features`, and what holds for the run as a whole.

    Raises ValueError when one of the labels does not occur.
    """
    texts = read_texts(run)
    if texts.positive.all() or not texts.positive.any():
        raise ValueError(f"{int(texts.positive.sum())} positive and {int((~texts.positive).sum())} negative texts")
    if min(texts.weights[texts.positive].sum(), texts.weights[~texts.positive].sum()) <= 0:
        raise ValueError("every text of one class has the weight 0")
    every, (texts, held) = texts, without_twins(texts, hold_out(texts, settings.held_out, settings.seed))
    discovery = texts if held is None else texts.where(~held)
    found: dict[str, pa.Table] = {}
    report: dict[str, Any] = {
        "data": about_texts(every, texts, held) | {"share_to_hold_out": settings.held_out},
        "length_only": length_only(texts, discovery, held),
        "saes": [],
    }
    for sae in saes:
        columns = read_pooled(run, sae, texts.sequence_ids)
        table, about = _score(columns, sae, texts, discovery, held, settings)
        if held is not None:
            order = table["feature_id"].to_numpy()[np.argsort(-np.abs(table["auroc"].to_numpy() - 0.5), kind="stable")]
            probes = feature_probes(columns, order.astype(np.int64), texts, held, settings.seed)
            about["feature_probes"] = {str(size): asdict(probe) for size, probe in probes.items()}
            about["dense_probe"] = asdict(dense_probe(run, sae.hook_point, texts, held, settings.seed))
        report["saes"].append(about)
        found[sae.name] = table
    thresholds = settings.activation_threshold, settings.correlation_threshold
    table, report["found"] = ranked(found, settings.q, *thresholds)
    return finished(run, table, {sae.name: sae.url for sae in saes}, discovery.sequence_ids), report


def read_pooled(run: Path, sae: ScoredSae, sequence_ids: Ints) -> Columns:
    """The pooled features of these sequences (ids ascending), by column."""

    def rows() -> Iterator[tuple[Ints, Any, Any]]:
        for part in parts(run, "pooled_features"):
            for table in sae_groups(part, sae.name):
                at = np.searchsorted(sequence_ids, table["sequence_id"].to_numpy())
                wanted = np.isin(table["sequence_id"].to_numpy(), sequence_ids)
                table = table.filter(pa.array(wanted))
                lengths = pc.list_value_length(table["feature_ids"]).to_numpy()
                yield (
                    np.repeat(at[wanted], lengths),
                    pc.list_flatten(table["feature_ids"]).to_numpy(),
                    pc.list_flatten(table["feature_activations"]).to_numpy(),
                )

    return Columns.from_rows(rows, len(sequence_ids), sae.d_sae)


def _score(
    columns: Columns, sae: ScoredSae, texts: Texts, discovery: Texts, held: Bools | None, settings: ScoreSettings
) -> tuple[pa.Table, dict[str, Any]]:
    x = columns if held is None else columns.where(~held)
    labels = discovery.positive
    active = np.diff(x.starts)
    rng = np.random.default_rng(settings.seed)
    design = design_of(labels, discovery.exchangeable())
    groups = discovery.groups if discovery.grouped else None
    area = column_aurocs(x, labels, groups)
    p = p_values(x, labels, design, rng, settings.draws)
    null = largest_under_null(x, labels, design, rng, settings.null_draws)
    empty = np.full(len(active), np.nan)
    later = None
    if held is not None:
        rest = texts.where(held)
        later = column_aurocs(columns.where(held), rest.positive, rest.groups if rest.grouped else None)
    mixed = design.kind == "within-groups"
    strata = strata_of(discovery)
    off = np.abs(area.value - 0.5) + 0.5
    values: dict[str, Any] = {
        "n_active": active,
        **class_means(x, labels, discovery.weights),
        "auroc": area.value,
        "auroc_low": area.low,
        "auroc_high": area.high,
        "p_value": p.p,
        "p_method": np.asarray(p.method).astype(object),
        "p_largest": (1 + len(null) - np.searchsorted(np.sort(null), off - 1e-12)) / (1 + len(null)),
        "auroc_heldout": later.value if later else empty,
        "auroc_heldout_low": later.low if later else empty,
        "auroc_heldout_high": later.high if later else empty,
        "auroc_length_adjusted": empty if strata is None else stratified_aurocs(x, labels, strata),
        "auroc_within_group": stratified_aurocs(x, labels, discovery.groups) if mixed else empty,
    }
    fired = np.flatnonzero(active)
    table = pa.table({"feature_id": fired.astype(np.int32), **{name: one[fired] for name, one in values.items()}})
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
