"""What records begin with alike is run once, and every table is what it would be without."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from actkit.backends import Model, describe, load
from actkit.backends.hooked import TREE_MODELS
from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Job
from actkit.recipes import capture
from actkit.recipes.runner import ingredients
from tests.conftest import ARCHITECTURES, relative_error
from tests.pipeline.wrapped import Wrapped

RESID = [HookPoint(layer, "hook_resid_post") for layer in (0, 1)]
THIRD = HookPoint(2, "hook_resid_post")
PERSONAS = ("You tell the truth. ", "You tell lies, all of them well meant. ")
QUESTIONS = ("Who?", "Who else?", "Why?", "Who?", "And then, who?")
PROMPTS = [persona + question for question in QUESTIONS for persona in PERSONAS] + ["Quite another text."]


@dataclass
class Counted(Wrapped):
    """A model that counts the tokens it is given, and shares what is shared or not."""

    shares: bool = True
    tokens: int = 0
    trees: list[bool] = field(default_factory=list)

    @property
    def shares_prefixes(self) -> bool:
        return self.shares and self.inner.shares_prefixes

    def run(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: Any, taps: Mapping[str, Any]) -> None:
        self.tokens += input_ids.numel()
        self.trees.append(tree is not None)
        super().run(input_ids, positions, tree, taps)


def run(model: Model, out: Path, positions: str = "all", **batch: Any) -> Finished:
    spec = capture.CaptureSpec(prompts=tuple(PROMPTS), positions=positions)
    recipe = capture.recipe(spec, ingredients(model.description, points=RESID))
    return extract(Job(recipe, model, RESID, OutputSpec(out), BatchSpec(**batch)))


def table(finished: Finished, name: str = "activations") -> pd.DataFrame:
    return pd.read_parquet(finished.path / name)


@pytest.mark.quick(2)
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("positions", ["all", "last"])
def test_every_row_is_that_of_its_text_alone(
    architecture: str, positions: str, model_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    """Order and ids the same, numbers to 1e-5 of each text by itself; fewer tokens where the model can."""
    # With the third block, so that the plain model's hidden states after the second are before the final norm.
    inner = load(describe(ModelSpec(str(model_dir(architecture)), device="cpu")), [*RESID, THIRD])
    shared, apart = Counted(inner), Counted(inner, shares=False)
    found, expected = (table(run(model, tmp_path / name, positions)) for name, model in (("a", shared), ("b", apart)))
    pd.testing.assert_frame_equal(found.drop(columns="activation"), expected.drop(columns="activation"))
    alone = []
    for number, text in enumerate(PROMPTS):
        ids = torch.tensor([inner.description.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            hidden = inner.module(ids, output_hidden_states=True).hidden_states
        read = found[found["sequence_id"] == number]
        alone += [hidden[row.layer + 1][0, row.position] for row in read.itertuples()]
    order = found.sort_values("sequence_id", kind="stable").index
    numbers = torch.tensor(np.stack(found["activation"][order].to_list()))
    assert relative_error(numbers, torch.stack(alone)) <= 1e-5
    assert relative_error(numbers, torch.tensor(np.stack(expected["activation"][order].to_list()))) <= 1e-5
    can = inner.description.config.model_type in TREE_MODELS
    assert any(shared.trees) is can
    assert (shared.tokens < 0.8 * apart.tokens) is can


def test_a_repeated_text_is_run_once_and_written_each_time(tmp_path: Path, model_dir: Callable[[str], Path]) -> None:
    inner = load(describe(ModelSpec(str(model_dir("bloom")), device="cpu")), RESID)
    model = Counted(inner)
    spec = capture.CaptureSpec(prompts=("The same.",) * 5)
    about = model.description
    recipe = capture.recipe(spec, ingredients(about, points=RESID))
    finished = extract(Job(recipe, model, RESID, OutputSpec(tmp_path / "run")))
    once = len(about.tokenizer("The same.")["input_ids"])
    # A fixed text is run beside, off which it is read what an attention sink is; else five texts cost what one costs.
    alone, of_one = Counted(inner), capture.CaptureSpec(prompts=("The same.",))
    recipe = capture.recipe(of_one, ingredients(about, points=RESID))
    extract(Job(recipe, alone, RESID, OutputSpec(tmp_path / "alone")))
    rows = table(finished)
    assert rows.groupby(["sequence_id", "layer"]).size().tolist() == [once] * 10
    assert model.tokens == alone.tokens >= once
    first = np.stack(rows[rows["sequence_id"] == 0]["activation"])
    assert all((np.stack(own["activation"]) == first).all() for _, own in rows.groupby("sequence_id"))
    assert finished.facts["counts"]["tokens"] == 5 * once


def test_two_runs_are_the_same_to_the_byte(tmp_path: Path) -> None:
    model = load(describe(ModelSpec(device="cpu")), RESID)
    runs = [run(model, tmp_path / name, shard_sequences=4).path for name in ("a", "b")]
    names = sorted(path.relative_to(runs[0]) for path in runs[0].rglob("*.parquet"))
    assert len(names) >= 6
    for name in names:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


def test_the_profile_says_where_the_time_went(tmp_path: Path) -> None:
    """In run.json whether it is asked for or not; the parts that follow one another are all of the run's seconds."""
    finished = run(load(describe(ModelSpec(device="cpu")), RESID), tmp_path / "run", shard_sequences=4)
    facts = json.loads((finished.path / "run.json").read_text())
    parts = facts["profile"]
    assert list(parts) == ["tokenize", "forward", "encode", "reduce", "order", "write", "wait", "finish"]
    assert parts["encode"] == {"seconds": 0.0, "tokens_per_second": None}
    assert parts["write"]["seconds"] > 0 and parts["forward"]["seconds"] > 0
    spent = sum(row["seconds"] for part, row in parts.items() if part != "write")
    assert spent == pytest.approx(sum(facts["seconds"].values()), abs=0.01)
    speed = parts["forward"]["tokens_per_second"]
    assert speed == pytest.approx(facts["counts"]["tokens"] / parts["forward"]["seconds"], rel=0.2)
