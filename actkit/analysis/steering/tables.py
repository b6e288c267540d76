"""The tables of `steer` over its log-probabilities, and the report: the choice, and the verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.steering.effects import Made, effect_rows
from actkit.analysis.steering.samples import ANSWERS, COST, TEXTS, WORDS, Measured, read_samples
from actkit.analysis.steering.verdict import LEVEL, choose, chosen_p_value, is_shown, verdict
from actkit.schemas import arrow_schema

TEST = "test"
ORDER = (ANSWERS, WORDS, TEXTS)
"""Metrics by preference: the verdict is on the first that a run has."""


def steering_tables(
    run: Path, interventions: Sequence[Mapping[str, Any]], n_layers: int, budget: float, report: dict[str, Any]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield `interventions`, `effects` and `effect_samples`; `report` gets the choice and the verdicts.

    `interventions` are the rows of that table, several for an intervention that acts at several hook points.
    """
    yield (
        "interventions",
        pa.Table.from_pylist([dict(row) for row in interventions], schema=arrow_schema("interventions")),
    )
    made = made_of(interventions)
    measured = read_samples(run, len(made) + 1)
    rows = effect_rows(measured, made, budget)
    metric = next((name for name in ORDER if any(row["metric"] == name for row in rows)), None)
    report.update(report_of([row for row in rows if row["metric"] == metric], n_layers, budget))
    schema = arrow_schema("effects")
    yield (
        "effects",
        pa.Table.from_pylist([{name: _known(row.get(name)) for name in schema.names} for row in rows], schema),
    )
    yield "effect_samples", sample_table(measured, [action.intervention_id for action in made])


def made_of(interventions: Sequence[Mapping[str, Any]]) -> list[Made]:
    """Return all interventions but the unsteered one, by id, as far as statistics need to know them."""
    found: dict[int, Made] = {}
    for row in interventions:
        number = int(row["intervention_id"])
        if number == 0:
            continue
        before = found.get(number)
        layer = row["layer"] if before is None else min(before.layer, row["layer"])
        features = tuple(row["feature_ids"] or ())
        hook_point = row["hook_point"] if before is None else "several"
        found[number] = Made(
            number,
            row["do"],
            layer,
            row["source"],
            row["strength"],
            row["is_control"],
            row["control_group"],
            row["expected"],
            (row["do"], hook_point, row["source"], features),
        )
    return [found[number] for number in sorted(found)]


def sample_table(measured: Measured, ids: Sequence[int]) -> pa.Table:
    """`effect_samples`: a row a text and intervention."""
    tables = []
    for samples in measured.samples:
        records, changes = samples.of_records()
        sides = {}
        for name, sign in (("delta_positive", 1), ("delta_negative", -1)):
            values = np.full(changes.shape, np.nan)
            rows = samples.side == sign
            values[np.searchsorted(records, samples.record_ids[rows])] = samples.change[rows]
            sides[name] = values if samples.metric != COST else np.full(changes.shape, np.nan)
        n, k = len(records), len(ids)
        columns = {
            "intervention_id": np.tile(np.asarray(ids), n),
            "record_id": np.repeat(records, k),
            "split": pa.array([samples.split] * (n * k)),
            "metric": pa.array([samples.metric] * (n * k)),
            "effect": changes[:, ids].reshape(-1),
            **{name: pa.array(own := values[:, ids].reshape(-1), mask=np.isnan(own)) for name, values in sides.items()},
        }
        schema = arrow_schema("effect_samples")
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
        ran = ~np.isnan(changes[:, ids].reshape(-1))
        tables.append(pa.Table.from_arrays(arrays, schema=schema).filter(pa.array(ran)))
    return pa.concat_tables(tables)


def report_of(rows: list[dict[str, Any]], n_layers: int, budget: float) -> dict[str, Any]:
    """The report in `run.json`: the choice made on the validation split, and the verdict on the test split."""
    tested = [row for row in rows if row["split"] == TEST and not row["is_control"]]
    validated = any(row["split"] == "validation" for row in rows)
    chosen = choose(rows, n_layers) if validated else None
    if chosen is not None:
        for row in rows:
            row["chosen"] = row["intervention_id"] == chosen["intervention_id"]
        among = {"p_chosen": chosen_p_value(rows, chosen, n_layers)}
        reported = [{**row, **among} for row in tested if row["chosen"]]
    else:
        reported = [] if validated else tested
    found: dict[str, Any] = {
        "budget": budget,
        "chosen": None if chosen is None else _short(chosen),
        "verdicts": [{**_short(row), "shown": is_shown(row), "verdict": verdict(row, budget)} for row in reported],
        "warnings": list(_about_several(sum(not np.isnan(row["p_value"]) for row in reported))),
    }
    if validated and chosen is None:
        found["verdicts"] = []
        found["warnings"].append(
            f"not shown: on the validation texts every strength costs more than the budget of {budget:g} nats a token"
        )
    return found


def _about_several(n_tested: int) -> Iterator[str]:
    """The caveat for several verdicts: each is tested at LEVEL, and none is corrected for the others."""
    if n_tested > 1:
        yield (
            f"{n_tested} interventions are reported, each tested at p ≤ {LEVEL:g}: chance alone would show up to "
            f"{LEVEL * n_tested:.2g} of them; q is over all of them"
        )


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("intervention_id", "do", "source", "layer", "strength", "metric", "effect", "low", "high")
    more = ("effect_minus_control", "control_low", "control_high", "n_controls", "p_value", "q_value", "share_right")
    return {name: _known(row[name]) for name in (*names, *more)} | {
        name: _known(row.get(name)) for name in ("p_chosen", "delta_nll", "kl", "slope", "anti_steerable")
    }


def _known(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value
