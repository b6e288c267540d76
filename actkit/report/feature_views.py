"""Feature pages: each feature's figures, and its strongest contexts with the activation of every token around.

1. Choose features, the densest first, or those at either end of a ranking.
2. Go over `feature_positions`, one feature in memory: find its contexts, and its activations near them.
3. Go over the texts part by part: cut the windows' text.

The windows are in memory together; the page's limit bounds them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import RunError
from actkit.report.mapped_texts import MappedTexts
from actkit.report.text_views import Scale
from actkit.runs.by_feature import positions_of_feature
from actkit.runs.by_sequence import TokenizedText, any_within, sequences_of, sequences_of_part
from actkit.runs.facts import facts_of
from actkit.runs.part import open_part, ranges_in, read_part
from actkit.runs.reader import parts

AROUND = 24
"""Tokens of a window on either side."""
STRONGEST = 20
"""Contexts of a feature for which the run names none."""
STATS = ("n_active", "density", "mean", "max", "url", "histogram", "co_active")
PLACES = ("contexts", "quantile_contexts")
"""Columns of contexts. Only their positions are read: a page cuts their texts anew, with the tokens around them."""
SCORES = ("rank", "auroc", "auroc_low", "auroc_high", "auroc_heldout", "auroc_length_adjusted", "q_value")


@dataclass
class Window:
    """One context of a feature: a place, the levels around it, and its text once `cut` has made it."""

    sequence: int
    position: int
    levels: dict[int, Any]
    """Position → level (see `Scale.levels`), where the feature is active within AROUND tokens."""
    quantile: int | None = None
    text: dict[str, Any] | None = field(default=None, repr=False)


def windows_of(
    feature: int,
    rows: pa.Table,
    scale: Scale,
    known: Mapping[str, Any] | None,
    special: npt.NDArray[np.bool_] | None = None,
) -> list[Window]:
    """Find a feature's contexts with their levels, from its rows of `feature_positions` and its entry of `known_of`."""
    sequences, positions, values = (rows[name].to_numpy() for name in ("sequence_id", "position", "activation"))
    found = [Window(sequence, at, {}, group) for sequence, at, group in _places(known)]
    if not found:
        order = np.lexsort((positions, sequences, -values))
        if special is not None:
            order = order[~special[order]]
        first: dict[int, int] = {}
        for row in order[: 50 * STRONGEST].tolist():
            first.setdefault(int(sequences[row]), row)
        best = list(first.values())[:STRONGEST]
        found = [Window(int(sequences[row]), int(positions[row]), {}) for row in best]
    starts = np.searchsorted(sequences, [window.sequence for window in found], side="left")
    ends = np.searchsorted(sequences, [window.sequence for window in found], side="right")
    for window, begin, end in zip(found, starts.tolist(), ends.tolist(), strict=True):
        near = begin + np.flatnonzero(np.abs(positions[begin:end] - window.position) <= AROUND)
        levels = scale.levels(feature, values[near])
        window.levels = dict(zip(positions[near].tolist(), levels.tolist(), strict=True))
    return found


def _places(known: Mapping[str, Any] | None) -> Iterator[tuple[int, int, int | None]]:
    """Sequence, position and quantile of each context that feature_stats or feature_scores names."""
    for context in (known or {}).get("contexts") or ():
        yield context["sequence_id"], context["position"], None
    for number, group in enumerate((known or {}).get("quantile_contexts") or ()):
        inner = group.get("contexts") if isinstance(group, dict) and "contexts" in group else group
        for entry in inner if isinstance(inner, list) else [inner]:
            if entry is not None:
                yield entry["sequence_id"], entry["position"], number


def cut(window: Window, text: TokenizedText) -> None:
    """Give a window its text: its boxes, cut out of the sequence."""
    near = [box for box in text.boxes if box.last >= window.position - AROUND and box.first <= window.position + AROUND]
    levels = [max((window.levels.get(at, 0) for at in range(box.first, box.last + 1)), default=0) for box in near]
    at = next((number for number, box in enumerate(near) if box.first <= window.position <= box.last), 0)
    window.text = {
        "sequence": window.sequence,
        "record": text.row["record_id"],
        "position": window.position,
        "text": "".join(box.text for box in near),
        # In UTF-16 units, as JavaScript counts.
        "sizes": [len(box.text.encode("utf-16-le", "surrogatepass")) // 2 for box in near],
        "levels": levels,
        "at": at,
        **({} if window.quantile is None else {"quantile": window.quantile}),
        **({"label": text.row["label"]} if text.row.get("label") else {}),
    }


def pieces_of(text: Mapping[str, Any]) -> list[str]:
    """The texts of a window's boxes."""
    units = text["text"].encode("utf-16-le", "surrogatepass")
    ends = list(accumulate(2 * size for size in text["sizes"]))
    return [units[begin:end].decode("utf-16-le", "replace") for begin, end in pairwise([0, *ends])]


def cut_all(run: Path, windows: Iterable[Window]) -> None:
    """Give windows their text, going over the texts once."""
    wanted: dict[int, list[Window]] = {}
    for example in windows:
        wanted.setdefault(example.sequence, []).append(example)
    left = set(wanted)
    for part in parts(run, "sequences"):
        if not left:
            return
        ids = set(read_part(part, ["sequence_id"])["sequence_id"].to_pylist())
        if not ids & left:
            continue
        for text in sequences_of_part(run, part):
            for window in wanted.get(text.row["sequence_id"], ()):
                cut(window, text)
        left -= ids


def feature_view(
    sae: int, feature: int, scale: Scale, known: Mapping[str, Any] | None, windows: Sequence[Window], logits: Any = None
) -> dict[str, Any]:
    """Make one feature's page."""
    of = dict(known or {})
    page: dict[str, Any] = {"sae": sae, "id": feature, "scale": float(scale.maxima[feature])}
    page |= {name: of[name] for name in (*STATS, *SCORES) if of.get(name) is not None}
    page["contexts"] = [window.text for window in windows if window.text is not None and window.quantile is None]
    page["quantiles"] = [window.text for window in windows if window.text is not None and window.quantile is not None]
    if logits is not None:
        page["logits"] = logits
    return page


def pages_of_feature(run: Path, feature: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each SAE of a run that has the feature, and its page. Raises RunError where none has it."""
    saes = facts_of(run).get("saes", [])
    if not any(0 <= feature < known["d_sae"] for known in saes):
        largest = max((known["d_sae"] for known in saes), default=0)
        raise RunError(
            f"{run}: no feature {feature}", f"they are numbered up to {largest - 1}" if saes else "this run has no SAE"
        )
    for number, about in enumerate(saes):
        if feature < about["d_sae"]:
            rows = positions_of_feature(run, about["name"], feature)
            maxima = np.zeros(about["d_sae"], dtype=np.float32)
            maxima[feature] = max(rows["activation"].to_pylist(), default=0.0)
            yield about["name"], one_feature(run, number, feature, Scale(about["name"], maxima))


def one_feature(run: Path, sae: int, feature: int, scale: Scale, mapped: MappedTexts | None = None) -> dict[str, Any]:
    """Make the page of one feature. Its texts are read by sequence, or from `mapped` where that is given."""
    known = known_of(run, scale.sae, [feature])[feature]
    named = [sequence for sequence, _, _ in _places(known)]
    windows = windows_of(feature, positions_of_feature(run, scale.sae, feature, named or None), scale, known)
    texts = {} if mapped else sequences_of(run, {window.sequence for window in windows})
    for window in windows:
        text = mapped.near(window.sequence, window.position, AROUND) if mapped else texts[window.sequence]
        cut(window, text)
    logits = logits_of(run, scale.sae, [feature]).get(feature)
    return feature_view(sae, feature, scale, known, windows, logits)


def known_of(run: Path, sae: str, features: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Rows of `feature_stats` and `feature_scores` of some features of one SAE."""
    found: dict[int, dict[str, Any]] = {feature: {} for feature in features}
    for table, columns in (("feature_scores", (*SCORES, "url", *PLACES)), ("feature_stats", (*STATS, *PLACES))):
        for row in _rows_of_features(run, table, sae, features, columns):
            found[row["feature_id"]] |= {name: value for name, value in row.items() if value is not None}
    return found


def logits_of(run: Path, sae: str, features: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Rows of `feature_logits` of some features of one SAE."""
    rows = _rows_of_features(run, "feature_logits", sae, features, ("top", "bottom", "norm_folded"))
    return {row["feature_id"]: row for row in rows}


def _read(schema: Any, column: str) -> list[str]:
    """Return the leaves of a column to read: of contexts, their positions alone."""
    paths = [schema.column(at).path for at in range(len(schema.names))]
    own = [path for path in paths if path == column or path.startswith(f"{column}.")]
    if column not in PLACES:
        return own
    return [path for path in own if path.endswith((".sequence_id", ".position"))]


def _rows_of_features(
    run: Path, table: str, sae: str, features: Sequence[int], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    ascending = sorted(features)
    ids = pa.array(ascending, type=pa.int32())
    for part in parts(run, table):
        with open_part(part) as file:
            names = [column for name in ("sae", "feature_id", *columns) for column in _read(file.schema, name)]
            for group, ends in enumerate(ranges_in(file, "feature_id")):
                if ends is not None and not any_within(ascending, *ends):
                    continue
                rows = file.read_row_group(group, columns=["sae", "feature_id"])
                here = pc.and_(pc.equal(rows["sae"], sae), pc.is_in(rows["feature_id"], ids))
                if pc.any(here).as_py():
                    yield from file.read_row_group(group, columns=names).filter(here).to_pylist()
