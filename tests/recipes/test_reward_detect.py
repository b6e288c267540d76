"""`reward-detect` from texts to ranking: every figure is what brute force finds on the run's own tables."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from actkit.analysis.auroc import stratified_aurocs
from actkit.analysis.auroc_interval import Clusters
from actkit.analysis.columns import Columns
from actkit.analysis.feature_tests import feature_scores as feature_scores_module
from actkit.analysis.feature_tests.block_statistics import class_means
from actkit.analysis.feature_tests.feature_scores import ScoreSettings
from actkit.analysis.feature_tests.labelled import Texts, hold_out, left_of_length, length_only, read_texts
from actkit.analysis.feature_tests.ranking import ranked
from actkit.analysis.length import length_strata
from actkit.cli.app import main
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.errors import InputError, RunError, UsageError
from actkit.export.reward_features import caveats
from actkit.pipeline.recipe import Finished
from actkit.recipes.labels import FeedbackFields
from actkit.recipes.reward_detect import RewardDetectSpec, run_reward_detect
from actkit.recipes.specs import SparseSpec
from actkit.verify.tables.run import verify

THINGS = ("the soup", "a long letter", "her garden", "the old map", "this song", "my boat", "the horse", "that story")
GOOD = ("Thank you, {} was wonderful.", "I love {}, it is very good.", "How beautiful {} is, thank you so much!")
BAD = ("I am sorry, {} was terrible.", "I hate {}, it is very bad.", "How poor {} is, a waste of my time!")
SAE = SaeSpec("tiny", "blocks.2.hook_resid_post")


def texts(n_neutral: int = 3) -> list[dict[str, Any]]:
    found = [
        {"text": wording.format(thing), "feedback": label, "group": f"{thing}-{number}"}
        for thing in THINGS
        for number in range(3)
        for wording, label in ((GOOD[number], "positive"), (BAD[number], "negative"))
    ]
    return found + [{"text": f"There is {thing} here.", "feedback": "neutral"} for thing in THINGS[:n_neutral]]


def detected(path: Path, records: list[dict[str, Any]], saes: tuple[SaeSpec, ...] = (SAE,), **options: Any) -> Finished:
    path.mkdir(exist_ok=True)
    file = path / "in.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    settings = {key: options.pop(key) for key in list(options) if key in ScoreSettings.__dataclass_fields__}
    spec = RewardDetectSpec(str(file), scores=ScoreSettings(**{"draws": 500, "null_draws": 200, **settings}), **options)
    return run_reward_detect(spec, SparseSpec(ModelSpec(device="cpu"), saes, OutputSpec(path / "run", overwrite=True)))


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return detected(tmp_path_factory.mktemp("grouped"), texts())


def dense(path: Path, sae: str = "tiny/blocks.2.hook_resid_post") -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """The labelled texts, and [n, d_sae] their pooled features."""
    sequences = pd.read_parquet(path / "sequences").query("label == label and label != 'neutral'")
    rows = pd.read_parquet(path / "pooled_features").query("sae == @sae").set_index("sequence_id")
    x = np.zeros((len(sequences), 4096))
    for at, sequence in enumerate(sequences["sequence_id"]):
        x[at, rows.loc[sequence, "feature_ids"]] = rows.loc[sequence, "feature_activations"]
    return sequences, x


@pytest.mark.slow
def test_every_figure_is_brute_force(grouped: Finished) -> None:
    sequences, x = dense(grouped.path)
    settings = ScoreSettings()
    held = hold_out(read_texts(grouped.path), settings.held_out, settings.seed)
    assert held is not None
    y = (sequences["label"] == "positive").to_numpy()
    scores = pd.read_parquet(grouped.path / "feature_scores")
    assert set(scores["feature_id"]) == set(np.flatnonzero((x[~held] > 0).any(0)))
    for row in scores.to_dict("records"):
        column = x[:, row["feature_id"]]
        mine, label = column[~held], y[~held]
        assert row["n_active"] == (mine > 0).sum()
        assert row["active_rate_positive"] == pytest.approx((mine[label] > 0).mean())
        assert row["mean_positive"] == pytest.approx(mine[label].mean(), rel=1e-5)
        assert row["mean_negative"] == pytest.approx(mine[~label].mean(), rel=1e-5)
        assert row["activation_strength"] == pytest.approx(mine[mine > 0].mean(), rel=1e-5)
        if mine.std() > 0:
            assert row["correlation"] == pytest.approx(stats.pearsonr(mine, label).statistic, abs=1e-5)
        assert row["auroc"] == pytest.approx(roc_auc_score(label, mine), abs=1e-9)
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
        assert row["auroc_heldout"] == pytest.approx(roc_auc_score(y[held], column[held]), abs=1e-9)
        agrees = (row["auroc_heldout"] - 0.5) * (row["auroc"] - 0.5) > 0
        assert row["heldout_agrees"] == agrees
        responds = row["q_value"] <= 0.05 and row["p_largest"] <= 0.05 and agrees
        responds &= not (row["auroc_length_adjusted"] - 0.5) * (row["auroc"] - 0.5) <= 0  # NaN where it is not known
        side = "positive" if row["auroc"] > 0.5 else "negative"
        assert (row["responds_to"] == side) if responds else pd.isna(row["responds_to"])
        own = row["correlation"] if side == "positive" else -row["correlation"]
        assert row["passes_thresholds"] == (row["activation_strength"] >= 0.5 and own >= 0.6)
        assert 0 <= row["p_value"] <= 1 and row["q_value"] >= row["p_value"] - 1e-12
    assert scores["rank"].tolist() == list(range(1, len(scores) + 1))
    assert scores["auroc"].is_monotonic_decreasing
    np.testing.assert_allclose(scores["q_value"], stats.false_discovery_control(scores["p_value"]))


@pytest.mark.slow
def test_held_out_figures_are_those_of_the_tables_alone(grouped: Finished) -> None:
    """What `sequences.split` says is what was held out, also where a shard is read again by `verify`."""
    sequences, x = dense(grouped.path)
    held = (sequences["split"] == "held_out").to_numpy()
    assert set(sequences["split"]) == {"discovery", "held_out"} and held.sum() == 14
    every = pd.read_parquet(grouped.path / "sequences")
    assert (every["split"].isna() == (every["label"] == "neutral")).all()
    assert (sequences.groupby("group")["split"].nunique() == 1).all()
    y = (sequences["label"] == "positive").to_numpy()
    for _, row in pd.read_parquet(grouped.path / "feature_scores").iloc[::50].iterrows():
        column = x[:, row["feature_id"]]
        assert row["auroc"] == pytest.approx(roc_auc_score(y[~held], column[~held]), abs=1e-9)
        assert row["auroc_heldout"] == pytest.approx(roc_auc_score(y[held], column[held]), abs=1e-9)
    length = grouped.facts["scores"]["length_only"]["held_out"]["value"]
    assert length == pytest.approx(roc_auc_score(y[held], sequences["n_kept"][held]))
    assert verify(grouped.path, deep=True).problems == []


def test_what_must_be_found_is_found_and_stands_in_praise(grouped: Finished) -> None:
    first = pd.read_parquet(grouped.path / "feature_scores").iloc[0]
    assert first["auroc"] > 0.75 and first["q_value"] < 0.05
    document = json.loads((grouped.path / "reward_features.json").read_text(encoding="utf-8"))
    praise = {"Thank", "love", "good", "beautiful", "wonderful", "thank"}
    shown = [context["before"] + context["token"] + context["after"] for context in document["features"][0]["contexts"]]
    assert len(shown) == 3
    assert all(any(word in text for word in praise) for text in shown)
    assert document["features"][0]["feature_index"] == first["feature_id"]
    assert document["statistics"]["data"] == {
        "positive": 24,
        "negative": 24,
        "neutral": 3,
        "groups": 24,
        "repeated": 0,
        "discovery": {"positive": 17, "negative": 17},
        "held_out": {"positive": 7, "negative": 7},
        "also_in_discovery": 0,
        "share_to_hold_out": 0.3,
    }
    assert document["statistics"]["saes"][0]["exchanged"] == "within-groups"
    assert any("no cause" in warning for warning in document["warnings"])
    assert [feature for feature in document["features"] if feature["responds_to"] == "positive"] == document[
        "reward_features"
    ]


@pytest.mark.slow
def test_groups_stay_on_one_side_of_the_split_and_equal_texts_too(grouped: Finished, tmp_path: Path) -> None:
    """TRAPS 31."""
    found = read_texts(grouped.path)
    for seed in range(20):
        held = hold_out(found, 0.3, seed)
        assert held is not None
        assert not set(found.groups[held]) & set(found.groups[~held])
        assert set(found.positive[held]) == set(found.positive[~held]) == {True, False}
    twice = [{"text": text["text"], "feedback": text["feedback"]} for text in texts(0)] * 2
    found = read_texts(detected(tmp_path, twice).path)
    held = hold_out(found, 0.3, 0)
    assert held is not None
    assert np.array_equal(held[:48], held[48:])
    assert found.grouped and len(set(found.groups)) == 48


@pytest.mark.slow
def test_a_shuffled_label_finds_nothing(tmp_path: Path) -> None:
    """TRAPS 30: with few texts the best of thousands of features looks strong, and is said to be chance."""
    rng = np.random.default_rng(0)
    records = texts(0)
    for record, label in zip(records, rng.permutation(["positive", "negative"] * 24), strict=True):
        record.update(feedback=str(label), group=None)
    finished = detected(tmp_path, records)
    found = finished.facts["scores"]["found"]
    assert found["respond_to"] == found["significant"] == {"positive": 0, "negative": 0}
    assert finished.facts["scores"]["saes"][0]["largest_auroc_by_chance"]["q95"] > 0.7
    best = pd.read_parquet(finished.path / "feature_scores").iloc[0]
    assert best["auroc"] > 0.65 and best["p_largest"] > 0.05 and pd.isna(best["responds_to"])
    warnings = json.loads((finished.path / "reward_features.json").read_text(encoding="utf-8"))["warnings"]
    assert any("no feature responds to feedback" in warning for warning in warnings)


def test_too_few_texts_are_said_to_be_too_few(tmp_path: Path) -> None:
    finished = detected(tmp_path, texts(0)[:12])
    scores = finished.facts["scores"]
    assert scores["data"]["held_out"] is None and "dense_probe" not in scores["saes"][0]
    assert pd.read_parquet(finished.path / "feature_scores")["auroc_heldout"].isna().all()
    warnings = json.loads((finished.path / "reward_features.json").read_text(encoding="utf-8"))["warnings"]
    assert any("too few texts to hold some out" in warning for warning in warnings)
    assert any("too small to tell" in warning for warning in warnings)


def test_one_label_alone_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="24 positive and 0 negative"):
        detected(tmp_path, [text for text in texts(0) if text["feedback"] == "positive"])


@pytest.mark.slow
def test_length_is_told_apart(tmp_path: Path) -> None:
    """TRAPS 33: max-pooling grows with length. Where length makes the label, its own score says so."""
    rng = np.random.default_rng(1)
    words = np.array(["the", "a", "sea", "ship", "man", "king", "house", "tree", "water", "stone", "old", "new", "red"])
    records = [
        {"text": " ".join(rng.choice(words, size=rng.integers(4, 20) + 12 * long)), "label": int(long)}
        for long in rng.random(240) < 0.5
    ]
    finished = detected(tmp_path, records)
    assert finished.facts["scores"]["length_only"]["all"]["value"] > 0.85
    scores = pd.read_parquet(finished.path / "feature_scores")
    dense_ones = scores[(scores["n_active"] > 30) & (scores["auroc"] > 0.75)]
    assert len(dense_ones)
    assert (dense_ones["auroc_length_adjusted"] < dense_ones["auroc"]).mean() > 0.9
    warnings = json.loads((finished.path / "reward_features.json").read_text(encoding="utf-8"))["warnings"]
    assert any("length alone separates the classes" in warning for warning in warnings)


@pytest.mark.parametrize("left", [0.0, 0.97])
def test_what_length_tells_among_texts_of_equal_length_is_said_by_its_distance_from_chance(
    left: float, grouped: Finished
) -> None:
    """An AUROC of 0.00 is as much as one of 1.00, and was called nothing left."""
    length = {"all": {"value": 0.97, "low": 0.9, "high": 1.0}, "within_strata": left}
    told = caveats({**grouped.facts["scores"], "length_only": length})
    assert any("AUROC 0.97 over all texts (0.5 is chance): read auroc_length_adjusted" in text for text in told)
    assert any(f"AUROC {left:.2f} among" in text and "is further from 0.5 there" in text for text in told)
    assert not any(
        "among texts" in text
        for text in caveats({**grouped.facts["scores"], "length_only": length | {"within_strata": 0.5}})
    )


def test_length_strata_hold_texts_of_about_one_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, size=400)
    strata = length_strata(lengths)
    assert 30 <= len(set(strata)) <= 50
    ends = [(lengths[strata == stratum].min(), lengths[strata == stratum].max()) for stratum in sorted(set(strata))]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    assert len(set(length_strata(np.full(500, 7)))) == 1  # equal lengths are one stratum, however many texts


@pytest.mark.parametrize("n", [79, 120, 240, 1000])
def test_within_length_strata_length_itself_tells_little_where_it_makes_the_label(n: int) -> None:
    rng = np.random.default_rng(n)
    raw, left = [], []
    for _ in range(20):
        log = rng.normal(size=n)
        lengths = np.exp(3.3 + 0.8 * log).astype(np.int64) + 1
        label = rng.random(n) < 1 / (1 + np.exp(-1.5 * log))
        column = Columns(n, np.array([0, n]), np.arange(n, dtype=np.int32), lengths.astype(np.float32))
        raw.append(stratified_aurocs(column, Clusters.of(label, np.zeros(n, dtype=np.int64)))[0])
        left.append(stratified_aurocs(column, Clusters.of(label, length_strata(lengths)))[0])
    assert np.mean(raw) > 0.78
    assert np.mean(left) < 0.5 + (np.mean(raw) - 0.5) / 5


@pytest.mark.slow
def test_too_few_texts_for_strata_have_no_length_adjusted_auroc(tmp_path: Path) -> None:
    records = [text for text in texts(0) if text["group"].startswith(THINGS[:2])]
    finished = detected(tmp_path / "a", records)  # 12 texts of unequal length
    assert pd.read_parquet(finished.path / "feature_scores")["auroc_length_adjusted"].isna().all()
    assert finished.facts["scores"]["length_only"]["within_strata"] is None
    finished = detected(tmp_path / "b", texts(0))
    scores = pd.read_parquet(finished.path / "feature_scores")
    assert scores["auroc_length_adjusted"].notna().all()
    assert 0 < finished.facts["scores"]["length_only"]["within_strata"] < 1


@pytest.mark.slow
def test_a_held_out_text_that_also_chose_the_features_is_no_evidence(tmp_path: Path) -> None:
    """TRAPS 31: equal texts in groups of different names, as in a file that was put together of two."""
    records = [{**text, "group": f"{copy}-{text['group']}"} for copy in "ab" for text in texts(0)]
    finished = detected(tmp_path, records)
    about = finished.facts["scores"]["data"]
    split = read_texts(finished.path)
    held = hold_out(split, 0.3, 0)
    assert held is not None
    sequences, x = dense(finished.path)
    twins = held & sequences["text"].isin(set(sequences["text"][~held])).to_numpy()
    assert about["also_in_discovery"] == twins.sum() > 0
    assert sum(about["held_out"].values()) == (held & ~twins).sum() > 0
    left, y = held & ~twins, (sequences["label"] == "positive").to_numpy()
    for row in pd.read_parquet(finished.path / "feature_scores").head(50).to_dict("records"):
        assert row["auroc_heldout"] == pytest.approx(roc_auc_score(y[left], x[left, row["feature_id"]]), abs=1e-9)


@pytest.mark.slow
def test_where_every_held_out_text_also_chose_the_features_nothing_counts_as_held_out(tmp_path: Path) -> None:
    records = [{**text, "group": f"{copy}-{text['group']}"} for copy in range(12) for text in texts(0)[:12]]
    finished = detected(tmp_path, records)
    assert finished.facts["scores"]["data"]["held_out"] is None
    assert pd.read_parquet(finished.path / "feature_scores")["auroc_heldout"].isna().all()


@pytest.mark.slow
def test_copies_are_no_samples_of_their_own(tmp_path: Path) -> None:
    """Of labels drawn at random a feature would else respond to feedback, as soon as each text is there five times."""
    draw = np.random.default_rng(0)
    once = [{"text": text["text"], "feedback": int(draw.random() < 0.5)} for text in texts(0)]
    copies = detected(tmp_path / "copies", once * 5)
    named = detected(tmp_path / "named", [{**record, "group": record["text"]} for record in once * 5])
    tables = [pd.read_parquet(run.path / "feature_scores").drop(columns="contexts") for run in (copies, named)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["responds_to"].isna().all()
    about = copies.facts["scores"]["data"]
    assert (about["groups"], about["repeated"]) == (48, 192)
    warnings = json.loads((copies.path / "reward_features.json").read_text(encoding="utf-8"))["warnings"]
    assert any("192 of 240 texts repeat another word for word" in warning for warning in warnings)


def test_contexts_are_of_the_discovery_part_as_everything_that_is_not_held_out(grouped: Finished) -> None:
    split = read_texts(grouped.path)
    held = hold_out(split, 0.3, 0)
    assert held is not None
    contexts = pd.read_parquet(grouped.path / "feature_scores")["contexts"].dropna()
    shown = {item["sequence_id"] for row in contexts for item in row}
    assert len(shown) > 10 and not shown & set(split.sequence_ids[held].tolist())


@pytest.mark.slow
def test_nothing_held_out_on_request_is_not_called_too_few(tmp_path: Path) -> None:
    warnings = {}
    for share in (0.0, 0.3):
        finished = detected(tmp_path / str(share), texts(0)[: 48 if share == 0 else 10], held_out=share)
        assert finished.facts["scores"]["data"]["held_out"] is None
        document = json.loads((finished.path / "reward_features.json").read_text(encoding="utf-8"))
        warnings[share] = [warning for warning in document["warnings"] if "no feature was checked" in warning]
    assert "nothing was held out" in warnings[0.0][0] and "too few" in warnings[0.3][0]


@pytest.mark.slow
def test_preference_pairs_are_tested_within_pairs(tmp_path: Path) -> None:
    """The prompt is run once and not pooled; chosen is positive."""
    records = [
        {"prompt": f"What do you say about {thing}?", "chosen": good.format(thing), "rejected": bad.format(thing)}
        for thing in THINGS
        for good, bad in zip(GOOD, BAD, strict=True)
    ]
    finished = detected(tmp_path, records)
    assert finished.facts["detected"]["input_format"] == "preference pairs"
    assert finished.facts["input"]["shapes"] == {"trl": finished.facts["counts"]["written"]}
    assert finished.facts["scores"]["saes"][0]["exchanged"] == "within-groups"
    sequences = pd.read_parquet(finished.path / "sequences")
    assert sequences["side"].value_counts().to_dict() == {"shared": 24, "chosen": 24, "rejected": 24}
    assert (sequences.query("side == 'chosen'")["label"] == "positive").all()
    assert sequences.query("side == 'shared'")["n_kept"].sum() == 0
    pooled = pd.read_parquet(finished.path / "pooled_features")
    assert len(pooled) == 48
    merged = pooled.merge(sequences, on="sequence_id")
    assert all((row["feature_positions"] >= row["response_start"]).all() for _, row in merged.iterrows())
    assert len(set(sequences["group"].dropna())) == len(THINGS)  # pairs of one prompt belong together
    scores = pd.read_parquet(finished.path / "feature_scores")
    assert scores["auroc_within_group"].notna().any() and scores.iloc[0]["q_value"] < 0.05


@pytest.mark.slow
def test_after_a_prompt_only_the_answer_is_pooled(tmp_path: Path) -> None:
    records = [
        {"prompt": "What a day it was. ", "response": text["text"], "label": text["feedback"]} for text in texts(0)
    ]
    finished = detected(tmp_path, records)
    sequences = pd.read_parquet(finished.path / "sequences").set_index("sequence_id")
    tokens = pd.read_parquet(finished.path / "tokens")
    assert (sequences["n_kept"] == sequences["n_tokens"] - sequences["response_start"]).all()
    for row in pd.read_parquet(finished.path / "pooled_features").to_dict("records"):
        assert (row["feature_positions"] >= sequences.loc[row["sequence_id"], "response_start"]).all()
    assert (tokens["role"].dropna() != "assistant").all()
    assert len(set(sequences["group"])) == 1  # one prompt: all answers belong together, so nothing can be held out
    assert finished.facts["scores"]["data"]["held_out"] is None


@pytest.mark.slow
def test_scores_weigh_means_and_correlation_but_no_rank(tmp_path: Path) -> None:
    plain, weighted = texts(0), texts(0)
    for number, record in enumerate(weighted):
        record["score"] = 1 + number % 3
    first, second = (
        detected(tmp_path / "a", plain),
        detected(tmp_path / "b", weighted, fields=FeedbackFields(score="score")),
    )
    sequences, x = dense(second.path)
    held = hold_out(read_texts(second.path), 0.3, 0)
    assert held is not None
    weight = sequences["score"].to_numpy()[~held]
    label = (sequences["label"] == "positive").to_numpy()[~held]
    columns = ["sae", "feature_id"]
    a, b = (pd.read_parquet(run.path / "feature_scores").set_index(columns) for run in (first, second))
    pd.testing.assert_series_equal(a["auroc"], b["auroc"].loc[a.index])
    for (_, feature), row in b.iloc[:50].iterrows():
        mine = x[~held][:, feature]
        assert row["mean_positive"] == pytest.approx(np.average(mine[label], weights=weight[label]), rel=1e-5)
        cov = np.cov(mine, label, aweights=weight)
        if cov[0, 0] > 0:
            assert row["correlation"] == pytest.approx(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), abs=1e-5)


@pytest.mark.slow
def test_several_saes_are_ranked_together(tmp_path: Path) -> None:
    saes = (SaeSpec("tiny", "blocks.1.hook_resid_post"), SAE)
    finished = detected(tmp_path, texts(0), saes)
    scores = pd.read_parquet(finished.path / "feature_scores")
    assert set(scores["sae"]) == {"tiny/blocks.1.hook_resid_post", "tiny/blocks.2.hook_resid_post"}
    np.testing.assert_allclose(scores["q_value"], stats.false_discovery_control(scores["p_value"]))
    assert [sae["sae"] for sae in finished.facts["scores"]["saes"]] == sorted(set(scores["sae"]))
    one_alone = pd.read_parquet(detected(tmp_path / "one", texts(0)).path / "feature_scores")
    both = scores[scores["sae"] == "tiny/blocks.2.hook_resid_post"].set_index("feature_id")["auroc"]
    pd.testing.assert_series_equal(one_alone.set_index("feature_id")["auroc"].sort_index(), both.sort_index())


@pytest.mark.slow
def test_thresholds_filter_and_the_nearest_are_shown_all_the_same(tmp_path: Path) -> None:
    for threshold, survivors in ((0.0, True), (1.0, False)):
        finished = detected(tmp_path, texts(0), correlation_threshold=threshold, activation_threshold=0.0)
        document = json.loads((finished.path / "reward_features.json").read_text(encoding="utf-8"))
        assert len(document["features"]) == 10
        assert bool(document["reward_features"]) == survivors
        assert any("none by all of the evidence" in warning for warning in document["warnings"]) != survivors


def test_the_older_scripts_thresholds_are_a_column_and_no_condition(grouped: Finished) -> None:
    scores = pd.read_parquet(grouped.path / "feature_scores")
    responds = scores["responds_to"] == "positive"
    assert responds.any() and (responds & ~scores["passes_thresholds"]).any()
    counts = grouped.facts["scores"]["found"]
    assert counts["respond_to"]["positive"] == responds.sum()
    assert counts["respond_and_pass_thresholds"]["positive"] == (responds & scores["passes_thresholds"]).sum()


def row_of(**values: float) -> pa.Table:
    usual = {"p_value": 1e-6, "auroc": 0.7, "auroc_heldout": 0.7, "auroc_length_adjusted": 0.65, "p_largest": 0.01}
    return pa.table(
        {"feature_id": [3], "correlation": [0.3], "activation_strength": [2.0]}
        | {name: [values.get(name, value)] for name, value in usual.items()}
    )


@pytest.mark.parametrize(
    ("values", "verdict", "agrees"),
    [
        ({}, "positive", True),
        ({"auroc": 0.3, "auroc_heldout": 0.4, "auroc_length_adjusted": 0.2}, "negative", True),
        ({"auroc_heldout": np.nan, "auroc_length_adjusted": np.nan}, "positive", None),
        ({"auroc_heldout": 0.45}, None, False),
        ({"auroc": 0.5, "auroc_heldout": 0.5}, None, False),
        ({"auroc_heldout": 0.5}, None, False),
        ({"auroc_length_adjusted": 0.5}, None, True),
        ({"auroc_length_adjusted": 0.3}, None, True),
        ({"p_value": 0.2}, None, True),
        ({"p_largest": 0.2}, None, True),
    ],
)
def test_a_verdict_takes_all_evidence(values: dict[str, float], verdict: str | None, agrees: bool | None) -> None:
    table, found = ranked({"sae": row_of(**values)}, 0.05, None, None)
    row = table.to_pylist()[0]
    assert (row["responds_to"], row["heldout_agrees"], row["passes_thresholds"]) == (verdict, agrees, False)
    assert sum(found["respond_to"].values()) == (verdict is not None)
    assert ranked({"sae": row_of(**values)}, 0.05, None, 0.4)[0]["responds_to"].to_pylist() == [None]


def test_where_labels_differ_in_length_throughout_no_feature_is_said_to_respond_by_more_than_length() -> None:
    """In the classes of about equal length that straddle both, length tells the labels apart as well as anything."""
    n = 40
    positive = np.arange(n) % 2 == 1
    alone, ones = np.arange(n), np.ones(n)
    parts = np.zeros(n, dtype=np.int8)

    def left(lengths: Any) -> float:
        texts = Texts(alone, positive, alone, alone, ones, lengths, parts, 0, grouped=False)
        return left_of_length(length_only(texts, texts, None))

    apart = left(np.where(positive, 30, 3))
    assert apart == left(np.where(positive, 30, 3) + alone // 8) == 0.5
    assert left(np.where(alone % 4 > 1, 30, 3)) == 0.0  # lengths differ, but not between the labels
    perfect = {"sae": row_of(auroc=1.0, auroc_heldout=1.0, auroc_length_adjusted=1.0)}
    assert ranked(perfect, 0.05, None, None)[0]["responds_to"].to_pylist() == ["positive"]
    for adjusted in (1.0, np.nan):
        perfect = {"sae": row_of(auroc=1.0, auroc_heldout=1.0, auroc_length_adjusted=adjusted)}
        assert ranked(perfect, 0.05, None, None, apart)[0]["responds_to"].to_pylist() == [None]
    for adjusted, verdict in ((0.72, "positive"), (0.62, None)):
        row = {"sae": row_of(auroc_length_adjusted=adjusted)}
        assert ranked(row, 0.05, None, None, 0.18)[0]["responds_to"].to_pylist() == [verdict]


def test_a_feature_that_is_the_label_has_a_correlation_of_one_and_no_more() -> None:
    rng = np.random.default_rng(0)
    for n in range(5, 60):
        label = rng.random(n) < 0.5
        label[:2] = True, False
        value = np.full(int(label.sum()), np.float32(rng.random() + 0.1))
        columns = Columns(n, np.array([0, len(value)]), np.flatnonzero(label).astype(np.int32), value)
        found = class_means(columns, label, rng.random(n) + 0.1)["correlation"][0]
        assert found <= 1 and found == pytest.approx(1)


def test_no_ranking_is_printed_where_the_sample_carries_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts(0)[:12]), encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["reward-detect", str(file), "-o", str(tmp_path / "run"), "--draws", "200", "--device", "cpu"])
    said = capsys.readouterr().err
    assert (
        "no ranking is shown" in said
        and "the sample is too small to tell: by chance alone" in said
        and "AUROC (95 %)" not in said
    )
    assert len(pd.read_parquet(tmp_path / "run" / "feature_scores")) > 100


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts()), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["reward-detect", str(file), "-o", str(tmp_path / "run"), "--draws", "200", "--device", "cpu"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'run'}\n"
    wanted = "held out", "length alone separates the classes with AUROC", "0.5 is chance", "by chance", "no cause"
    for said in (*wanted, "probe of 10 features", "probe of the activations"):
        assert said in printed.err
    assert max(map(len, printed.err.splitlines())) < 160


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no DATA given"),
        (["x.jsonl", "--use-example-data"], "both given"),
        (["x.jsonl", "--positive", "a"], "belong together"),
        (["x.jsonl"], "no such file"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reward-detect", *arguments, "-o", str(tmp_path / "run")])
    assert ended.value.code in (1, 2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_own_labels_leave_the_rest_out_and_count_it(tmp_path: Path) -> None:
    records = [
        {**text, "feedback": ["praise", "x"] if text["feedback"] == "positive" else "blame"} for text in texts(0)
    ]
    records.append({"text": "Something else.", "feedback": "other"})
    finished = detected(tmp_path, records, fields=FeedbackFields(positive=("praise",), negative=("blame",)))
    assert finished.facts["counts"]["rejected"] == 1
    assert finished.facts["rejected_reasons"] == {"neither positive nor negative": 1}


@pytest.mark.parametrize("name", ["group", "score", "prompt"])
def test_a_field_that_was_named_and_is_nowhere_is_an_error_and_not_left_out(tmp_path: Path, name: str) -> None:
    fields = FeedbackFields(**{name: "misspelt"})
    with pytest.raises(InputError, match="no record has a field misspelt") as raised:
        detected(tmp_path, texts(), fields=fields)
    assert "feedback" in raised.value.hint


def test_fields_and_labels_of_labelled_texts_do_not_fit_preference_pairs(tmp_path: Path) -> None:
    records = [
        {"prompt": "How was it?", "chosen": good, "rejected": bad, "user": "u"}
        for good, bad in zip(GOOD, BAD, strict=True)
    ]
    for fields in (FeedbackFields(group="user"), FeedbackFields(positive=("a",), negative=("b",))):
        with pytest.raises(UsageError, match="preference pairs"):
            detected(tmp_path, records, fields=fields)


@pytest.mark.slow
def test_grades_are_refused_until_it_is_said_which_are_positive(tmp_path: Path) -> None:
    grades = {"positive": (5, 4), "negative": (1, 2), "neutral": (3, 3)}
    records = [
        {"text": text["text"], "rating": grades[text["feedback"]][n // 2 % 2], "group": n}
        for n, text in enumerate(texts())
    ]
    with pytest.raises(InputError, match="not clear what 1 means"):
        detected(tmp_path / "a", records)
    finished = detected(tmp_path / "b", records, fields=FeedbackFields(positive=("5", "4"), negative=("1", "2")))
    assert finished.facts["scores"]["data"]["positive"] == finished.facts["scores"]["data"]["negative"] == 24


def test_an_error_of_the_statistics_is_not_called_nothing_to_compare(
    grouped: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only labels that are not there leave nothing to compare; what else goes wrong keeps its own name."""

    def broken(*_: Any) -> None:
        raise ValueError("an array of no shape")

    monkeypatch.setattr(feature_scores_module, "dense_probe", broken)
    with pytest.raises(ValueError, match="an array of no shape"):
        detected(tmp_path / "a", texts(0))
    alike = [{**text, "feedback": "positive"} for text in texts(0)]
    with pytest.raises(RunError, match="nothing to compare: 48 positive and 0 negative texts"):
        detected(tmp_path / "b", alike)
