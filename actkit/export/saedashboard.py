"""`saedashboard`: the JSON batch that SAEDashboard writes, for its page and for Neuronpedia's converter.

The fields are those of SAEDashboard's `NeuronpediaDashboardBatch`, of its features and of their activations
(jbloomAus/SAEDashboard, `sae_dashboard/neuronpedia/neuronpedia_dashboard.py`); the package itself is not imported.
Fields that a run cannot fill are empty: alignment and correlation with neurons, the histogram of logits, decoder
weights by head, the vector. `correlated_features_indices` are features that are active together, where the run counts
them; their share is no Pearson correlation, so those values are left empty.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import IO, Any

import numpy as np
import pyarrow as pa

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.report.feature_views import Window, cut_all, known_of, logits_of, pieces_of, windows_of
from actkit.report.features_in_order import features_in_order
from actkit.report.text_views import Scale, scales_of
from actkit.report.token_index import TokenIndex, token_index

BATCH = 1024
"""Features whose contexts are in memory together."""
BINS = 40
EMPTY = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson"),
    *("correlated_features_indices", "correlated_features_l1", "correlated_features_pearson"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist", "vector"),
)
TOP = -1
"""The bin of contexts that are among the strongest."""


def write(job: ExportJob) -> None:
    """Write the batch of the run's first SAE. Raises RunError for a run without features."""
    saes = job.facts.get("saes", ())
    if not saes:
        raise RunError(f"{job.run} has no SAE", "saedashboard is of features")
    if len(saes) > 1:
        job.note(f"only the features of {saes[0]['name']} are written, the first of {len(saes)} SAEs")
    (scale,) = scales_of(job.run, saes[:1])
    exact = replace(scale, exact=True)
    name, _, suffix = saes[0]["name"].partition("/")
    layer = int(saes[0]["hook_point"].split(".")[1]) if saes[0]["hook_point"].split(".")[1:2] else 0
    about = {"model_id": job.facts["model"]["name"], "layer": layer, "sae_set": name, "sae_id_suffix": suffix or None}
    with job.out.open("w", encoding="utf-8") as file:
        file.write(json.dumps(about, ensure_ascii=False)[:-1] + ', "features": [')
        _write_features(job, exact, token_index(job.run), file)
        file.write("]}\n")


def _write_features(job: ExportJob, scale: Scale, tokens: TokenIndex, file: IO[str]) -> None:
    alive = int((scale.maxima > 0).sum())
    n_ordinary = int((~tokens.special).sum())
    done = 0
    for features in _batches(job, scale):
        numbers = list(features)
        known, logits = known_of(job.run, scale.sae, numbers), logits_of(job.run, scale.sae, numbers)
        windows: dict[int, list[Window]] = {}
        counted: dict[int, dict[str, Any]] = {}
        for feature, rows in features.items():
            special = tokens.is_special(tokens.rows(rows))
            values = rows["activation"].to_numpy()[~special]
            heights, edges = np.histogram(values, bins=BINS, range=(0, float(values.max()) if len(values) else 1.0))
            windows[feature] = windows_of(feature, rows, scale, known[feature], special)
            counted[feature] = {
                "frac_nonzero": len(values) / max(n_ordinary, 1),
                "freq_hist_data_bar_heights": heights.astype(float).tolist(),
                "freq_hist_data_bar_values": ((edges[1:] + edges[:-1]) / 2).tolist(),
            }
        cut_all(job.run, chain.from_iterable(windows.values()))
        for feature in numbers:
            most = float(scale.maxima[feature])
            row = _feature(job, feature, windows[feature], counted[feature], known[feature], logits.get(feature), most)
            file.write((", " if done else "") + json.dumps(row, ensure_ascii=False, allow_nan=False))
            done += 1
        job.progress(done / max(alive, 1))


def _batches(job: ExportJob, scale: Scale) -> Iterator[dict[int, pa.Table]]:
    """Yield batches of features, feature → its positions, whose rows fit into memory."""
    batch: dict[int, pa.Table] = {}
    rows = 0
    for feature, table in features_in_order(job.run, scale.sae, len(scale.maxima)):
        batch[feature] = table
        rows += len(table)
        if len(batch) == BATCH or rows > 1 << 20:
            yield batch
            batch, rows = {}, 0
    if batch:
        yield batch


def _feature(
    job: ExportJob,
    feature: int,
    windows: list[Window],
    counted: Mapping[str, Any],
    known: Mapping[str, Any],
    logits: Mapping[str, Any] | None,
    most: float,
) -> dict[str, Any]:
    of = logits or {"top": [], "bottom": []}
    facts: dict[str, Any] = {"feature_index": feature, **{name: [] for name in EMPTY}}
    for ends, prefix in (("top", "pos"), ("bottom", "neg")):
        facts[f"{prefix}_str"] = [entry["token"] for entry in of[ends]]
        facts[f"{prefix}_values"] = [round(entry["logit"], 3) for entry in of[ends]]
    facts |= counted
    if known.get("co_active"):
        facts["correlated_features_indices"] = [entry["feature_id"] for entry in known["co_active"]]
    facts["n_prompts_total"] = job.facts["counts"]["sequences"]
    facts["n_tokens_in_prompt"] = 0
    facts["dataset"] = str(job.facts.get("options", {}).get("dataset") or "")
    strongest = [window.text for window in windows if window.text is not None and window.quantile is None]
    facts["activations"] = [_activation(text, most) for text in strongest]
    return facts


def _activation(text: Mapping[str, Any], most: float) -> dict[str, Any]:
    values = [round(float(level), 3) for level in text["levels"]]
    bins = {"bin_min": TOP, "bin_max": round(most, 3), "bin_contains": TOP}
    return {**bins, "tokens": pieces_of(text), "values": values, "qualifying_token_index": text["at"]}
