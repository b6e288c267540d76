"""The tables of `concept` over a run of contrast pairs: differences, directions, and the evidence for them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actkit.analysis.concepts.caveats import about_choice, about_pairs
from actkit.analysis.concepts.contrast import Pairs, Sides, read_pairs, read_sides
from actkit.analysis.concepts.direction_scores import Background, Evidence, both, score
from actkit.analysis.concepts.directions import (
    FEWEST_PAIRS,
    METHODS,
    Direction,
    Split,
    direction,
    split_pairs,
)
from actkit.analysis.length import LengthCheck
from actkit.analysis.pair_diffs import summary_of
from actkit.analysis.scratch_file import Spill
from actkit.analysis.split_column import with_split
from actkit.runs.reader import Ints, hook_points_of
from actkit.schemas import arrow_schema

SHOWN = "mean-diff"
SPLITS = ("train", "validation", "test")


def concept_tables(
    run: Path, last_only: bool, seed: int, report: dict[str, Any], with_directions: bool = True
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables, hook point by hook point; `report` gets the facts about the whole run.

    Without `with_directions` no direction is fitted: the tables are `contrasts` and `pair_stats`, `report` stays as is.

    The vectors of one hook point at a time are read, into a temporary file in `run` where they are many. Raises
    WriteError where the disk is full.
    """
    pairs = read_pairs(run)
    split = split_pairs(pairs.stems, seed)
    rows: list[dict[str, Any]] = []
    stats: list[dict[str, Any]] = []
    for hook_point in hook_points_of(run):
        with closing(Spill(run)) as file:
            sides = read_sides(run, pairs, hook_point, last_only, file)
            contrasts, size = contrast_rows(pairs, sides)
            stats += contrast_stats(contrasts)
            yield "contrasts", contrasts
            del contrasts
            if not with_directions:
                continue
            fit = sides.pairs if split is None else sides.pairs.where(split.train)
            if len(fit.stems) < FEWEST_PAIRS:
                continue
            found = {method: direction(method, fit) for method in METHODS}
            yield "directions", _directions(found, sides, size)
            rows += _scores(found, split, sides, size, seed, pairs.lengths)
    yield "pair_stats", pa.Table.from_pylist(stats, schema=arrow_schema("pair_stats"))
    if not with_directions:
        return
    yield "direction_scores", pa.Table.from_pylist(rows, schema=arrow_schema("direction_scores"))
    report.update(_report(rows, split, pairs))


def concept_split(run: Path, seed: int) -> Iterator[pa.Table]:
    """Yield the table `sequences` with the pairs' split (train, validation, test), by part; nothing without one."""
    pairs = read_pairs(run)
    split = split_pairs(pairs.stems, seed)
    ids = np.concatenate([pairs.positive, pairs.negative])
    if split is not None:
        part = split.validation + 2 * split.test.astype(np.int64)
        yield from with_split(run, ids, SPLITS, np.tile(part, 2))


def choose(rows: list[dict[str, Any]], method: str) -> dict[str, Any] | None:
    """Return the row of the layer chosen for a method on the validation pairs, to be reported on the test pairs.

    It is the earliest layer whose score is within one standard error of the best (Breiman et al. 1984): so small a
    difference is noise, and an early layer leaves more of the model to act on. None where no row has a score.
    """
    known = [row for row in rows if row["method"] == method and row["choice_score"] is not None]
    if not known:
        return None
    best = max(known, key=lambda row: (row["choice_score"], -row["layer"]))
    near = [row for row in known if row["choice_score"] >= best["choice_score"] - best["choice_error"]]
    return min(near, key=lambda row: (row["layer"], -row["choice_score"]))


def _directions(found: dict[str, Direction], sides: Sides, size: float) -> pa.Table:
    rows = [
        {
            "layer": sides.layer,
            "hook_point": sides.hook_point,
            "method": method,
            "direction": measured.unit.astype(np.float32),
            "norm": _known(measured.norm),
            "relative_norm": _known(measured.norm / size if size else np.nan),
        }
        for method, measured in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema("directions"))


def _scores(
    found: dict[str, Direction], split: Split | None, sides: Sides, size: float, seed: int, lengths: Ints
) -> list[dict[str, Any]]:
    evidence: dict[str, dict[str, float]] = {method: {} for method in found}
    if split is not None:
        background = Background.of(sides.pairs, split, seed, lengths)
        evidence = {
            name: asdict(score(name, measured, sides.pairs, split, seed, background))
            for name, measured in found.items()
        }
    rows = []
    for method, measured in found.items():
        cosines = {name: float(measured.unit @ other.unit) for name, other in found.items()} | {method: 1.0}
        rows.append(
            {
                "layer": sides.layer,
                "hook_point": sides.hook_point,
                "method": method,
                "n_pairs": len(sides.pairs.stems),
                "n_train": int(split.train.sum()) if split else len(sides.pairs.stems),
                "n_heldout": int(split.test.sum()) if split else 0,
                "relative_norm": _known(measured.norm / size if size else np.nan),
                **{name: _known(evidence[method].get(name, np.nan)) for name in Evidence.__dataclass_fields__},
                **{f"cosine_{name}".replace("-", "_"): cosine for name, cosine in cosines.items()},
            }
        )
    return rows


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _report(rows: list[dict[str, Any]], split: Split | None, pairs: Pairs) -> dict[str, Any]:
    best = {method: row for method in METHODS if (row := choose(rows, method)) is not None}
    found: dict[str, Any] = {
        "n_pairs": len(pairs.stems),
        "n_stems": pairs.n_stems,
        "templates": list(pairs.template_names),
        "split": None if split is None else {name: int(part.sum()) for name, part in vars(split).items()},
        "method": SHOWN,
        "chosen": best,
        "length_only": None,
    }
    if split is not None:
        length = LengthCheck.of(
            *both(pairs.lengths[0], pairs.lengths[1], split.test), np.tile(pairs.stems[split.test], 2)
        )
        found["length_only"] = {"held_out": asdict(length.only)}
    return found | {"warnings": [*about_pairs(pairs, split), *about_choice(best, SHOWN, found["length_only"])]}


def row_norms(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """[n] float64: the norms of the rows of [n, d_model]."""
    found: npt.NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return found


def contrast_rows(pairs: Pairs, sides: Sides) -> tuple[pa.Table, float]:
    """The table `contrasts` of one hook point, one row a pair; and the mean norm of the vectors there, both sides."""
    n = len(pairs.record_ids)
    apart, cosine, known, total = np.empty(n), np.empty(n), np.empty(n, dtype=np.bool_), 0.0
    for here, positive, negative in sides.pairs.blocks():
        of_positive, of_negative = row_norms(positive), row_norms(negative)
        norms = of_positive * of_negative
        total += float(of_positive.sum() + of_negative.sum())
        cosine[here] = np.einsum("nd,nd->n", positive, negative) / np.where(norms > 0, norms, 1)
        known[here] = norms > 0
        apart[here] = row_norms(positive - negative)
    columns = {
        "record_id": pa.array(pairs.record_ids),
        "template": pa.array(pairs.template_names, pa.string()).take(pa.array(pairs.templates)),
        "layer": pa.array(np.full(n, sides.layer, dtype=np.int32)),
        "hook_point": pa.repeat(sides.hook_point, n),
        "diff_norm": pa.array(apart),
        "cosine": pa.array(cosine, mask=~known),
    }
    return pa.table(columns, schema=arrow_schema("contrasts")), total / (2 * n)


def contrast_stats(table: pa.Table) -> list[dict[str, Any]]:
    """Make rows of the table `pair_stats` from `contrasts` of one hook point: a summary of each measure."""
    rows = []
    for measure in ("diff_norm", "cosine"):
        values = table[measure].drop_null().to_numpy()
        if not len(values):
            continue
        place = {name: table[name][0].as_py() for name in ("layer", "hook_point")}
        rows.append({**place, "measure": measure, **summary_of(values)})
    return rows
