"""The labelled texts of a run: their labels, their groups, and the split that holds some of them out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.length import LEFT, LengthCheck
from actkit.analysis.split_column import HELD_OUT
from actkit.runs.part import schema_of_part
from actkit.runs.reader import part_of, parts

READ = ("sequence_id", "label", "group", "score", "n_kept", "n_tokens", "text", "split")
NONE, DISCOVERY, HELD = 0, 1, 2
FEWEST_GROUPS = 20
"""With fewer groups nothing is held out: an interval on a handful of texts says nothing."""


@dataclass(frozen=True)
class Texts:
    """The texts that are positive or negative, in order; all arrays [n]."""

    sequence_ids: Ints
    positive: Bools
    groups: Ints
    """Equal numbers for texts that belong together: those of a group that the data name, such as answers to one prompt,
    and equal texts without such a group, since copies are no samples of their own. No split divides a group."""
    wordings: Ints
    """Equal texts have equal numbers, whatever their groups."""
    weights: Floats
    """1 where the data give no score."""
    lengths: Ints
    """Pooled tokens; tokens of the whole text where no text has more than one pooled."""
    parts: npt.NDArray[np.int8]
    """The part that the run's column `split` names: HELD, DISCOVERY, or NONE where it is empty."""
    n_neutral: int
    """Texts with the label neutral, which are in no test."""
    grouped: bool
    """Whether the data name groups, or texts without a group are equal."""

    def where(self, chosen: Bools) -> "Texts":
        """The texts at which `chosen` [n] is True."""
        arrays = ("sequence_ids", "positive", "groups", "wordings", "weights", "lengths", "parts")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def exchangeable(self) -> Ints:
        """Return the groups [n] for the permutation test.

        Where most texts are in groups of both labels, labels are exchanged within groups. Otherwise the few such
        groups are split by label, so that every unit has one label and units can be exchanged.
        """
        both = np.bincount(self.groups, self.positive) * np.bincount(self.groups, ~self.positive) > 0
        return self.groups if both[self.groups].mean() > 0.5 else 2 * self.groups + self.positive

    @property
    def repeated(self) -> int:
        """Texts that are equal to an earlier one."""
        return len(self.wordings) - len(np.unique(self.wordings))


def read_texts(run: Path) -> Texts:
    """Read the labelled texts of a finished or finishing run, part by part; texts themselves are kept as digests.

    Raises ValueError for a run without texts.
    """
    found = [_labelled(part_of(run, "sequences", part, _columns(part))) for part in parts(run, "sequences")]
    if not found:
        raise ValueError("no texts")
    n_neutral = sum(neutral for _, neutral in found)
    arrays = {name: np.concatenate([block.pop(name) for block, _ in found]) for name in tuple(found[0][0])}
    named, groups, wordings = arrays.pop("named"), codes_of(arrays.pop("groups")), codes_of(arrays.pop("wordings"))
    kept, whole = arrays.pop("kept"), arrays.pop("whole")
    arrays["lengths"] = kept if kept.max(initial=0) > 1 else whole
    grouped = bool(named.any()) or len(np.unique(groups)) < len(groups)
    return Texts(groups=groups, wordings=wordings, n_neutral=n_neutral, grouped=grouped, **arrays)


def _labelled(table: pa.Table) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Return arrays about the labelled texts of one part, and the number of its neutral texts."""
    n_neutral = pc.sum(pc.equal(table["label"], "neutral")).as_py() or 0
    table = table.filter(pc.is_in(table["label"], pa.array(["positive", "negative"])))
    wordings = digests_of(table["text"])
    named = pc.is_valid(table["group"]).to_numpy()
    groups = wordings.copy()
    groups[named] = digests_of(table["group"].filter(pa.array(named)))
    arrays = {
        "sequence_ids": table["sequence_id"].to_numpy(),
        "positive": pc.equal(table["label"], "positive").to_numpy(),
        "weights": pc.fill_null(table["score"], 1.0).to_numpy(),
        "kept": table["n_kept"].to_numpy(),
        "whole": table["n_tokens"].to_numpy(),
        "named": named,
        "groups": groups,
        "wordings": wordings,
        "parts": _parts_of(table),
    }
    return arrays, n_neutral


def _columns(part: Path) -> list[str]:
    """The columns of READ that the part has: runs of earlier versions lack some."""
    there = schema_of_part(part).names
    return [name for name in READ if name in there]


def _parts_of(table: pa.Table) -> npt.NDArray[np.int8]:
    if "split" not in table.column_names:
        return np.full(len(table), NONE, dtype=np.int8)
    held = pc.is_in(table["split"], pa.array(HELD_OUT)).to_numpy()
    known = pc.is_valid(table["split"]).to_numpy()
    return np.where(known, np.where(held, HELD, DISCOVERY), NONE).astype(np.int8)


def divided(texts: Texts, share: float, seed: int) -> tuple[Texts, Bools | None]:
    """Return the texts that give evidence, and a mask [n] of those held out; None where none are.

    The split is the run's own column `split` where that names any; otherwise it is drawn: see `hold_out`.
    """
    if (texts.parts == NONE).all():
        return without_twins(texts, hold_out(texts, share, seed))
    texts = texts.where(texts.parts != NONE)
    held = texts.parts == HELD
    return texts, held if held.any() else None


def hold_out(texts: Texts, share: float, seed: int) -> Bools | None:
    """Draw the texts that are held out, as a mask [n]: about `share` of the groups of each kind.

    Kinds are groups of negative texts, of positive texts, and of both. None when `share` is 0, when there are too few
    groups, or when a part would have one label only.
    """
    _, group = np.unique(texts.groups, return_inverse=True)
    positives, sizes = np.bincount(group, texts.positive), np.bincount(group)
    kind = np.where(positives == 0, 0, np.where(positives == sizes, 1, 2))
    if len(sizes) < FEWEST_GROUPS or share <= 0:
        return None
    rng = np.random.default_rng(seed)
    held = np.zeros(len(sizes), dtype=np.bool_)
    for index in range(3):
        members = rng.permutation(np.flatnonzero(kind == index))
        held[members[: round(share * len(members))]] = True
    chosen: Bools = held[group]
    parts_have_both = all(len(set(texts.positive[part].tolist())) == 2 for part in (chosen, ~chosen))
    return chosen if parts_have_both else None


def without_twins(texts: Texts, held: Bools | None) -> tuple[Texts, Bools | None]:
    """Drop held-out texts that are equal to a discovery text; return the others, and a mask [n] of those held out.

    Groups are held out whole, so that a text that stands in two groups may be on both sides, where it would be no
    evidence. Returns all texts and None where the rest of the held-out part has one label only.
    """
    if held is None:
        return texts, None
    twin = held & np.isin(texts.wordings, texts.wordings[~held])
    if len(set(texts.positive[held & ~twin].tolist())) < 2:
        return texts, None
    if not twin.any():
        return texts, held
    return texts.where(~twin), held[~twin]


def about_texts(every: Texts, texts: Texts, held: Bools | None) -> dict[str, Any]:
    """Count the texts of each label and part; `texts` are those of `every` that give evidence."""
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
    """Compute the AUROC of the number of tokens alone: in all texts, in the held-out ones, and within strata.

    The strata are the discovery part's classes of length, in which `auroc_length_adjusted` is computed.
    """
    every, own = _check(texts), _check(discovery)
    within = own.adjusted(discovery.lengths.astype(np.float64))
    found: dict[str, Any] = {"all": asdict(every.only), "within_strata": None if np.isnan(within) else within}
    if held is not None:
        found["held_out"] = asdict(_check(texts.where(held)).only)
    return found


def left_of_length(found: Mapping[str, Any]) -> float:
    """Return how far from 0.5 the AUROC of length is among texts of about equal length; `found`: see `length_only`.

    0 where the distance is at most `LEFT`, and where the interval over all texts holds 0.5: there length does not tell
    labels apart. 0.5, which nothing is beyond, where no text of one label is about as long as one of the other.
    """
    every, within = found["all"], found["within_strata"]
    if every["low"] <= 0.5 <= every["high"]:
        return 0.0
    off = 0.5 if within is None else abs(float(within) - 0.5)
    return off if off > LEFT else 0.0


def _check(texts: Texts) -> LengthCheck:
    return LengthCheck.of(texts.lengths, texts.positive, texts.groups if texts.grouped else None)
