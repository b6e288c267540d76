"""Two runs side by side: options that differ, shared axes, and features of the SAEs that both have."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from actkit.numerals import signed
from actkit.report.features_in_order import rows_of_sae
from actkit.runs.run import Run

ROWS, MOST = 50, 2
NOT_ASKED = ("out",)


@dataclass(frozen=True)
class Joined:
    """Features that both runs have: [sae, feature, of A, of B, difference]."""

    says: str
    measure: str
    rows: list[tuple[int, int, str, str, str]]


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List differences in model and options: name, value in A, value in B."""
    found = [
        (name, str(first["model"].get(name)), str(second["model"].get(name)))
        for name in ("name", "revision", "dtype", "device")
        if first["model"].get(name) != second["model"].get(name)
    ]
    if first["command"] != second["command"]:
        found.insert(0, ("command", first["command"], second["command"]))
    mine, theirs = first.get("options", {}), second.get("options", {})
    names = [name for name in sorted({*mine, *theirs} - set(NOT_ASKED)) if mine.get(name) != theirs.get(name)]
    return found + [(name, str(mine.get(name)), str(theirs.get(name))) for name in names]


def joined_features(first: Run, second: Run) -> Joined | None:
    """Join the features of SAEs that both runs have, those that differ most first. None where a run has no SAE."""
    if not first.facts.get("saes") or not second.facts.get("saes"):
        return None
    both = (first, second)
    names = [sae["name"] for sae in first.facts["saes"]]
    same = [name for name in names if _digest(first, name) == _digest(second, name) is not None]
    if not same:
        return Joined("The runs have no SAE in common: the digests of their weights differ.", "", [])
    kinds = (("feature_scores", "auroc", "AUROC"), ("feature_stats", "density", "density"))
    known = next((kind for kind in kinds if kind[0] in first.tables and kind[0] in second.tables), None)
    if known is None:
        return Joined(f"Both have {', '.join(same)}; there is no table of features in both to compare.", "", [])
    table, column, measure = known
    rows: list[tuple[int, int, float, float]] = []
    for name in same:
        number = names.index(name)
        mine, theirs = ({key: n for key, n in rows_of_sae(run, table, name, column) if n is not None} for run in both)
        rows += [(number, key, mine[key], theirs[key]) for key in mine.keys() & theirs.keys()]
    rows.sort(key=lambda row: (-abs(row[2] - row[3]), row[0], row[1]))
    shown = [
        (sae, feature, signed(a, ".4g"), signed(b, ".4g"), signed(b - a, "+.4g")) for sae, feature, a, b in rows[:ROWS]
    ]
    says = f"{len(rows):,} features of {', '.join(same)}, whose weights are the same in both runs;"
    return Joined(f"{says} the {len(shown)} that differ most.", measure, shown)


def share_axes(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Give two figures of one picture the same ranges where their axes have numbers of the same kind."""
    names = [name for name in first["layout"] if name[:5] in ("xaxis", "yaxis") and name in second["layout"]]
    for name in names:
        axes = [figure["layout"][name] for figure in (first, second)]
        if any(axis.get("type") == "category" or "range" in axis or axis.get("autorange") for axis in axes):
            continue
        if axes[0].get("title") != axes[1].get("title"):  # projections at two layers have scales of their own
            continue
        ends = [extent for extent in (_extent(figure, name) for figure in (first, second)) if extent is not None]
        if len(ends) < MOST:
            continue
        low, high = min(extent[0] for extent in ends), max(extent[1] for extent in ends)
        if axes[0].get("type") == "log":
            if low <= 0:
                continue
            low, high = float(np.log10(low)), float(np.log10(high))
        pad = 0.04 * (high - low) or 0.5
        for axis in axes:
            axis["range"] = [low - pad, high + pad]
    for trace, other in zip(first["data"], second["data"], strict=False):
        if trace.get("type") == other.get("type") == "heatmap" and "zmax" not in trace:
            levels = [numbers for numbers in map(_numbers, (trace["z"], other["z"])) if numbers.size]
            for drawn in (trace, other) if levels else ():
                drawn["zmin"], drawn["zmax"] = (float(end(list(map(end, levels)))) for end in (np.nanmin, np.nanmax))


def _extent(figure: Mapping[str, Any], axis: str) -> tuple[float, float] | None:
    letter, number = axis[0], axis[5:]
    found = []
    for trace in figure["data"]:
        if trace.get(f"{letter}axis", letter) != letter + number:
            continue
        if trace.get("type", "scatter") != "scatter":  # plotly works out where those end
            return None
        values = _numbers(trace.get(letter, ()))
        if values.size and np.isfinite(values).any():
            bars = trace.get(f"error_{letter}") or {}
            above = bars.get("array", [0.0])
            below = bars.get("arrayminus", above)
            above, below = (np.nan_to_num(_numbers(values)) for values in (above, below))
            found.append((float(np.nanmin(values - below)), float(np.nanmax(values + above))))
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _numbers(values: Any) -> Any:
    """Return numbers of a figure, which plotly may hold as base64."""
    if isinstance(values, Mapping):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).astype(np.float64)
    return np.array([value if isinstance(value, int | float) else np.nan for value in _flat(values)], dtype=np.float64)


def _flat(values: Any) -> Any:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _digest(run: Run, sae: str) -> Any:
    return run.facts.get("fingerprint", {}).get(f"sae.{sae}")
