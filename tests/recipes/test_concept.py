"""`concept` from pairs to evidence: the common beginning is run once, and every number is that of the plain model."""

import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from actkit.backends import describe
from actkit.backends.saes import sae_lens as backend
from actkit.cli.app import main
from actkit.cli.screen.directions import show_directions
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.pipeline.recipe import Finished
from actkit.recipes.concept import ConceptSpec, run_concept
from actkit.recipes.concepts import Template
from actkit.recipes.specs import DenseSpec
from actkit.schemas import arrow_schema

WHO = ("The king", "A sailor", "My aunt", "The fox")
STEMS = [f"{who} {what}" for who in WHO for what in ("ate", "sang", "ran", "slept")]
WORDINGS = (("How happy: {}.", "How sad: {}."), ("{} and was glad.", "{} and was angry."))
SAE = SaeSpec("tiny", "blocks.2.hook_resid_post")


def pairs(stems: list[str] = STEMS) -> list[dict[str, str]]:
    return [
        {"positive": good.format(stem), "negative": bad.format(stem), "stem": stem, "template": str(number)}
        for stem in stems
        for number, (good, bad) in enumerate(WORDINGS)
    ]


def found(
    path: Path, records: list[Any], saes: tuple[SaeSpec, ...] = (), layers: str = "1,2", **options: Any
) -> Finished:
    path.mkdir(exist_ok=True)
    file = path / "in.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    dense = DenseSpec(ModelSpec(device="cpu"), OutputSpec(path / "run", overwrite=True), layers, saes=saes)
    return run_concept(ConceptSpec(str(file), **{"chat": False, **options}), dense)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return found(tmp_path_factory.mktemp("concept"), pairs(), (SAE,))


def table(run_of: Finished, name: str) -> pd.DataFrame:
    return pd.read_parquet(run_of.path / name)


def test_last_tokens_are_those_of_the_plain_model(finished: Finished) -> None:
    from transformers import AutoModelForCausalLM

    description = describe(ModelSpec(device="cpu"))
    model = AutoModelForCausalLM.from_pretrained(description.location, dtype=torch.float32)
    rows = table(finished, "activations").merge(table(finished, "sequences"), on="sequence_id")
    assert set(rows["label"]) == {"positive", "negative"} and len(rows) == 2 * 2 * 32
    for _, row in rows.iloc[::17].iterrows():
        with torch.inference_mode():
            ids = torch.tensor([description.tokenizer(row["text"])["input_ids"]])
            hidden = model(ids, output_hidden_states=True).hidden_states[row["layer"] + 1][0, -1].numpy()
        assert row["position"] == ids.shape[1] - 1
        assert np.abs(row["activation"] - hidden).max() <= 1e-5 * np.abs(hidden).max()


def test_the_common_beginning_is_run_once_and_not_read(finished: Finished) -> None:
    sequences, tokens = table(finished, "sequences"), table(finished, "tokens")
    shared = sequences[sequences["side"] == "shared"]
    assert len(shared) == 32 and (shared["n_kept"] == 0).all()
    assert len(tokens) < sequences[sequences["side"] != "shared"]["n_tokens"].sum()
    children = sequences[sequences["side"] != "shared"]
    assert (children["parent_id"].notna() & (children["start"] > 0)).all()


def test_directions_are_fitted_on_training_stems_alone(finished: Finished, tmp_path: Path) -> None:
    from actkit.analysis.concepts.contrast import read_pairs, read_sides
    from actkit.analysis.concepts.directions import split_pairs
    from actkit.analysis.scratch_file import Spill

    of = read_pairs(finished.path)
    split = split_pairs(of.stems, 0)
    assert split is not None
    with closing(Spill(tmp_path)) as file:
        sides = read_sides(finished.path, of, "blocks.2.hook_resid_post", False, file).pairs
    assert sides.alike is not None, "equal vectors are known to be equal"
    mean = (sides.positive[:] - sides.negative[:])[split.train].astype(float).mean(0)
    row = table(finished, "directions").query("layer == 2 and method == 'mean-diff'").iloc[0]
    np.testing.assert_allclose(row["direction"], mean / np.linalg.norm(mean), atol=1e-5)
    assert row["norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    both = np.concatenate([sides.positive[:], sides.negative[:]])
    assert row["relative_norm"] == pytest.approx(np.linalg.norm(mean) / np.linalg.norm(both, axis=1).mean(), rel=1e-5)


@pytest.mark.slow
def test_held_out_figures_are_those_of_the_tables_alone(finished: Finished) -> None:
    """`sequences.split`, `activations` and `directions` are all it takes."""
    sequences, rows = table(finished, "sequences"), table(finished, "activations")
    assert set(sequences["split"].dropna()) == {"train", "validation", "test"}
    assert (sequences["split"].isna() == (sequences["side"] == "shared")).all()
    assert (sequences.dropna(subset="split").groupby("group")["split"].nunique() == 1).all()
    rows = rows.merge(sequences[["sequence_id", "label", "split", "n_tokens"]], on="sequence_id")
    scores = table(finished, "direction_scores").set_index(["layer", "method"])
    for _, direction in table(finished, "directions").iterrows():
        here = rows[rows["layer"] == direction["layer"]]
        projected = np.stack(here["activation"]).astype(float) @ direction["direction"].astype(float)
        row = scores.loc[(direction["layer"], direction["method"])]
        for name, part in (("train", "train"), ("validation", "validation"), ("heldout", "test")):
            mine = (here["split"] == part).to_numpy()
            expected = roc_auc_score((here["label"] == "positive")[mine], projected[mine])
            assert row[f"auroc_{name}"] == pytest.approx(expected, abs=1e-3)
        test = (here["split"] == "test").to_numpy()
        length = spearmanr(projected[test], here["n_tokens"][test]).statistic
        assert row["spearman_length"] == pytest.approx(length, abs=1e-2)
        assert row["n_heldout"] == test.sum() / 2
    features = table(finished, "feature_scores")
    pooled = table(finished, "pooled_features").set_index("sequence_id")
    labelled = sequences.dropna(subset="split")
    for _, feature in features.iloc[:: max(len(features) // 20, 1)].iterrows():
        value = [
            dict(zip(*pooled.loc[n, ["feature_ids", "feature_activations"]], strict=True)).get(feature["feature_id"], 0)
            for n in labelled["sequence_id"]
        ]
        for name, mine in (("auroc", labelled["split"] != "test"), ("auroc_heldout", labelled["split"] == "test")):
            expected = roc_auc_score((labelled["label"] == "positive")[mine], np.array(value)[mine])
            assert feature[name] == pytest.approx(expected)


def test_contrasts_are_differences_of_the_two_sides(finished: Finished) -> None:
    contrasts = table(finished, "contrasts")
    assert len(contrasts) == 2 * 32 and set(contrasts["template"]) == {"0", "1"}
    rows = table(finished, "activations").merge(table(finished, "sequences"), on="sequence_id")
    for _, row in contrasts.iloc[::9].iterrows():
        mine = rows[(rows["record_id"] == row["record_id"]) & (rows["layer"] == row["layer"])].set_index("label")
        a, b = (mine.loc[side, "activation"].astype(float) for side in ("positive", "negative"))
        assert row["diff_norm"] == pytest.approx(np.linalg.norm(a - b), rel=1e-5)
        assert row["cosine"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)
    stats = table(finished, "pair_stats").set_index(["layer", "measure"])
    assert stats.loc[(2, "diff_norm"), "mean"] == pytest.approx(contrasts.query("layer == 2")["diff_norm"].mean())


def test_evidence_is_held_out_and_the_layer_is_chosen_without_it(finished: Finished) -> None:
    scores = table(finished, "direction_scores")
    assert len(scores) == 2 * 3
    assert (
        scores[["auroc_heldout", "auroc_validation", "auroc_transfer", "shuffled_low", "random_high"]]
        .notna()
        .all()
        .all()
    )
    assert (scores["n_train"] + scores["n_heldout"] < scores["n_pairs"]).all()
    about = finished.facts["concept"]
    mine = scores[scores["method"] == "mean-diff"]
    best = mine.loc[mine["choice_score"].idxmax()]
    near = mine[mine["choice_score"] >= best["choice_score"] - best["choice_error"]]
    assert about["chosen"]["mean-diff"]["layer"] == near["layer"].min()
    assert scores["spearman_length"].between(-1, 1).all() and set(scores["auroc_length_only"]) == {
        about["length_only"]["held_out"]["value"]
    }
    assert about["split"] == {"train": 16, "validation": 8, "test": 8} and about["n_stems"] == 16


def test_features_are_tested_and_those_nearest_to_a_direction_listed(finished: Finished) -> None:
    near = table(finished, "direction_features").query("method == 'mean-diff'")
    assert near["rank"].tolist() == list(range(1, 21)) and near["cosine"].is_monotonic_decreasing
    direction = table(finished, "directions").query("layer == 2 and method == 'mean-diff'").iloc[0]["direction"]
    sae = backend.load(SAE, "cpu")
    cosines = sae.cosines(torch.tensor(direction)[None])[0]
    assert near.iloc[0]["feature_id"] == int(cosines.argmax())
    assert near.iloc[0]["cosine"] == pytest.approx(float(cosines.max()))
    scores = table(finished, "feature_scores")
    assert len(scores) and finished.facts["concept"]["features"]["saes"][0]["exchanged"] == "within-groups"
    pooled = table(finished, "pooled_features")
    assert len(pooled) == 64 and all(len(ids) for ids in pooled["feature_ids"])


@pytest.mark.slow
def test_the_length_that_features_are_compared_with_is_the_whole_texts_and_not_the_one_token_read(
    tmp_path: Path,
) -> None:
    pairs = [{"positive": f"They walked home, all {n} of them.", "negative": f"They ran, {n}."} for n in range(30)]
    length_only = found(tmp_path, pairs, (SAE,)).facts["concept"]["features"]["length_only"]
    assert length_only["all"]["value"] == 1


def test_a_special_last_token_is_read_where_it_is_the_last(tmp_path: Path) -> None:
    """In a chat the last token is the template's own, and in the bundled model's a special one."""
    done = found(tmp_path, pairs(STEMS[:2]), (SAE,), chat=True)
    tokens = table(done, "tokens").set_index(["sequence_id", "position"])
    kept = table(done, "activations").query("layer == 2")
    assert all(tokens.loc[(row["sequence_id"], row["position"]), "is_special"] for _, row in kept.iterrows())
    assert all(len(ids) for ids in table(done, "pooled_features")["feature_ids"])


def test_too_few_stems_are_said_to_be_too_few_and_nothing_is_hidden(tmp_path: Path) -> None:
    done = found(tmp_path, pairs(STEMS[:5]))
    scores = table(done, "direction_scores")
    assert len(scores) == 6 and scores["auroc_heldout"].isna().all() and (scores["n_heldout"] == 0).all()
    assert len(table(done, "directions")) == 6
    assert any("too few to hold pairs out" in warning for warning in done.facts["concept"]["warnings"])
    assert done.facts["concept"]["chosen"] == {}


def test_one_pair_has_differences_and_no_direction(tmp_path: Path) -> None:
    done = found(tmp_path, pairs(STEMS[:1])[:1])
    assert len(table(done, "contrasts")) == 2
    assert "directions" not in done.facts["tables"]
    warnings = done.facts["concept"]["warnings"]
    assert warnings[0] == "1 pair is too few to fit a direction to (it takes 2)"
    assert not any("these directions" in warning for warning in warnings)
    screen = Console(file=io.StringIO(), width=160)
    show_directions(done.path, done.facts, screen)
    assert "layer" not in screen.file.getvalue()  # type: ignore[attr-defined] # no table without rows


def test_the_error_that_is_printed_beside_a_choice_is_the_best_layers_own(tmp_path: Path) -> None:
    scores = [(1, 0.90, 0.30), (2, 0.95, 0.06), (3, 0.93, 0.01)]
    names = set(arrow_schema("direction_scores").names)
    rows = [
        dict.fromkeys(names)
        | {"layer": layer, "hook_point": f"h{layer}", "method": "pca", "choice_score": value, "choice_error": error}
        | dict.fromkeys(("auroc_validation", "auroc_heldout"), value)
        for layer, value, error in scores
    ]
    (tmp_path / "direction_scores").mkdir()
    table = pa.Table.from_pylist(rows, schema=arrow_schema("direction_scores"))
    pq.write_table(table, tmp_path / "direction_scores" / "part-00000.parquet")
    about = {"method": "pca", "chosen": {"pca": rows[0]}, "length_only": None, "warnings": []}
    screen = Console(file=io.StringIO(), width=160)
    show_directions(tmp_path, {"concept": about}, screen)
    tied = [row | {"choice_score": 0.95} for row in rows]
    pq.write_table(
        pa.Table.from_pylist(tied, schema=arrow_schema("direction_scores")),
        tmp_path / "direction_scores" / "part-00000.parquet",
    )
    about["chosen"] = {"pca": tied[0]}
    show_directions(tmp_path, {"concept": about}, screen)
    assert "; the earliest of the best)" in screen.file.getvalue()  # type: ignore[attr-defined]
    assert "AUROC 0.900; the earliest within 0.060 of the best, layer 2" in screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("exchanged", [False, True])
def test_letters_that_are_always_the_answer_of_one_side_are_said_to_tell_the_sides_apart(
    exchanged: bool, tmp_path: Path
) -> None:
    sides = "answer_matching_behavior", "answer_not_matching_behavior"
    records = [
        {"question": f"{stem}?", **dict(zip(sides, (" (A)", " (B)")[:: -1 if exchanged and n % 2 else 1], strict=True))}
        for n, stem in enumerate(STEMS[:6])
    ]
    said = [text for text in found(tmp_path, records).facts["concept"]["warnings"] if "same few words" in text]
    assert bool(said) != exchanged
    assert (
        exchanged or "'A' is positive 6 times and negative 0 times), and these alone tell 100 % of the sides" in said[0]
    )


def test_bad_pairs_are_rejected_with_their_field(tmp_path: Path) -> None:
    bad = [{"positive": "x"}, {"positive": "x", "negative": "x"}, {"positive": "x", "negative": ""}, 5]
    done = found(tmp_path, [*pairs(STEMS[:1]), *bad])
    rejected = table(done, "rejected")
    assert rejected["field"].fillna("").tolist() == ["negative", "negative", "negative", ""]
    assert done.facts["counts"]["written"] == 2


@pytest.mark.slow
def test_answers_are_read_at_their_last_token_or_as_a_mean(tmp_path: Path) -> None:
    records = [
        {
            "question": f"{stem}?",
            "answer_matching_behavior": " Yes, it is so",
            "answer_not_matching_behavior": " No, never",
        }
        for stem in STEMS[:3]
    ]
    last = found(tmp_path / "last", records)
    mean = found(tmp_path / "mean", records, positions="response-mean")
    sequences = table(mean, "sequences").query("side == 'positive'")
    rows = table(mean, "activations").query("layer == 1")
    for _, row in sequences.iterrows():
        kept = rows[rows["sequence_id"] == row["sequence_id"]]["position"].tolist()
        assert kept == list(range(int(row["response_start"]), row["n_tokens"])) and len(kept) > 2
    row = table(last, "sequences").query("side == 'positive'").iloc[0]
    assert (
        table(last, "activations").query("sequence_id == @row.sequence_id")["position"].tolist()
        == [row["n_tokens"] - 1] * 2
    )
    with pytest.raises(Exception, match="nothing was kept"):
        found(tmp_path / "none", pairs(STEMS[:2]), positions="response-mean")


@pytest.mark.slow
def test_all_positions_are_stored_and_directions_are_of_the_last(tmp_path: Path) -> None:
    whole, last = (found(tmp_path / name, pairs(), positions=name) for name in ("all", "last"))
    assert len(table(whole, "activations")) > 4 * len(table(last, "activations"))
    a, b = (np.stack(table(run, "directions")["direction"]) for run in (whole, last))
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_the_last_of_all_positions_of_an_answer_is_not_the_templates(tmp_path: Path) -> None:
    """After an answer a chat template has an end-of-turn token: `all` and `last` must mean the same place."""
    answers = ("answer_matching_behavior", "answer_not_matching_behavior")
    records = [{"question": f"{stem}?", **dict(zip(answers, (" Yes", " No"), strict=True))} for stem in STEMS]
    whole, last = (found(tmp_path / name, records, positions=name, chat=True) for name in ("all", "last"))
    sequences, rows = table(whole, "sequences"), table(whole, "activations")
    ends = sequences[sequences["side"] != "shared"].set_index("sequence_id")["n_tokens"] - 2
    assert rows.groupby("sequence_id")["position"].max().to_dict() == ends.to_dict()
    a, b = (np.stack(table(run, "directions")["direction"]) for run in (whole, last))
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_stems_with_a_text_in_common_are_one(tmp_path: Path) -> None:
    """A statement that stands in two pairs would else be fitted on in one and held out in the other."""
    texts = [(f"{stem}, yes.", f"{stem}, no.") for stem in STEMS]
    crossed = [(texts[0][0], texts[1][1]), (texts[2][1], texts[3][0])]
    done = found(tmp_path, [{"positive": text, "negative": other} for text, other in [*texts, *crossed]])
    report = done.facts["concept"]
    assert (report["n_pairs"], report["n_stems"]) == (18, 14)
    assert any(said.startswith("4 stems have a text in common") for said in report["warnings"])


@pytest.mark.slow
def test_a_stem_written_in_two_ways_is_one(tmp_path: Path) -> None:
    again = [stem.upper().replace(" ", "  ") + " " for stem in STEMS]
    records = pairs() + [{**pair, "stem": str(other)} for pair, other in zip(pairs(), np.repeat(again, 2), strict=True)]
    for number, record in enumerate(records[32:]):
        record["positive"], record["negative"] = f"{number} {record['positive']}", f"{number} {record['negative']}"
    report = found(tmp_path, records).facts["concept"]
    assert (report["n_pairs"], report["n_stems"]) == (64, 16)
    assert not any("in common" in said for said in report["warnings"])


def test_ones_own_wording_over_stems_of_a_file(tmp_path: Path) -> None:
    stems = tmp_path / "stems.txt"
    stems.write_text("\n".join(STEMS[:3]) + "\n", encoding="utf-8")
    spec = ConceptSpec(None, Template("own", "Good: {stem}", "Bad: {stem}"), str(stems), chat=False)
    done = run_concept(spec, DenseSpec(ModelSpec(device="cpu"), OutputSpec(tmp_path / "run")))
    texts = table(done, "sequences").query("side == 'negative'")["text"].tolist()
    assert texts == [f"Bad: {stem}" for stem in STEMS[:3]]
    assert done.facts["counts"]["read"] == 3


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs()), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["concept", str(file), "--layers", "recommended", "-o", str(tmp_path / "run"), "--device", "cpu"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'run'}\n"
    for said in (
        "held out (95 %)",
        "█",
        "→ mean-diff: layer",
        "chosen on the validation pairs",
        "length alone separates",
    ):
        assert said in printed.err
    assert max(map(len, printed.err.splitlines())) < 160


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no concept given"),
        (["--positive", "a {stem}"], "--negative, --stems is missing"),
        (["--positive", "a", "--negative", "b {stem}", "--stems", "x"], "--positive has no {stem}"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["concept", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
