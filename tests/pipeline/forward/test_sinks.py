"""Attention sinks: known by their own norm, whatever else is in a run, and left out of whatever statistics are over."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from actkit.backends import Model, describe, load
from actkit.backends.saes.sae import Sae
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec, TokenSpec
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.forward.sinks import TIMES, are_sinks, sink_norms
from actkit.pipeline.recipe import Job
from actkit.recipes import capture, concept, dpo, reward_detect
from actkit.recipes.labels import FeedbackFields
from actkit.recipes.runner import ingredients
from actkit.recipes.saes import load_saes
from tests.command_line import Run
from tests.pipeline.wrapped import Wrapped

POINT = HookPoint(2, "hook_resid_post")
LARGE = 1000.0


@dataclass
class Sinking(Wrapped):
    """The bundled model, where the first token of a sequence, and each of `token`, has a norm 1,000 times as large."""

    token: int = -1

    def run(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: Any, taps: Mapping[str, Any]) -> None:
        sinks = (positions == 0) | (input_ids == self.token)

        def enlarged(tap: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], None]:
            return lambda tensor: tap(torch.where(sinks[..., None], tensor * LARGE, tensor))

        super().run(input_ids, positions, tree, {name: enlarged(tap) for name, tap in taps.items()})


@pytest.fixture(scope="module")
def plain() -> Model:
    return load(describe(ModelSpec(device="cpu")), [POINT])


@pytest.fixture(scope="module")
def saes() -> list[Sae]:
    return load_saes([SaeSpec("tiny", str(POINT))], "cpu")


def run(model: Model, make: Any, out: Path, saes: list[Sae], **batch: int) -> Path:
    """The run of the recipe that `make` makes."""
    made = replace(ingredients(model.description, saes, [POINT]), top_k=5)
    return extract(Job(make(made), model, [POINT], OutputSpec(out), BatchSpec(**batch))).path


def capturing(*prompts: str, **options: Any) -> Any:
    spec = capture.CaptureSpec(prompts=prompts, tokens=TokenSpec(bos="never"), **options)
    return partial(capture.recipe, spec)


PROMPTS = (
    "The sea was calm.",
    "The",
    "Three fishermen came back before noon and one did not.",
    "Boats and ropes, the sea",
)


def sinks_of(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path / "tokens").merge(pd.read_parquet(path / "sequences")[["sequence_id", "text"]])
    return table[table["is_sink"].fillna(False)][["text", "position"]].sort_values(
        ["text", "position"], ignore_index=True
    )


@pytest.mark.slow
def test_a_sink_is_marked_whatever_the_batch_the_shard_and_the_order(
    plain: Model, saes: list[Sae], tmp_path: Path
) -> None:
    token = int(plain.description.tokenizer(" sea", add_special_tokens=False)["input_ids"][0])
    model = Sinking(plain, token)
    whole = run(model, capturing(*PROMPTS), tmp_path / "whole", saes)
    assert set(map(tuple, sinks_of(whole)[sinks_of(whole)["position"] == 0].values)) == {
        (prompt, 0) for prompt in PROMPTS
    }
    assert len(sinks_of(whole)) == 4 + 2  # one token of a text too, if it is the only one
    facts = json.loads((whole / "run.json").read_text())
    assert facts["counts"]["sinks"] == 6
    for number, order in enumerate((PROMPTS, PROMPTS[::-1])):
        parts = run(model, capturing(*order), tmp_path / str(number), saes, shard_sequences=1, batch_tokens=8)
        pd.testing.assert_frame_equal(sinks_of(parts), sinks_of(whole))
    assert sinks_of(run(plain, capturing(*PROMPTS), tmp_path / "none", saes)).empty


def test_what_is_not_read_is_not_known(plain: Model, saes: list[Sae], tmp_path: Path) -> None:
    path = run(Sinking(plain), capturing(*PROMPTS, positions="last"), tmp_path / "last", saes)
    tokens = pd.read_parquet(path / "tokens")
    read = pd.read_parquet(path / "activations")[["sequence_id", "position"]].merge(tokens)
    assert tokens["is_sink"].notna().sum() == len(read) == len(PROMPTS)
    assert read["is_sink"].tolist() == [prompt == "The" for prompt in PROMPTS]


def test_statistics_are_those_of_the_other_tokens(plain: Model, saes: list[Sae], tmp_path: Path) -> None:
    """Means and norms, features' statistics and contexts, and the SAE's health."""
    model = Sinking(plain)
    path = run(model, capturing(*PROMPTS), tmp_path / "run", saes)
    vectors = pd.read_parquet(path / "activations")
    norms = np.array([np.linalg.norm(vector) for vector in vectors["activation"]])
    stats = pd.read_parquet(path / "layer_stats").set_index("special_tokens")
    assert stats.loc[False, "mean_norm"] == pytest.approx(norms[vectors["position"] > 0].mean(), rel=1e-5)
    assert stats.loc[True, "mean_norm"] > 20 * stats.loc[False, "mean_norm"]
    health = json.loads((path / "run.json").read_text())["health"][0]
    assert health["n_tokens"] == (vectors["position"] > 0).sum()
    kept = pd.read_parquet(path / "sequences").set_index("text")
    assert (kept["n_kept"] == kept["n_tokens"] - 1).all() and kept["n_kept"]["The"] == 0


def pooling(out: Path, records: list[dict[str, Any]]) -> Any:
    out.write_text("".join(json.dumps(record) + "\n" for record in records))
    spec = reward_detect.RewardDetectSpec(str(out), FeedbackFields(), tokens=TokenSpec(bos="never"))
    return lambda made: reward_detect.recipe(spec, replace(made, reducers={}))


def test_a_text_is_pooled_without_its_sinks_and_refused_where_nothing_else_is_there(
    plain: Model, saes: list[Sae], tmp_path: Path
) -> None:
    texts = [*PROMPTS, "The boats were old.", "Ropes and oil."]
    records = [{"text": text, "label": number % 2} for number, text in enumerate(texts)]
    make = pooling(tmp_path / "in.jsonl", records)
    path = run(Sinking(plain), make, tmp_path / "run", saes, shard_sequences=3)
    assert pd.read_parquet(path / "rejected")["reason"].tolist() == [
        "no token to pool but special ones and attention sinks"
    ]
    written = pd.read_parquet(path / "sequences")
    assert sorted(written["text"]) == sorted(text for text in texts if text != "The")
    for table in ("pooled_features", "pooled_activations"):
        assert pd.read_parquet(path / table)["sequence_id"].tolist() == written["sequence_id"].tolist()
    features = pd.read_parquet(path / "pooled_features")
    assert all((positions > 0).all() for positions in features["feature_positions"])
    vectors = pd.read_parquet(path / "pooled_activations")["activation"]
    assert max(np.linalg.norm(vector) for vector in vectors) < 200
    facts = json.loads((path / "run.json").read_text())
    assert (facts["counts"]["read"], facts["counts"]["written"], facts["counts"]["rejected"]) == (6, 5, 1)


def test_means_of_answers_are_without_sinks(plain: Model, saes: list[Sae], tmp_path: Path) -> None:
    """`dpo`'s response means and `concept`'s, where a token in the answer is a sink."""
    token = int(plain.description.tokenizer(" sea", add_special_tokens=False)["input_ids"][0])
    pair = {"prompt": "Where? ", "chosen": "On the sea and far.", "rejected": "At home, on land."}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    spec = dpo.DpoSpec(str(tmp_path / "pairs.jsonl"), chat=False)
    path = run(
        Sinking(plain, token),
        partial(dpo.recipe, spec),
        tmp_path / "dpo",
        saes,
    )
    row = pd.read_parquet(path / "pair_diffs").iloc[0]
    tokens = pd.read_parquet(path / "tokens")
    assert tokens["is_sink"].sum() == 2  # the first token of what both begin with, and " sea"
    assert row["response_diff_norm"] < 100 and row["chosen_response_positions"] == 5
    both = [
        {"question": "Where?", "answer_matching_behavior": " On the sea, far.", "answer_not_matching_behavior": " No."}
    ]
    both += [
        {"question": f"Who {n}?", "answer_matching_behavior": " A.", "answer_not_matching_behavior": " B."}
        for n in "abc"
    ]
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(record) + "\n" for record in both))
    asked = concept.ConceptSpec(str(tmp_path / "both.jsonl"), chat=False, positions="response-mean")
    path = run(
        Sinking(plain, token),
        partial(concept.recipe, asked),
        tmp_path / "concept",
        [],
    )
    norms = pd.read_parquet(path / "contrasts")
    assert norms["diff_norm"].max() < 200


def test_hook_points_off_the_residual_stream_have_no_sinks(plain: Model) -> None:
    """There a sink's vectors are small, and long tails are no sinks."""
    point = HookPoint(1, "mlp.hook_post")
    assert sink_norms(load(describe(ModelSpec(device="cpu")), [point]), [point]) == {}
    limits = sink_norms(plain, [POINT])
    assert set(limits) == {str(POINT)} and limits[str(POINT)] > 0
    rows = torch.stack([torch.full((4,), limits[str(POINT)] * size / 2) for size in (0.99, 1.01)]).to(torch.bfloat16)
    assert are_sinks({str(POINT): rows}, limits, 2).tolist() == [False, True]
    assert are_sinks({}, {}, 2).tolist() == [False, False] and TIMES == 10


def test_a_run_says_how_many_sinks_there_are_and_verify_counts_them(tmp_path: Path, actkit: Run) -> None:
    done = actkit("capture", "-p", "The sea was calm.", "-o", tmp_path / "run", "--layers", 2)
    assert done.status == 0 and "sink" not in done.err
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["counts"]["sinks"] == 0 and actkit("verify", tmp_path / "run").status == 0
