"""`steer` from a run to effects: numbers are those of the plain model with a hook, and of the right texts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from actkit.backends import describe
from actkit.config import BatchSpec, ModelSpec
from actkit.errors import InputError, RunError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.recipes.steering import run as steer_run_module
from actkit.recipes.steering.spec import SteerSpec
from actkit.recipes.steering.texts import held_out_of
from tests.command_line import Run
from tests.recipes.steered import STEMS, concept_run, feedback_run, steered

MODEL_DIR = describe(ModelSpec(device="cpu")).location


@pytest.fixture(scope="module")
def concept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return concept_run(tmp_path_factory.mktemp("concept"))


@pytest.fixture(scope="module")
def finished(concept: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("steer") / "run"
    return steered(SteerSpec(str(concept), strengths="1,30", random=4, budget=5.0), out)


def table(run: Finished, name: str) -> pd.DataFrame:
    return pd.read_parquet(run.path / name)


def plain_logprobs(text_ids: list[int], special: set[int], actions: pd.DataFrame) -> np.ndarray[Any, Any]:
    """[n - 1] log-probabilities of each next token on the plain model, one text alone, with a hook written here."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()
    ids = torch.tensor([text_ids])
    where = torch.tensor([at > 0 and number not in special for at, number in enumerate(text_ids)])
    handles = []
    for _, row in actions.iterrows():
        vector = torch.tensor(np.array(row["vector"])) * float(row["strength"] * row["unit_norm"])

        def after(_: Any, __: Any, output: Any, vector: torch.Tensor = vector) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[0, where] += vector
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
        handles.append(blocks[int(row["layer"])].register_forward_hook(after))
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0].double()
    return torch.log_softmax(logits[:-1], -1).gather(1, ids[0, 1:, None])[:, 0].numpy()


def test_log_probabilities_are_those_of_the_plain_model_with_a_hook(finished: Finished) -> None:
    sequences, tokens = table(finished, "sequences").set_index("sequence_id"), table(finished, "tokens")
    done, logprobs = table(finished, "interventions"), table(finished, "logprobs")
    special = set(tokens[tokens["is_special"]]["token_id"])
    texts = table(finished, "steered_texts").set_index("record_id")["split"]
    splits = texts.loc[sequences.loc[logprobs["sequence_id"], "record_id"]].to_numpy()
    per_text = logprobs.groupby([splits, logprobs["sequence_id"]]).size()
    real, controls = 4, 16
    assert (per_text["test"] == 1 + real + controls).all() and (per_text["neutral"] == 1 + real).all()
    assert (per_text["validation"] == 1 + real + controls / 2).all(), "one of each source's two"
    for _, row in logprobs.iloc[:: len(logprobs) // 7].iterrows():
        whole = sequences.loc[row["sequence_id"]]
        own = tokens[tokens["sequence_id"] == row["sequence_id"]]
        if pd.notna(whole["parent_id"]):
            head = tokens[(tokens["sequence_id"] == whole["parent_id"]) & (tokens["position"] < whole["start"])]
            own = pd.concat([head, own])
        ids = own.sort_values("position")["token_id"].tolist()
        actions = done[(done["intervention_id"] == row["intervention_id"]) & (done["do"] != "none")]
        found = plain_logprobs(ids, special, actions)
        first = int(whole["response_start"]) if pd.notna(whole["response_start"]) else 1
        last = first + int(row["n_tokens"])
        after = own[own["position"] >= last]
        assert after["is_special"].any() or not len(after), "what follows the answer is the template's"
        assert row["logprob"] == pytest.approx(found[first - 1 : last - 1].sum(), rel=1e-4)


def test_effects_are_the_means_of_the_samples(finished: Finished) -> None:
    effects, samples = table(finished, "effects"), table(finished, "effect_samples")
    logprobs, sequences = table(finished, "logprobs"), table(finished, "sequences")
    for _, row in effects.iloc[::5].iterrows():
        own = samples[(samples["intervention_id"] == row["intervention_id"]) & (samples["split"] == row["split"])]
        assert row["n"] == len(own) and row["effect"] == pytest.approx(own["effect"].mean())
        assert row["effect"] == pytest.approx(row["delta_positive"] - row["delta_negative"])
    joined = logprobs.merge(sequences[["sequence_id", "record_id", "side"]], on="sequence_id")
    joined["each"] = joined["logprob"] / joined["n_tokens"]
    sample = samples[samples["metric"] == "answers"].iloc[3]
    of = joined[joined["record_id"] == sample["record_id"]].set_index(["intervention_id", "side"])["each"]
    number = sample["intervention_id"]
    expected = of[number, "positive"] - of[0, "positive"] - of[number, "negative"] + of[0, "negative"]
    assert sample["effect"] == pytest.approx(expected)


def test_texts_are_held_out_stems_and_the_models_own_answers(finished: Finished, concept: Path) -> None:
    from actkit.analysis.concepts.contrast import read_pairs
    from actkit.analysis.concepts.directions import split_pairs

    texts = table(finished, "steered_texts")
    pairs = read_pairs(concept)
    split = split_pairs(pairs.stems, 0)
    assert split is not None
    lines = [json.loads(line) for line in (concept.parent / "in.jsonl").read_text().splitlines()]
    for name, part in (("validation", split.validation), ("test", split.test)):
        stems = {lines[int(record)]["stem"] for record in pairs.record_ids[part]}
        own = texts[texts["split"] == name]
        rejected = finished.facts["counts"]["rejected"]
        assert set(own["stem"]) <= stems and len(stems) - len(own) <= rejected
        assert (own["prompt"] == own["stem"]).all() and (own["positive"] != own["negative"]).all()
    assert len(texts[texts["split"] == "neutral"]) == 16 and len(set(texts["template"].dropna())) == 2


def test_controls_have_the_layer_and_norm_of_what_they_are_compared_with(finished: Finished, concept: Path) -> None:
    done, effects = table(finished, "interventions"), table(finished, "effects")
    directions = pd.read_parquet(concept / "directions").set_index(["hook_point", "method"])
    for _, row in done[done["do"] != "none"].iterrows():
        assert np.linalg.norm(row["vector"]) == pytest.approx(1, rel=1e-5)
        assert row["unit_norm"] == pytest.approx(directions.loc[(row["hook_point"], "mean-diff"), "norm"])
    for _, group in done[done["do"] != "none"].groupby("control_group"):
        assert sorted(group["source"]) == ["exchanged", "exchanged", "gaussian", "gaussian", "mean-diff"]
        assert group["layer"].nunique() == group["strength"].nunique() == 1
        assert len({tuple(vector) for vector in group["vector"]}) == 5
    real = effects[~effects["is_control"]]
    tested = real[real["split"] == "test"]
    assert (tested["n_controls"] == 4).all() and (tested["p_value"] >= 1 / 5).all()
    assert (real[real["split"] == "validation"]["n_controls"] == 2).all()
    assert effects[effects["is_control"]]["p_value"].isna().all()


def test_choice_is_made_on_validation_texts_and_reported_once(finished: Finished) -> None:
    about, effects = finished.facts["steer"], table(finished, "effects")
    (verdict,) = about["verdicts"]
    chosen = effects[effects["chosen"]]
    assert set(chosen["split"]) == {"validation", "test"} and chosen["intervention_id"].nunique() == 1
    assert verdict["effect"] == chosen[chosen["split"] == "test"]["effect"].item()
    assert about["chosen"]["effect"] == chosen[chosen["split"] == "validation"]["effect"].item()


@pytest.mark.slow
def test_one_layer_and_strength_leave_nothing_to_choose(concept: Path, tmp_path: Path) -> None:
    spec = SteerSpec(str(concept), layers="2", strengths="1", random=0, show=1)
    run = steered(spec, tmp_path / "run")
    assert run.facts["steer"]["chosen"] is None and set(table(run, "steered_texts")["split"]) == {"test", "neutral"}
    assert "no controls" in run.facts["steer"]["verdicts"][0]["verdict"]
    (shown,) = run.facts["steer"]["generated"]
    assert shown["prompt"] in STEMS and set(shown) == {
        "prompt",
        "unsteered",
        "steered",
    }


def test_projecting_out_at_every_layer_removes_what_lies_along_the_direction(concept: Path, tmp_path: Path) -> None:
    spec = SteerSpec(str(concept), do="project-out", every_layer=True, random=2)
    run = steered(spec, tmp_path / "run")
    done = table(run, "interventions")
    assert done.groupby("intervention_id").size().tolist() == [1, 2, 2, 2]
    assert set(done[done["intervention_id"] == 1]["layer"]) == {1, 2} and done["unit_norm"].isna().all()
    assert (done[done["intervention_id"] == 1]["expected"] == -1).all()
    assert table(run, "effects")["layer"].tolist() == [1, 1, 1]


@pytest.mark.slow
def test_how_far_it_is_is_told_after_every_intervention(concept: Path, tmp_path: Path) -> None:
    steps: list[float] = []
    spec = SteerSpec(str(concept), layers="1", strengths="1,2,4", random=4)
    run = steered(spec, tmp_path / "run", on_progress=lambda progress: steps.append(progress.step.done))
    assert steps == sorted(steps) and steps[-1] == run.facts["counts"]["read"]
    assert len(set(steps)) > len(table(run, "interventions")), "of every kind of text, each intervention is a step"


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The forward pass fails after so many batches."""
    import actkit.pipeline.compute as module

    real, count = module.forward_steered, [0]

    def failing(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "forward_steered", failing)


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_same_tables(concept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SteerSpec(str(concept), layers="1", strengths="1,2", random=2)
    batch = BatchSpec(shard_sequences=9)
    whole = steered(spec, tmp_path / "whole", batch)
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            steered(spec, tmp_path / "part", batch)
    assert list((tmp_path / "part.partial/shards").glob("*.json"))
    with pytest.raises(RunError, match="begun differently"):
        steered(replace(spec, strengths="1,3"), tmp_path / "part", batch, resume=True)
    part = steered(spec, tmp_path / "part", batch, resume=True)
    for name in whole.facts["tables"]:
        pd.testing.assert_frame_equal(table(whole, name), table(part, name), rtol=1e-6)


def test_a_plan_loads_no_weights(concept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import actkit.recipes.steering.run as module

    monkeypatch.setattr(module, "load", lambda *_: pytest.fail("loaded"))
    spec = SteerSpec(str(concept), strengths="1,2", random=2)
    plan = steered(spec, tmp_path / "run", plan=True)
    assert plan.is_plan and plan.facts["counts"]["read"] == 8 + 16 and not (tmp_path / "run").exists()
    assert plan.facts["tables"]["logprobs"]["rows"] > 0


ANSWERS = [
    {"prompt": "The king ate", "positive": " and was glad.", "negative": " and was sad."},
    {"prompt": "A sailor sang", "positive": " a happy song.", "negative": " a sad song."},
]
PREFERENCES = [
    {"prompt": answer["prompt"], "chosen": answer["positive"], "rejected": answer["negative"]} for answer in ANSWERS
]


@pytest.mark.slow
@pytest.mark.parametrize("records", [ANSWERS, PREFERENCES])
def test_own_answers(records: list[dict[str, str]], concept: Path, tmp_path: Path) -> None:
    file = tmp_path / "abc.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    spec = SteerSpec(str(concept), answers=str(file), layers="1", strengths="2", random=2)
    run = steered(spec, tmp_path / "run")
    texts = table(run, "steered_texts")
    assert texts["positive"].dropna().tolist() == [answer["positive"] for answer in ANSWERS]
    assert run.facts["steer"]["verdicts"][0]["metric"] == "answers"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"answers": "few"}, UsageError, "2 prompts: too few to choose"),
        ({"answers": "bad", "layers": "1", "strengths": "1"}, InputError, "bad.jsonl:2, field negative: missing"),
        ({"layers": "0"}, UsageError, "no direction at layer 0"),
        ({"method": ("none",)}, UsageError, "no directions by none"),
        ({"every_layer": True}, UsageError, "added many times over"),
        ({"do": "zero"}, UsageError, "for features"),
        ({"strengths": "0,1"}, UsageError, "0 is the model as it is"),
        ({"strengths": "1,x"}, UsageError, "'x' is no number"),
        ({"do": "clamp:"}, UsageError, "clamp: is not known"),
        ({"features": "top:3"}, RunError, "no feature scores"),
        ({"run": "nowhere"}, RunError, "no finished run"),
    ],
)
def test_what_cannot_be_steered(
    options: dict[str, Any], error: type[Exception], says: str, concept: Path, tmp_path: Path
) -> None:
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in ANSWERS))
    (tmp_path / "bad.jsonl").write_text(json.dumps(ANSWERS[0]) + '\n{"prompt": "a", "positive": "b"}\n')
    if "answers" in options:
        options = {**options, "answers": str(tmp_path / f"{options['answers']}.jsonl")}
    spec = SteerSpec(**{"run": str(concept), **options})
    with pytest.raises(error, match=says):
        steered(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "run.partial").exists()


def test_steering_ones_own_generation(concept: Path, tmp_path: Path) -> None:
    """Greedy text with a KV cache and left padding is that of repeated whole passes with a hook of one's own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import actkit

    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    directions = pd.read_parquet(concept / "directions")
    row = directions[(directions["layer"] == 2) & (directions["method"] == "mean-diff")].iloc[0]
    vector = torch.tensor(np.array(row["direction"])) * float(row["norm"]) * 40
    prompt = tokenizer("The king ate", return_tensors="pt")["input_ids"]
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))

    def after(_: Any, __: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        where = (torch.arange(ids.shape[1]) > 0) & ~torch.isin(ids[0], special)
        hidden[0, where] += vector
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    ids = prompt
    handle = blocks[2].register_forward_hook(after)
    with torch.inference_mode():
        for _ in range(8):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    handle.remove()
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.int64), prompt], 1)
    seen = torch.cat([torch.zeros(1, 3, dtype=torch.int64), torch.ones_like(prompt)], 1)
    more = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with actkit.steering(model, concept, layer=2, strength=40):
        alone = model.generate(prompt, attention_mask=torch.ones_like(prompt), **more)
        left = model.generate(padded, attention_mask=seen, **more)
    assert alone[0].tolist() == ids[0].tolist() == left[0, 3:].tolist()
    plain = model.generate(prompt, attention_mask=torch.ones_like(prompt), **more)
    assert plain[0].tolist() != alone[0].tolist() and not model._forward_pre_hooks
    with pytest.raises(UsageError, match="which layer"), actkit.steering(model, concept, strength=2):
        pass


def test_a_run_of_steer_can_be_put_into_generation(finished: Finished) -> None:
    from actkit.api.steering import _actions

    chosen = finished.facts["steer"]["chosen"]
    (action,) = _actions(finished.path, None, None, "mean-diff", "add", False, 4)
    assert (action.layer, action.strength) == (chosen["layer"], chosen["strength"])
    (other,) = _actions(finished.path, 1, 30.0, "mean-diff", "add", False, 4)
    assert (other.layer, other.strength, other.source) == (1, 30.0, "mean-diff")
    with pytest.raises(UsageError, match="0 interventions there"):
        _actions(finished.path, 3, 30.0, "mean-diff", "add", False, 4)


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return feedback_run(tmp_path_factory.mktemp("feedback"))


@pytest.mark.slow
def test_features_as_a_set(feedback: Path, tmp_path: Path) -> None:
    words = tmp_path / "good.txt", tmp_path / "bad.txt"
    for path, text in zip(words, ("good\nhappy\n", "bad\nsad\n"), strict=True):
        path.write_text(text)
    spec = SteerSpec(str(feedback), features="top:3", random=4, words=",".join(map(str, words)))
    run = steered(spec, tmp_path / "run")
    scores = pd.read_parquet(feedback / "feature_scores").sort_values("rank")
    done = table(run, "interventions")
    real = done[done["source"] == "features"].iloc[0]
    assert sorted(real["feature_ids"]) == sorted(scores["feature_id"][:3]) and real["do"] == "zero"
    q = scores.set_index("feature_id")["q_value"]
    for ids in done[done["source"] == "matched"]["feature_ids"]:
        assert len(set(ids)) == 3 and (q.loc[list(ids)] > 0.5).all() and not set(ids) & set(real["feature_ids"])
    assert sorted(done["source"].dropna()) == ["features", "gaussian", "gaussian", "matched", "matched"]
    effects = table(run, "effects")
    assert set(effects["metric"]) == {"words", "texts"} and set(effects["split"]) == {"test"}
    assert run.facts["steer"]["verdicts"][0]["metric"] == "words" and run.facts["steer"]["chosen"] is None
    held = run.facts["counts"]["written"] - 16
    assert effects[effects["metric"] == "words"]["n"].unique().tolist() == [held]


@pytest.mark.slow
def test_features_one_by_one(feedback: Path, tmp_path: Path) -> None:
    run = steered(SteerSpec(str(feedback), features="top:2", each=True, do="clamp:5", random=2), tmp_path / "run")
    done = table(run, "interventions")
    assert [len(ids) for ids in done[done["source"] == "features"]["feature_ids"]] == [1, 1]
    assert done[done["do"] == "clamp"]["values"].map(list).tolist() == [[5.0]] * 6
    assert len(run.facts["steer"]["verdicts"]) == 2
    with pytest.raises(UsageError, match="no score for feature"):
        steered(SteerSpec(str(feedback), features="999999"), tmp_path / "other")


@pytest.mark.slow
def test_texts_of_a_feedback_run_are_run_as_they_were_tokenized(feedback: Path) -> None:
    from actkit.recipes.steering.texts import stored_texts

    sequences, tokens = pd.read_parquet(feedback / "sequences"), pd.read_parquet(feedback / "tokens")
    found = stored_texts(feedback, sequences["sequence_id"][:5].tolist())
    for number, sequence in found.items():
        own = tokens[tokens["sequence_id"] == number]
        assert sequence.encoding.token_ids.tolist() == own["token_id"].tolist()
        assert sequence.encoding.is_special.tolist() == own["is_special"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["concept", "feedback"])
def test_verify_computes_log_probabilities_again(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actkit.runs.facts import facts_of
    from actkit.verify.recompute.run import RecomputeSpec, recompute
    from actkit.verify.tables.findings import Findings

    source = request.getfixturevalue(kind)
    features = {"features": "top:2"} if kind == "feedback" else {"layers": "1", "strengths": "2"}
    run = steered(SteerSpec(str(source), random=2, **features), tmp_path / "run")
    spec = RecomputeSpec(4, device="cpu")
    found, _ = recompute(run.path, facts_of(run.path), spec, Findings(run.path))
    assert not found.problems and found.vectors["log-probabilities"].n >= 4 * 2
    import actkit.verify.recompute.steered as module

    monkeypatch.setattr(module, "steered_at", lambda sequence, _: np.ones(len(sequence.token_ids), dtype=np.bool_))
    wrong, _ = recompute(run.path, facts_of(run.path), spec, Findings(run.path))
    assert "log-probabilities" in wrong.problems[0], "steering the first token too is noticed"


@pytest.mark.slow
def test_from_python_the_run_is_beside_the_one_that_is_steered(concept: Path, tmp_path: Path) -> None:
    import shutil

    import actkit

    source = tmp_path / "one"
    shutil.copytree(concept, source)
    run = actkit.steer(source, layers=[1, 2], strengths=[1, 2.5], random=0, device="cpu")
    assert run.path == tmp_path / "one-effects" and run.facts["options"]["strengths"] == "1,2.5"
    assert set(run.to_pandas("effects")["layer"]) == {1, 2}
    with pytest.raises(RunError, match="exists already"):
        actkit.steer(source, layers=1, strengths=1, device="cpu")


@pytest.mark.slow
def test_a_concept_run_can_go_on_with_its_effects(tmp_path: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--steer: beside the run, with the default choices; the path on standard output is still the run's."""
    monkeypatch.setattr(steer_run_module, "STRENGTHS", (1.0, 2.0))
    folder = tmp_path / "a"
    folder.mkdir()
    called = concept_run(folder, "--steer")
    assert (called.parent / "run-effects/run.json").exists()
    replayed = actkit("steer", "--config", folder / "run-effects/config.yaml", "-o", tmp_path / "again", "--plan")
    assert replayed.status == 0, replayed.err


@pytest.mark.slow
def test_controls_alone_are_rarely_shown(concept: Path, tmp_path: Path) -> None:
    """Each of 200 controls in the place of a direction, with twenty of the others as its controls."""
    from actkit.analysis.steering.effects import band, p_value
    from actkit.analysis.steering.verdict import is_shown

    run = steered(SteerSpec(str(concept), layers="2", strengths="4", random=220), tmp_path / "effects")
    effects = table(run, "effects")
    rows = effects[effects["is_control"] & (effects["split"] == "test")].to_dict("records")
    order = np.random.default_rng(0).permutation(len(rows))
    shown = 0
    for number, at in enumerate(order[:200]):
        others = np.array([rows[index]["effect"] for index in np.roll(order, -number - 1)[:20]])
        low, high = band(others)
        row = {**rows[at], "control_low": low, "control_high": high, "p_value": p_value(rows[at]["effect"], others)}
        shown += is_shown({**row, "expected": 0})
    assert shown <= 0.05 * 200, f"{shown} of 200"


@pytest.mark.slow
def test_a_run_of_before_sinks_were_marked_can_be_steered(concept: Path, tmp_path: Path) -> None:
    import shutil

    import pyarrow.parquet as pq

    old = tmp_path / "old"
    shutil.copytree(concept, old)
    for part in (old / "tokens").glob("*.parquet"):
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["is_sink"]), part)
    run = steered(SteerSpec(str(old), layers="1", strengths="1", random=2), tmp_path / "run")
    assert set(table(run, "interventions")["source"].dropna()) == {"mean-diff", "gaussian", "exchanged"}


def test_pairs_are_read_again_as_concept_read_them(tmp_path: Path, actkit: Run) -> None:
    """Columns that were named, the prompt's field, and what was left out: without these the pairs are others."""
    lines = [f"Is it {stem}?,Yes {stem}.,No {stem}.,In 1990." for stem in STEMS]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "run"
    more = ("--columns", "asked,positive,negative,context", "--prompt-field", "asked", "--ignore-field", "context")
    done = actkit("concept", tmp_path / "in.csv", "--layers", 1, *more, "-o", out)
    assert done.status == 0, done.err
    _, given = held_out_of(out, json.loads((out / "run.json").read_text())["options"], 0)
    assert given and all(text["prompt"] == f"Is it {text['positive'][4:-1]}?" for text in given)
