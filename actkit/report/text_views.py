"""Sequences as a page draws them: boxes of text, each with its features and with numbers to colour it by."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.by_sequence import (
    TokenizedText,
    parts_of_sequence,
    sequences_of,
    sequences_of_part,
    tables_of_sequences,
)
from actkit.runs.reader import active_in, features_table, parts, sae_groups

MOST_FEATURES = 32
"""Features shown of a token: the strongest."""
KEPT = ("sequence_id", "record_id", "side", "label", "group", "template", "split", "source", "n_tokens", "n_truncated")
Active = tuple[Sequence[int], Sequence[int]]
Places = Mapping[tuple[int, int], Active]
"""(sequence, position) → feature ids and their levels there, strongest first."""
Values = Mapping[tuple[int, int], float]
"""(sequence, position) → number."""


@dataclass(frozen=True)
class Projection:
    """One direction: its name, and the projections of a run's texts on it, part by part."""

    name: str
    of_part: Callable[[str], Values]
    """Takes the name of a part's file."""


@dataclass(frozen=True)
class Scale:
    """The largest activation of each feature of an SAE [d_sae]: a page holds activations as 255ths of it."""

    sae: str
    maxima: npt.NDArray[np.float32] = field(repr=False)
    exact: bool = False
    """Whether levels are the activations themselves, for files that hold numbers."""

    def levels(self, features: Any, activations: Any) -> npt.NDArray[Any]:
        """Return [n] 1 to 255 for activations [n] of features [n], or of one feature; the activations where `exact`.

        Rounding errs by at most half a level; activations below half a level become 1.
        """
        if self.exact:
            return np.asarray(activations)
        tops = np.maximum(self.maxima[features], np.float32(1e-30))
        found: npt.NDArray[Any] = np.clip(np.rint(255 * np.asarray(activations) / tops), 1, 255).astype(np.int64)
        return found


def text_view(
    text: TokenizedText, of_saes: Sequence[Places], coloured: Sequence[tuple[str, Values]] = ()
) -> dict[str, Any]:
    """Make the view of one sequence."""
    boxes, path = text.boxes, text.path
    view: dict[str, Any] = {name: text.row[name] for name in KEPT if text.row.get(name) is not None}
    view |= {
        "start": text.row["start"],
        "response": text.row["response_start"],
        "parent": text.row["parent_id"],
        "texts": [box.text for box in boxes],
        "first": [box.first for box in boxes],
        "special": [number for number, box in enumerate(boxes) if box.is_special],
    }
    view["features"] = [_features(boxes, path, places) for places in of_saes]
    values = [{"name": name, "values": [_at(of, path, box.last) for box in boxes]} for name, of in coloured]
    values = [track for track in values if any(value is not None for value in track["values"])]
    return {**view, "values": values} if values else view


def _at(places: Mapping[tuple[int, int], Any], path: Sequence[int], position: int) -> Any:
    """Return the entry at a position, of the sequence itself or of one that it continues. None where there is none."""
    return next((places[sequence_id, position] for sequence_id in path if (sequence_id, position) in places), None)


def _features(boxes: Any, path: Sequence[int], places: Places) -> list[Any]:
    """Return for each box its feature ids and their levels; an empty list where none is stored."""
    found: list[Any] = []
    for box in boxes:
        ids: list[int] = []
        levels: list[int] = []
        for position in range(box.first, box.last + 1):
            here = _at(places, path, position)
            if here is not None:
                ids += here[0]
                levels += here[1]
        found.append([ids, levels] if ids else [])
    return found


def views_of(
    run: Path, wanted: Sequence[int], scales: Sequence[Scale], projections: Sequence[Projection] = ()
) -> list[dict[str, Any]]:
    """Make the views of some sequences. Raises RunError for an unknown id."""
    texts = sequences_of(run, wanted)
    ids = sorted({sequence_id for text in texts.values() for sequence_id in text.path})
    found = [places_of(run, scale, ids) for scale in scales]
    names = sorted({part.name for sequence_id in ids for part in parts_of_sequence(run, "sequences", sequence_id)})
    coloured = [
        (projection.name, {place: v for name in names for place, v in projection.of_part(name).items()})
        for projection in projections
    ]
    return [text_view(texts[sequence_id], found, coloured) for sequence_id in wanted]


def views_of_part(
    run: Path, part: Path, scales: Sequence[Scale], projections: Sequence[Projection] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the views of one part's sequences, in order, without those that are only the beginning of others."""
    own = run / features_table(run) / part.name
    found = [_places(sae_groups(own, scale.sae) if own.exists() else (), scale) for scale in scales]
    coloured = [(projection.name, projection.of_part(part.name)) for projection in projections]
    texts = list(sequences_of_part(run, part))
    parents = {text.row["parent_id"] for text in texts}
    for text in texts:
        if text.row["sequence_id"] not in parents:
            yield text_view(text, found, coloured)


def places_of(run: Path, scale: Scale, ids: Sequence[int]) -> Places:
    """Read the features of one SAE in some sequences, whose ids ascend."""
    tables = tables_of_sequences(run, features_table(run), ids)
    return _places((rows.filter(pc.equal(rows["sae"], scale.sae)) for rows in tables), scale)


def _places(tables: Iterable[pa.Table], scale: Scale) -> Places:
    """The features in rows of one SAE. A pooled feature stands where it is strongest."""
    found: dict[tuple[int, int], Any] = {}
    for rows in tables:
        lengths, ids, values = active_in(rows)
        features, levels = ids.tolist(), scale.levels(ids, values).tolist()
        if "position" in rows.column_names:
            ends = np.cumsum(lengths)
            lasts = np.minimum(ends, ends - lengths + MOST_FEATURES).tolist()
            columns = (rows["sequence_id"].to_pylist(), rows["position"].to_pylist(), (ends - lengths).tolist(), lasts)
            for sequence, position, begin, end in zip(*columns, strict=True):
                found[sequence, position] = (features[begin:end], levels[begin:end])
            continue
        sequences = np.repeat(rows["sequence_id"].to_numpy(), lengths).tolist()
        positions = pc.list_flatten(rows["feature_positions"]).to_pylist()
        for sequence, position, feature, level in zip(sequences, positions, features, levels, strict=True):
            here = found.setdefault((sequence, position), ([], []))
            here[0].append(feature)
            here[1].append(level)
    return found


def scales_of(run: Path, saes: Sequence[Mapping[str, Any]]) -> list[Scale]:
    """Read the largest stored activation of every feature of each SAE, part by part."""
    found = []
    for sae in saes:
        maxima = np.zeros(sae["d_sae"], dtype=np.float32)
        for part in parts(run, features_table(run)):
            for rows in sae_groups(part, sae["name"], ["feature_ids", "feature_activations"]):
                _, ids, values = active_in(rows)
                np.maximum.at(maxima, ids, values.astype(np.float32))
        found.append(Scale(sae["name"], maxima))
    return found
