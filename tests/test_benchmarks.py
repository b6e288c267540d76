"""The benchmark measures the same work on every side: all ways give the same numbers on a small input. No timing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actkit.backends import sae_lens
from actkit.config import ModelSpec, SaeSpec
from tests.benchmarks import own, reference, ways, workloads
from tests.benchmarks.__main__ import WORKLOADS, table

SIZE = workloads.Size(4, 64, 4, 512, documents=5, pairs=3, answers=5, contrasts=4)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> workloads.Inputs:
    return workloads.make(tmp_path_factory.mktemp("benchmark"), SIZE)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def expected(inputs: workloads.Inputs, workload: str) -> Any:
    layers = workloads.layers_read(workload, SIZE)
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    model = reference.base_model(inputs, max(layers) + 1)
    return getattr(reference, workload)(inputs, model, layers if workload == "contrasts" else sae)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_actkit_and_the_hand_tuned_reference_agree(workload: str, inputs: workloads.Inputs, tmp_path: Path) -> None:
    own.run(inputs, workload, ModelSpec(str(inputs.model), device="cpu"), tmp_path / "run")
    wanted = expected(inputs, workload)
    error, same = own.difference(inputs, workload, tmp_path / "run", wanted)
    assert error < 1e-5 and same > 0.999
    parts = {"pairs": 3, "contrasts": 2}.get(workload, 1)
    assert len(wanted) == getattr(SIZE, workload) * parts


@pytest.mark.parametrize("workload", ["documents", "answers", "contrasts"])
def test_the_usual_way_gives_what_the_reference_gives(workload: str, inputs: workloads.Inputs) -> None:
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    model = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    found = ways.batched(model, inputs, workload, workloads.layers_read(workload, SIZE), sae)
    wanted = expected(inputs, workload)
    for index, one in enumerate(found):
        if workload == "contrasts":
            torch.testing.assert_close(one, wanted[index], rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(
                one.values.reshape(wanted[index][0].shape), wanted[index][0], rtol=1e-4, atol=1e-4
            )


def test_the_ids_are_those_that_a_tokenizer_makes_of_the_files(inputs: workloads.Inputs) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    assert len(inputs.pairs) == SIZE.pairs and all(chosen and rejected for _, chosen, rejected in inputs.pairs)
    first = (inputs.folder / "contrasts.txt").read_text(encoding="utf-8").splitlines()[0]
    assert inputs.contrasts[0] == tokenizer(first)["input_ids"] and len(inputs.contrasts) == 2 * SIZE.contrasts
    assert all(whole[: len(prompt)] == prompt for prompt, whole in inputs.answers)
    assert workloads.read(inputs.folder) == inputs


def test_the_table_holds_ratios_to_the_reference() -> None:
    seconds = {"hand-tuned": 2.0, "actkit, work": 1.0, "another": 5.0}
    lines = table({"pairs": (seconds, "1e-06", 3000)}).splitlines()
    assert lines[0].startswith("| work | actkit, work | another | hand-tuned |")
    assert lines[2] == f"| {WORKLOADS['pairs']} | 0.50 | 2.50 | 1 | 3,000 | 1e-06 |"
