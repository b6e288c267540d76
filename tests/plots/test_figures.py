"""Numbers in figures are those of the tables, worked out again here with pandas and numpy."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from actkit.plots import sae_extract, steer
from actkit.plots.capture import (
    POSITIONS,
    coordinates,
    kind_of,
    layers,
    neighbours,
    norms,
    rows_of_first_kind,
    similarity,
)
from actkit.plots.concept.directions import directions
from actkit.plots.concept.directions import layers as scores_by_layer
from actkit.plots.concept.sides import chosen, interval, length, pairs, projected, projections
from actkit.plots.dpo import projections as of_pairs
from actkit.plots.dpo.pair_vectors import differences_at, layer_of
from actkit.plots.dpo.projections import drift, pair, pca
from actkit.plots.feature_dataset.all_features import l0, map_
from actkit.plots.feature_dataset.chosen_feature import document, feature_shown, histogram_of
from actkit.plots.feature_rows import position_rows
from actkit.plots.picture import LackingError, Pick, d_sae_of, layer_shown, sae_shown, sequence_shown
from actkit.plots.reward_detect.chosen_feature import COMPARED, feature
from actkit.plots.reward_detect.ranking import ENDS, forest, probes, replication, scores_of, volcano
from actkit.plots.sae_extract import last, matrix, record, sides
from actkit.plots.steer import cost, dose, effects_of, unit_of
from actkit.plots.steer import layers as by_layer
from actkit.runs.run import Run

Open = Callable[[str], Run]


@pytest.fixture
def run(six_runs: Mapping[str, Path]) -> Open:
    return lambda command: Run(six_runs[command])


def with_special(run: Run, table: str) -> pd.DataFrame:
    """Rows by position, and whether statistics leave them out."""
    tokens = run.to_pandas("tokens")[["sequence_id", "position", "is_special", "is_sink", "role", "token"]]
    found = run.to_pandas(table).merge(tokens, on=["sequence_id", "position"], how="left")
    found["out"] = found["is_special"] | (found["is_sink"] == True)  # noqa: E712 - it may be null
    return found


def trace(drawn: Any, name: str) -> Any:
    (found,) = [each for each in drawn.figure.data if each.name == name]
    return found


def test_captured_vectors_by_layer_position_and_coordinate(run: Open) -> None:
    own = run("capture")
    rows = with_special(own, "activations")
    x = np.stack(rows["activation"].to_list()).astype(np.float64)
    rows["norm"] = np.linalg.norm(x, axis=1)
    heat = norms(own, Pick()).figure.data[0]
    means = rows[rows["position"] < POSITIONS].groupby(["layer", "position"])["norm"].mean().unstack()
    assert list(heat.x) == means.columns.tolist() and np.allclose(
        np.array(heat.customdata, dtype=float), means, equal_nan=True
    )
    plain = rows[~rows["out"]].index
    by = {layer: np.abs(x[plain.intersection(rows.index[rows["layer"] == layer])]).mean(axis=0) for layer in (1, 2)}
    shares = np.array([by[layer] / by[layer].mean() for layer in (1, 2)])
    heat = coordinates(own, Pick()).figure.data[0]
    top = sorted(np.argsort(-shares.max(axis=0), kind="stable")[: len(heat.x)].tolist())
    assert list(heat.x) == [str(at) for at in top] and np.allclose(heat.z, shares[:, top], rtol=1e-5)
    shown = layers(own, Pick())
    table = own.to_pandas("layer_stats")
    for each in shown.figure.data:
        here = table[table["special_tokens"] == ("left out" not in each.name and "counted" in each.name)]
        assert set(np.round(each.y, 9)) <= set(np.round(here["mean_norm"], 9)) or len(shown.figure.data) == 1


def test_cosines_of_layers_and_of_tokens(run: Open) -> None:
    own = run("capture")
    rows = with_special(own, "activations")
    both = rows[rows["layer"] == 1].merge(rows[rows["layer"] == 2], on=["sequence_id", "position"])
    both = both[~both["out_x"]]
    a, b = (np.stack(both[f"activation_{side}"].to_list()).astype(np.float64) for side in "xy")
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    drawn = neighbours(own, Pick())
    assert list(trace(drawn, "median").x) == [1] and trace(drawn, "median").y[0] == pytest.approx(
        np.median(cosines), abs=1e-6
    )
    assert f"{len(cosines):,} positions" in drawn.says
    drawn = similarity(own, Pick(layer=2, record=1))
    sequence = own.to_pandas("sequences").set_index("record_id").loc[1, "sequence_id"]
    text_rows = rows[(rows["sequence_id"] == sequence) & (rows["layer"] == 2)].sort_values("position")
    unit = np.stack(text_rows["activation"].to_list()).astype(np.float64)[: len(drawn.figure.data[0].x)]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert np.allclose(np.array(drawn.figure.data[0].z, dtype=float), unit @ unit.T, atol=2e-3)
    with pytest.raises(LackingError, match="This run has no layer 3") as error:
        similarity(own, Pick(layer=3))
    assert error.value.hint == "it has 1, 2"


def test_vectors_of_one_kind_of_hook_point(run: Open) -> None:
    assert kind_of("blocks.3.attn.hook_z") == "attn.hook_z" and kind_of("blocks.3.hook_resid_post") == "hook_resid_post"
    part = run("capture").path / "activations" / "part-00000.parquet"
    assert [rows.layer for rows in rows_of_first_kind(part)] == [1, 2]


def test_what_is_picked_and_what_is_shown_without(run: Open) -> None:
    facts: Any = SimpleNamespace(facts={"model": {"n_layers": 11}})
    places = [(layer, f"blocks.{layer}.hook_resid_post") for layer in (0, 4, 7, 10)]
    assert layer_shown(facts, Pick(), places)[0] == 7 and layer_shown(facts, Pick(layer=4), places)[0] == 4
    own = run("sae-extract")
    (sae,) = own.facts["saes"]
    assert (
        sae_shown(own, Pick()) == sae["name"] == sae_shown(own, Pick(sae=sae["name"]))
        and d_sae_of(own, sae["name"]) == sae["d_sae"]
    )
    with pytest.raises(LackingError, match="This run has no SAE other"):
        sae_shown(own, Pick(sae="other"))
    with pytest.raises(LackingError, match="This run has no SAE"):
        sae_shown(run("capture"), Pick())
    sequences = own.to_pandas("sequences").set_index("record_id")
    assert sequence_shown(own, Pick(record=2)) == sequences.loc[2, "sequence_id"]
    with pytest.raises(LackingError, match="This run has no record 999"):
        sequence_shown(own, Pick(record=999))


def test_both_sides_of_a_concept_on_its_direction(run: Open) -> None:
    own = run("concept")
    about = own.facts["concept"]
    best = about["chosen"][about["method"]]
    row = chosen(own, Pick())
    assert (row["layer"], row["method"]) == (best["layer"], about["method"])
    with pytest.raises(LackingError, match="This run has no direction at layer 3"):
        chosen(own, Pick(layer=3))
    of = projected(own, Pick())
    table = own.to_pandas("directions")
    direction = np.array(
        table[(table["hook_point"] == of.row["hook_point"]) & (table["method"] == of.method)]["direction"].iloc[0]
    )
    vectors = own.to_pandas("activations")
    vectors = vectors[vectors["hook_point"] == of.row["hook_point"]]
    vectors["value"] = [float(np.array(x, dtype=np.float64) @ direction) for x in vectors["activation"]]
    means = vectors.groupby("sequence_id")["value"].mean()
    texts = own.to_pandas("sequences")
    texts = texts[(texts["split"] == "test") & texts["sequence_id"].isin(means.index)]
    for side, values, tokens in (("positive", of.positive, of.tokens[0]), ("negative", of.negative, of.tokens[1])):
        here = texts[texts["side"] == side].set_index("record_id").loc[of.records]
        assert np.allclose(values, means.loc[here["sequence_id"]]) and tokens.tolist() == here["n_tokens"].tolist()
    assert of.held_out and of.which == f"{len(of.records)} test pairs"
    drawn = projections(own, Pick())
    assert sorted(trace(drawn, "positive").x) == pytest.approx(sorted(of.positive)) and interval(row) in drawn.says
    drawn = pairs(own, Pick())
    shown = drawn.figure.data[1]
    assert (
        np.allclose(shown.x, of.negative)
        and np.allclose(shown.y, of.positive)
        and list(shown.customdata) == of.records.tolist()
    )
    assert f"{100 * (of.positive > of.negative).mean():.0f} % lie above" in drawn.says
    drawn = length(own, Pick())
    both = np.concatenate([of.positive, of.negative])
    r = pd.Series(both).corr(pd.Series(np.concatenate(of.tokens)), method="spearman")
    assert (
        f"{abs(0.0 if np.isnan(r) else r):.2f}" in drawn.says
        and list(trace(drawn, "positive").x) == of.tokens[0].tolist()
    )
    other = projected(own, Pick(layer=3 - of.layer))
    u = mannwhitneyu(other.positive, other.negative).statistic / len(other.records) ** 2
    assert u == pytest.approx(chosen(own, Pick(layer=other.layer))["auroc_heldout"], abs=1e-9)


def test_directions_by_layer_and_between_methods(run: Open) -> None:
    own = run("concept")
    table = own.to_pandas("direction_scores")
    drawn = scores_by_layer(own, Pick())
    for each in drawn.figure.data:
        here = table[table["method"] == each.name]
        if len(here):
            assert list(each.y) == here["auroc_heldout"].tolist()
    assert sum(len(table[table["method"] == each.name]) > 0 for each in drawn.figure.data) == table["method"].nunique()
    stored = own.to_pandas("directions").sort_values(["method", "layer"])
    unit = np.stack(stored["direction"].to_list())
    z = np.array(directions(own, Pick()).figure.data[0].z, dtype=float)
    assert np.allclose(z, unit @ unit.T, atol=2e-3)


def test_pairs_in_two_dimensions_and_token_by_token(run: Open) -> None:
    own = run("dpo")
    layer, point = layer_of(own, Pick())
    records, differences = differences_at(own, point)
    drawn = pca(own, Pick())
    for shown, values in zip(drawn.figure.data, (differences, differences - differences.mean(0)), strict=True):
        assert list(shown.customdata) == records.tolist()
        xy = np.stack([shown.x, shown.y], axis=1)
        sizes = np.linalg.svd(values, compute_uv=False)[:2]
        assert np.allclose(np.linalg.norm(xy, axis=0), sizes, rtol=1e-5), "the two largest singular values"
        axes = np.linalg.lstsq(values.T @ values + 1e-9 * np.eye(values.shape[1]), values.T @ xy, rcond=None)[0]
        assert np.allclose(values @ axes, xy, atol=1e-3 * np.abs(xy).max())
    drawn = of_pairs.layers(own, Pick())
    mean = trace(drawn, "mean difference")
    scale = {}
    for number in mean.x:
        name = f"blocks.{number}.hook_resid_post"
        scale[number] = np.linalg.norm(differences_at(own, name)[1].mean(0)) / mean.y[list(mean.x).index(number)]
    table = own.to_pandas("pair_diffs").dropna(subset=["response_diff_norm"])
    medians = table.groupby("layer")["response_diff_norm"].median()
    shown = trace(drawn, "means of the answers: median")
    assert np.allclose(shown.y, [medians[number] / scale[number] for number in shown.x], rtol=1e-5)
    drawn = pair(own, Pick(record=int(records[0])))
    assert f"layer {layer}" in drawn.says and drawn.title.startswith(f"Pair {records[0]}:")
    strips = np.array([[np.nan if at is None else at for at in row] for row in drawn.figure.data[0].z], dtype=float)
    assert abs(np.nanmean(strips)) < 0.5 * np.nanmax(np.abs(strips)), "less the mean of both answers"
    drawn = drift(own, Pick())
    assert {"chosen", "rejected"} <= {each.name for each in drawn.figure.data}


def test_positions_of_features_are_the_tables(run: Open) -> None:
    own = run("sae-extract")
    sae = own.facts["saes"][0]["name"]
    table = with_special(own, "features").sort_values(["sequence_id", "position"])
    found = list(position_rows(own, sae))
    assert np.concatenate([rows.n_active for rows in found]).tolist() == table["n_active"].tolist()
    assert np.concatenate([rows.is_special for rows in found]).tolist() == table["out"].tolist()
    assert np.concatenate([rows.feature_ids for rows in found]).tolist() == [
        number for ids in table["feature_ids"] for number in ids
    ]
    assert [text for rows in found for text in rows.tokens] == table["token"].tolist()
    short = list(position_rows(own, sae, with_features=False))
    assert (
        sum(len(rows.feature_ids) for rows in short) == 0
        and np.concatenate([rows.positions for rows in short]).tolist() == table["position"].tolist()
    )
    with pytest.raises(LackingError, match="This run has no rows in features"):
        next(position_rows(run("capture"), sae))


def test_features_of_records(run: Open) -> None:
    own = run("sae-extract")
    table = with_special(own, "features").merge(
        own.to_pandas("sequences")[["sequence_id", "record_id", "response_start"]], on="sequence_id"
    )
    table = table.sort_values(["sequence_id", "position"])
    prompts = table[table["response_start"].isna() | (table["position"] < table["response_start"])]
    ends = prompts.groupby("record_id").tail(1).set_index("record_id")
    drawn = matrix(own, Pick())
    heat = drawn.figure.data[0]
    count = Counter(number for ids in ends["feature_ids"] for number in ids)
    assert list(heat.x) == [str(n) for n in sorted(count, key=lambda n: (-count[n], n))[: len(heat.x)]]
    for row, name in zip(heat.z, heat.y, strict=True):
        own_row = ends.loc[int(name)]
        known = dict(zip(own_row["feature_ids"].tolist(), own_row["feature_activations"].tolist(), strict=True))
        assert [None if value is None else pytest.approx(value) for value in row] == [known.get(int(n)) for n in heat.x]
    drawn = sides(own, Pick())
    shown = drawn.figure.data[1]
    plain = table[~table["out"]]
    answers = plain["position"] >= plain["response_start"].fillna(1 << 40)
    for axis, part in ((shown.x, plain[~answers]), (shown.y, plain[answers])):
        hits = Counter(number for ids in part["feature_ids"] for number in ids)
        assert np.allclose(axis, [(hits[n] + 0.5) / (len(part) + 1) for n in shown.customdata])
    drawn = last(own, Pick(record=2))
    bars = drawn.figure.data[0]
    expected = ends.loc[2]["feature_activations"][: len(bars.x)]
    assert sorted(bars.x) == pytest.approx(sorted(expected))
    drawn = record(own, Pick(record=2))
    tops = [max(values) for values in table[table["record_id"] == 2]["feature_activations"] if len(values)]
    values = [value for row in drawn.figure.data[0].z for value in row if value is not None]
    assert {round(float(value), 4) for value in values if not np.isnan(value)} <= {
        round(float(top), 4) for top in [*tops, 0.0]
    }
    drawn = sae_extract.l0(own, Pick())
    plain = plain[plain["position"] < sae_extract.POSITIONS]
    for each in drawn.figure.data:
        role = str(each.name).removesuffix(": median")
        if role != str(each.name):
            here = plain[plain["role"].fillna("text") == role].groupby("position")["n_active"].median()
            assert np.allclose(each.y, here.loc[list(each.x)])


def test_all_features_of_a_corpus_and_one_of_them(run: Open) -> None:
    own = run("feature-dataset")
    drawn = l0(own, Pick())
    table = with_special(own, "features")
    table = table[~table["out"]]
    shown = trace(drawn, "median")
    by = table.groupby("position")["n_active"].apply(lambda values: sorted(values)[-(-len(values) // 2) - 1])
    assert list(shown.y) == by.loc[list(shown.x)].tolist()
    stats = own.to_pandas("feature_stats")
    assert f"of {len(stats):,}." in map_(own, Pick()).says
    sae, number = feature_shown(own, Pick())
    score = np.where(
        (stats["density"] > 0) & (stats["density"] <= 0.1),
        stats["max"].fillna(0) * np.sqrt(stats["density"].fillna(0)),
        0,
    )
    assert number == stats["feature_id"].iloc[int(score.argmax())]
    counts, most = histogram_of(own, sae, number)
    row = stats.set_index("feature_id").loc[number]
    assert sum(counts) == row["n_active"] and most == pytest.approx(row["max"])
    with pytest.raises(LackingError, match="has no feature 1000000000"):
        feature_shown(own, Pick(feature=10**9))
    silent = next(n for n, active in zip(stats["feature_id"], stats["n_active"], strict=True) if not active)
    with pytest.raises(LackingError, match="is active on no token"):
        histogram_of(own, sae, int(silent))
    drawn = document(own, Pick())
    values = [value for row in drawn.figure.data[0].z for value in row if value is not None]
    assert np.nanmax(np.array(values, dtype=float)) == pytest.approx(row["max"], rel=1e-3), "where it is strongest"


def test_features_of_feedback(run: Open) -> None:
    own = run("reward-detect")
    sae, rows = scores_of(own, Pick())
    table = own.to_pandas("feature_scores").sort_values("rank")
    assert [row["feature_id"] for row in rows] == table["feature_id"].tolist()
    drawn = forest(own, Pick())
    shown = table if len(table) <= 2 * ENDS else pd.concat([table[:ENDS], table[-ENDS:]])
    assert list(trace(drawn, "discovery").x) == shown["auroc"].tolist()
    tested = table.dropna(subset=["p_value"])
    points = [
        (x, y)
        for each in volcano(own, Pick()).figure.data
        if each.x is not None
        for x, y in zip(each.x, each.y, strict=True)
    ]
    assert np.allclose(sorted(points), sorted(zip(tested["auroc"], -np.log10(tested["p_value"]), strict=True)))
    held = table.dropna(subset=["q_value", "auroc_heldout"])
    found = [
        (x, y)
        for each in replication(own, Pick()).figure.data[1:]
        if each.x is not None
        for x, y in zip(each.x, each.y, strict=True)
    ]
    assert np.allclose(sorted(found), sorted(zip(held["auroc"], held["auroc_heldout"], strict=True)))
    number = int(table["feature_id"].iloc[0])
    pooled = own.to_pandas("pooled_features")
    expected = {
        row.sequence_id: float(row.feature_activations[list(row.feature_ids).index(number)])
        for row in pooled.itertuples()
        if number in row.feature_ids
    }
    drawn = feature(own, Pick(feature=number))
    labels = own.to_pandas("sequences").set_index("sequence_id")["label"]
    for box, side in zip(drawn.figure.data, ("positive", "negative"), strict=False):
        assert list(box.y) == pytest.approx([expected.get(each, 0.0) for each in labels.index[labels == side]])
    values = table.iloc[0]
    assert list(drawn.figure.data[2].x) == pytest.approx(
        [values[name] for name in COMPARED.values() if not pd.isna(values[name])]
    )
    with pytest.raises(LackingError, match="was not tested"):
        feature(own, Pick(feature=10**9))
    about = next(each for each in own.facts["scores"]["saes"] if each["sae"] == sae)
    drawn = probes(own, Pick())
    expected_bars = [probe["auroc"] for probe in about.get("feature_probes", {}).values()]
    assert list(drawn.figure.data[0].x)[1 : 1 + len(expected_bars)] == expected_bars
    with pytest.raises(LackingError, match="This run tested no features"):
        probes(run("sae-extract"), Pick())


def test_effects_of_interventions(run: Open) -> None:
    own = run("steer")
    rows, split, metric = effects_of(own)
    table = own.to_pandas("effects")
    here = table[(~table["is_control"]) & (table["split"] == split) & (table["metric"] == metric)]
    assert len(rows) == len(here) > 0 and metric == "answers" and unit_of("words") == "effect, nats"
    drawn = steer.forest(own, Pick())
    assert list(trace(drawn, "effect").x) == sorted(here["effect"])[-steer.MOST :]
    drawn = steer.samples(own, Pick())
    effects = own.to_pandas("effect_samples")
    picked = here[here["chosen"]] if here["chosen"].any() else here.loc[[here["effect"].abs().idxmax()]]
    mine = effects[
        (effects["intervention_id"] == picked["intervention_id"].iloc[0])
        & (effects["split"] == split)
        & (effects["metric"] == metric)
    ]
    assert list(drawn.figure.data[0].y) == sorted(mine["effect"])
    drawn = dose(own, Pick())
    first = drawn.figure.data[-1] if drawn.figure.data[-1].error_y.array is not None else drawn.figure.data[0]
    assert 0.0 in list(first.x) and list(first.y)[list(first.x).index(0.0)] == 0.0, (
        "every line goes through the model as it is"
    )
    assert set(first.y) - {0.0} <= set(here["effect"])
    drawn = cost(own, Pick())
    places = {(x, y) for each in drawn.figure.data for x, y in zip(each.x, each.y, strict=True)}
    assert places == {(0.0, 0.0), *zip(here["delta_nll"], here["effect"], strict=True)}
    drawn = by_layer(own, Pick())
    positive = here[(here["strength"] > 0)]
    kept = positive["within_budget"].ne(other=False)
    inside = positive[kept] if kept.any() else positive
    for each in drawn.figure.data:
        if each.xaxis == "x" and each.error_y.array is not None:
            for layer, effect in zip(each.x, each.y, strict=True):
                of_layer = inside[inside["layer"] == layer]
                of_layer = of_layer if len(of_layer) else positive[positive["layer"] == layer]
                assert abs(effect) == pytest.approx(of_layer["effect"].abs().max())
