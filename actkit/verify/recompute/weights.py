"""Compute tables that come of weights again: the features nearest to directions, and logits of features.

Both hold lists of the largest of many numbers. Numbers that differ by rounding alone may be in another order, or
replace each other at the end of a list. So for an entry in another place than when computed again, its own number is
computed alone and compared with the stored one. URLs of features' pages are compared with those of the SAEs here too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.analysis.concepts.projections import direction_features
from actkit.analysis.feature_logits import Unembedding, feature_logits
from actkit.backends.saes.sae import Sae
from actkit.backends.tensors import unembedding
from actkit.backends.token_texts import token_texts
from actkit.errors import first_line
from actkit.runs.part import open_part, read_part
from actkit.runs.reader import features_seen, parts, rows_of_table, table_of
from actkit.verify.tables.derived import BY_CHECKSUMS, FAULTS
from actkit.verify.tables.findings import Findings

LEFT_OUT = "feature_logits_left_out"
"""Entry of `run.json`: SAE → why it has no logits."""
COUNTS = "feature_logits_of"
"""Entry of `run.json`: SAE → how many features have logits, which are those active in the run."""
CLOSE = 2e-4
"""Largest difference, as a share of the largest number of a list: another device multiplies in another order."""
Score = Callable[[int, int], float]
"""(number of the list, id) → the number of that id in that list."""


@dataclass(frozen=True)
class LoadedWeights:
    """The model and SAEs of a run, as far as they could be loaded."""

    saes: Mapping[str, Sae]
    lacking: Mapping[str, str]
    """SAE, or `the model` → why it could not be loaded."""
    module: Any = None
    tokenizer: Any = None


def check_of_weights(run: Path, facts: Mapping[str, Any], weights: LoadedWeights, findings: Findings) -> None:
    """Compute the tables again and compare them, except those of `weights.lacking`, which the caller reports."""
    findings.notes[:] = [note for note in findings.notes if not note.startswith(BY_CHECKSUMS)]
    try:
        if "direction_features" in facts["tables"]:
            _check_directions(run, weights, findings)
        if "feature_logits" in facts["tables"] and weights.module is not None:
            _check_logits(run, facts, weights, findings)
        _check_urls(run, facts, weights, findings)
    except FAULTS as error:
        findings.wrong("derived", "tables of weights", f"cannot be computed again ({first_line(error, 200)})")


def _check_directions(run: Path, weights: LoadedWeights, findings: Findings) -> None:
    again = _of_directions(direction_features(run, list(weights.saes.values())))
    table = table_of(run, "direction_features")
    findings.count("derived", len(table))
    stored = {key: direction for key, direction in _of_directions(table).items() if key[0] not in weights.lacking}
    if stored.keys() != again.keys():
        apart = next(iter(stored.keys() ^ again.keys()))
        findings.wrong("derived", "direction_features", f"not the SAEs and directions of the run: {apart}")
        return
    by_rank = pa.TableGroupBy(table, ["sae", "layer", "hook_point", "method"]).aggregate([("rank", "list")])
    for ranks in by_rank["rank_list"].to_pylist():
        if sorted(ranks) != list(range(1, len(ranks) + 1)):
            findings.wrong("derived", "direction_features", "ranks are not 1, 2, 3, …")
            return
    keys = list(again)
    cosines: dict[int, torch.Tensor] = {}

    def score(row: int, feature: int) -> float:
        if row not in cosines:
            cosines[row] = _cosines(run, weights, keys[row])
        return float(cosines[row][feature]) if 0 <= feature < len(cosines[row]) else float("nan")

    for row, what in differing_lists([stored[key] for key in keys], list(again.values()), score):
        findings.wrong("derived", "direction_features", f"{', '.join(map(str, keys[row]))}: {what}")


def _cosines(run: Path, weights: LoadedWeights, key: tuple[Any, ...]) -> torch.Tensor:
    """[d_sae] the cosines of one direction with an SAE's decoder rows."""
    name, _, hook_point, method = key
    rows = rows_of_table(run, "directions")
    direction = next(row["direction"] for row in rows if (row["hook_point"], row["method"]) == (hook_point, method))
    sae = weights.saes[name]
    return sae.cosines(torch.tensor(np.array([direction], dtype=np.float32))).float().cpu()[0]


def _check_logits(run: Path, facts: Mapping[str, Any], weights: LoadedWeights, findings: Findings) -> None:
    head = unembedding(weights.module)
    if head is None:
        findings.wrong("derived", "feature_logits", "the model has no output layer to hold them against")
        return
    stored: dict[str, list[Path]] = {}
    for part in parts(run, "feature_logits"):
        stored.setdefault(_sae_of(part), []).append(part)
    left_out = facts.get(LEFT_OUT, {})
    named = [sae["name"] for sae in facts.get("saes", ()) if sae["name"] not in left_out]
    counts = facts.get(COUNTS, {})
    expected = [name for name in named if counts.get(name) != 0]
    if set(stored) != set(expected):
        findings.wrong("derived", "feature_logits", f"of {', '.join(stored) or 'no SAE'}, not {', '.join(expected)}")
        return
    tokens = Unembedding.of(head, weights.tokenizer)
    for name in (name for name in expected if name in weights.saes):
        sae = weights.saes[name]
        # In a run of an older actkit all features have logits.
        features = features_seen(run, name, sae.d_sae) if counts else np.arange(sae.d_sae)
        if counts and counts.get(name) != len(features):
            said = f"{len(features)} features of {name} are active, and run.json says {counts.get(name)}"
            findings.wrong("derived", "feature_logits", said)
        again = list(feature_logits(sae, features, tokens))
        if len(again) != len(stored[name]):
            findings.wrong("derived", "feature_logits", f"{len(stored[name])} parts of {name}, not {len(again)}")
            continue
        for part, table in zip(stored[name], again, strict=True):
            _check_part(part, read_part(part), table, sae, head, weights.tokenizer, findings)


def _check_part(
    part: Path, stored: pa.Table, again: pa.Table, sae: Sae, head: torch.Tensor, tokenizer: Any, findings: Findings
) -> None:
    findings.count("derived", len(stored))
    plain = ["sae", "feature_id", "norm_folded"]
    if not stored.select(plain).equals(again.select(plain)):
        findings.wrong("derived", part, "not one row for each active feature, in order")
        return
    features = stored["feature_id"].to_pylist()
    score = logit_score(sae, head, features)
    for end in ("top", "bottom"):
        old, new = (
            [[(entry["token_id"], entry["logit"]) for entry in row or ()] for row in table[end].to_pylist()]
            for table in (stored, again)
        )
        wrong = [f"feature {features[row]}, {end}: {what}" for row, what in differing_lists(old, new, score)]
        wrong += [f"{end}: token {name}" for name in _names(stored, end, tokenizer)]
        if wrong:
            more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
            findings.wrong("derived", part, f"{end} is not what the weights give ({wrong[0]}{more})")


def _names(table: pa.Table, end: str, tokenizer: Any) -> Iterator[str]:
    """Tokens whose stored name is not the tokenizer's."""
    pairs = {(entry["token_id"], entry["token"]) for row in table[end].to_pylist() for entry in row or ()}
    for number, name in sorted(pairs, key=str):
        if name != (right := token_texts(tokenizer, [number])[0]):
            yield f"{number} is {right!r}, not {name!r}"


def _check_urls(run: Path, facts: Mapping[str, Any], weights: LoadedWeights, findings: Findings) -> None:
    for table in facts["tables"]:
        for part in parts(run, table):
            with open_part(part) as file:
                if not {"url", "sae", "feature_id"} <= set(file.schema_arrow.names):
                    break
                rows = file.read(columns=["url", "sae", "feature_id"]).to_pylist()
            findings.count("derived", len(rows))
            for row in rows:
                sae = weights.saes.get(row["sae"])
                if sae is not None and row["url"] != sae.feature_url(row["feature_id"]):
                    findings.wrong("derived", part, f"the url of feature {row['feature_id']} is not what the SAE says")
                    break


def _sae_of(part: Path) -> str:
    with open_part(part) as file:
        names = file.read_row_group(0, columns=["sae"])["sae"] if file.num_row_groups else []
    return str(names[0]) if len(names) else ""


def differing_lists(
    stored: Sequence[Sequence[tuple[int, float]]], again: Sequence[Sequence[tuple[int, float]]], score: Score
) -> Iterator[tuple[int, str]]:
    """Compare lists of (id, number); yield (number of the list, its fault) for each wrong list."""
    for row, (old, new) in enumerate(zip(stored, again, strict=True)):
        if old == new:
            continue
        wrong = _wrong(row, old, new, score)
        if wrong is not None:
            yield row, wrong


def _wrong(row: int, old: Sequence[tuple[int, float]], new: Sequence[tuple[int, float]], score: Score) -> str | None:
    if len(old) != len(new):
        return f"{len(old)} entries, not {len(new)}"
    if len({item for item, _ in old}) != len(old):
        return "an id stands twice"
    allowed = CLOSE * max((abs(value) for _, value in new), default=0.0)
    for place, ((item, value), (other, right)) in enumerate(zip(old, new, strict=True)):
        if not abs(value - right) <= allowed:
            return f"entry {place} is {value:.6g}, not {right:.6g}"
        if item != other and not abs(score(row, item) - value) <= allowed:
            return f"entry {place} is of {item}, not of {other}"
    return None


def logit_score(sae: Sae, head: torch.Tensor, features: Sequence[int]) -> Score:
    """Make the `Score` of rows of `feature_logits`, one for each of `features`: a token's logit along the feature."""

    def score(row: int, token: int) -> float:
        if not 0 <= token < len(head) or sae.decoder is None:
            return float("nan")
        vector = head[token : token + 1].float()
        return float(sae.cosines(vector)[0, features[row]]) * float(vector.norm())  # may be on two devices

    return score


def _of_directions(table: pa.Table) -> dict[tuple[Any, ...], list[tuple[int, float]]]:
    """(SAE, layer, hook point, method) → the features and cosines of that direction, by rank."""
    found: dict[tuple[Any, ...], list[tuple[int, float]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["rank"]):
        key = tuple(row[name] for name in ("sae", "layer", "hook_point", "method"))
        found.setdefault(key, []).append((row["feature_id"], row["cosine"]))
    return found
