"""`capture_activations` gives what a run of `capture` has in its tables, and what the plain model computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import actkit
from actkit.errors import InputError, ModelError, RunError, UsageError
from tests.api.conftest import PROMPTS
from tests.conftest import relative_error

CPU = actkit.ModelSpec("tiny", device="cpu")


def run_of(out: Path, what: actkit.CaptureSpec, **options: Any) -> actkit.Run:
    return actkit.open_run(actkit.run_capture(what, actkit.DenseSpec(CPU, actkit.OutputSpec(out), **options)).path)


def check(found: actkit.CapturedActivations, run: actkit.Run, keys: dict[Any, str]) -> None:
    """Every vector and token of the run's tables, padded on the right."""
    rows = run.to_pandas("sequences")
    assert list(found.activations) == list(keys)
    for key, hook_point in keys.items():
        at, vectors = run.positions(hook_point), run.activations(hook_point)
        for number, sequence_id in enumerate(rows["sequence_id"]):
            own = (at["sequence_id"] == sequence_id).to_numpy()
            assert np.array_equal(found.activations[key][number, : own.sum()].numpy(), vectors[own])
            assert not found.activations[key][number, own.sum() :].any()
            assert found.positions[number, : own.sum()].tolist() == at["position"][own].tolist()
            assert (found.positions[number, own.sum() :] == -1).all()
    tokens = run.to_pandas("tokens")
    for number, sequence_id in enumerate(rows["sequence_id"]):
        here = tokens[tokens["sequence_id"] == sequence_id]
        columns = (found.input_ids, "token_id"), (found.special_tokens_mask, "is_special")
        for tensor, column in columns:
            assert tensor[number, : len(here)].tolist() == here[column].astype(int).tolist()
            assert not tensor[number, len(here) :].any()
        assert found.attention_mask[number].tolist() == [1] * len(here) + [0] * (found.input_ids.shape[1] - len(here))


def test_it_is_what_the_tables_hold(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    found = actkit.capture_activations(tiny, PROMPTS, layers=[1, 3])
    run = run_of(tmp_path / "run", actkit.CaptureSpec(PROMPTS), layers="1,3")
    check(found, run, {1: "blocks.1.hook_resid_post", 3: "blocks.3.hook_resid_post"})
    assert found.prompt == list(PROMPTS) and found.captured_layers == [1, 3] and found.num_layers == 4
    assert found.tokens == [token["token"].tolist() for _, token in run.to_pandas("tokens").groupby("sequence_id")]
    assert found.special_tokens_mask.sum() == len(PROMPTS)  # a BOS each
    assert found.run is None and found.facts["counts"]["written"] == 4


def test_it_is_what_the_plain_model_computes(in_memory: tuple[Any, Any]) -> None:
    model, tokenizer = in_memory
    found = actkit.capture_activations(in_memory, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs, output_hidden_states=True).hidden_states
        length = inputs["input_ids"].shape[1]
        for layer in range(3):  # the last of the states is after the final norm
            assert relative_error(found.activations[layer][row, :length], states[layer + 1][0]) < 1e-5


def test_several_hook_points_of_a_layer_are_named(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    names = ("hook_resid_post", "hook_mlp_out")
    found = actkit.capture_activations(tiny, PROMPTS, layers="0,2", hook_points=names)
    run = run_of(tmp_path / "run", actkit.CaptureSpec(PROMPTS), layers="0,2", hook_points=names)
    check(found, run, {name: name for name in sorted(f"blocks.{layer}.{site}" for layer in (0, 2) for site in names)})


@pytest.mark.quick(1)
@pytest.mark.parametrize(("positions", "text"), [("last", "last"), (-1, "-1"), ([0, -1], "0,-1")])
def test_positions_are_chosen_as_in_capture(tiny: actkit.ModelSpec, tmp_path: Path, positions: Any, text: str) -> None:
    found = actkit.capture_activations(tiny, PROMPTS, layers=2, positions=positions)
    run = run_of(tmp_path / "run", actkit.CaptureSpec(PROMPTS, positions=text), layers="2")
    check(found, run, {2: "blocks.2.hook_resid_post"})
    assert found.input_ids.shape[1] > found.activations[2].shape[1]


def test_a_chat_is_what_messages_are(tiny: actkit.ModelSpec) -> None:
    plain = actkit.capture_activations(tiny, "Good day.", layers=1, chat=True, system="Be kind.")
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Good day."}]
    written = actkit.capture_activations(tiny, messages, layers=1)
    several = actkit.capture_activations(tiny, [messages, "Good day."], layers=1)
    assert plain.prompt == written.prompt == several.prompt[0] and several.prompt[1] == "Good day."
    assert isinstance(plain.prompt, str) and "<|system|>Be kind.<|end|>" in plain.prompt
    assert torch.equal(plain.activations[1], written.activations[1])
    assert relative_error(several.activations[1][:1], plain.activations[1]) < 1e-5


def test_responses_are_run_after_their_prompts(tiny: actkit.ModelSpec) -> None:
    pairs = [{"prompt": "What is red?", "response": " A rose is."}, {"prompt": "And", "response": " so on"}]
    found = actkit.capture_activations(tiny, pairs, layers=1, positions="response")
    whole = actkit.capture_activations(tiny, "What is red? A rose is.", layers=1)
    kept = found.positions[0]
    assert found.prompt[0] == whole.prompt and len(kept) < whole.input_ids.shape[1]
    assert relative_error(found.activations[1][0], whole.activations[1][0, kept]) < 1e-5


def test_one_prompt_is_a_batch_of_one(tiny: actkit.ModelSpec) -> None:
    found = actkit.capture_activations(tiny, "One two.", layers=0)
    assert found.prompt == "One two." and found.tokens[1:] == ["One", " two", "."]
    assert found.activations[0].shape == (1, 4, 192)


def test_it_can_be_used_like_a_dictionary(tiny: actkit.ModelSpec) -> None:
    found = actkit.capture_activations(tiny, "One two.", layers=0)
    assert found["activations"] is found.activations and "facts" not in found and found.get("nothing") is None
    assert {"activations", "input_ids", "attention_mask", "tokens", "prompt", "num_layers", "captured_layers"} <= set(
        found
    )
    assert len(dict(found)) == len(found) and found == found and hash(found)
    with pytest.raises(KeyError):
        found["nothing"]


def test_a_data_frames_column_is_a_list_of_prompts(tiny: actkit.ModelSpec) -> None:
    frame = pd.DataFrame({"prompt": ["One.", "Two."]})
    column, rows = (actkit.capture_activations(tiny, given, layers=0) for given in (frame["prompt"], frame))
    assert column.prompt == rows.prompt == ["One.", "Two."]


def test_the_run_can_be_kept(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    found = actkit.capture_activations(tiny, PROMPTS, layers=2, out="kept/run")
    assert found.run is not None and found.run.path == Path("kept/run")
    check(found, actkit.open_run(tmp_path / "kept/run"), {2: "blocks.2.hook_resid_post"})
    assert found.run.facts["options"]["layers"] == "2"
    assert [path.name for path in Path("kept").iterdir()] == ["run"]
    with pytest.raises(RunError, match="exists already"):
        actkit.capture_activations(tiny, "One.", out="kept/run")
    again = actkit.capture_activations(tiny, "One.", layers=0, out="kept/run", overwrite=True)
    assert again.run is not None and again.run.hook_points == ("blocks.0.hook_resid_post",)


def test_a_prompt_that_is_cut_is_warned_of_unless_it_was_asked_for(tiny: actkit.ModelSpec) -> None:
    with pytest.warns(UserWarning, match="1 texts were cut to the model's context of 512 tokens"):
        found = actkit.capture_activations(tiny, ["word " * 600, "One."], layers=0)
    assert found.n_truncated[0] > 0 == found.n_truncated[1] and found.input_ids.shape[1] == 512
    assert actkit.capture_activations(tiny, PROMPTS[1], layers=0, max_length=5).n_truncated == [11]


@pytest.mark.parametrize(
    ("prompts", "options", "error", "says"),
    [
        ([], {}, UsageError, "no prompts"),
        ([3], {}, UsageError, "int is no prompt"),
        (["One.", " "], {}, InputError, "^record 1: empty"),
        ([{"text": "One."}, {"other": "Two."}], {}, InputError, "^record 1: no field"),
        ([{"text": "One."}, {"text": " "}], {}, InputError, "^record 1, field text: empty"),
        ([{"prompt": object()}], {}, UsageError, "cannot be written as JSON"),
        ("One.", {"positions": "nonsense"}, UsageError, "not understood"),
        ("One.", {"layers": "4"}, UsageError, "no layer 4"),
        ("One.", {"hook_points": ["hook_nothing"]}, ModelError, "hook_nothing"),
        ("One.", {"max_mb": 0}, RunError, "more than max_mb"),
        ("One.", {"positions": 99}, InputError, "position 99"),
    ],
)
def test_errors_say_what_to_do(prompts: Any, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        actkit.capture_activations(CPU, prompts, **options)
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint
    assert "--on-bad-record" not in caught.value.hint


def test_a_notebook_is_shown_what_was_captured_and_not_all_of_its_numbers(tiny: actkit.ModelSpec) -> None:
    both = actkit.capture_contrastive_activations(tiny, ["One.", "Two."], ["Three.", "Four."], layers="all")
    width = both.positive.activations[0].shape[2]
    shape = str(list(both.positive.activations[0].shape))
    assert repr(both.positive) == f"CapturedActivations(2 prompts; {_all_four(shape)})"
    assert repr(both) == f"ContrastiveActivations(2 pairs; differences {_all_four(f'[2, {width}]')})"
    points = ["hook_resid_post", "hook_mlp_out"]
    captured = actkit.capture_activations(tiny, "One.", hook_points=points, positions="last")
    first, last = "blocks.0.hook_mlp_out", "blocks.3.hook_resid_post"
    said = repr(captured)
    assert said.startswith("CapturedActivations(1 prompt; ") and said.count(" [1, 1, ") == 4 and ", …, " in said
    assert first in said and said.endswith(f"{last} [1, 1, {width}])")


def _all_four(shape: str) -> str:
    return ", ".join(f"layer {layer} {shape}" for layer in range(4))


@pytest.mark.slow
def test_vectors_of_different_lengths_are_no_tensor() -> None:
    with pytest.raises(actkit.ActkitError, match="no activations that fit|differ in length"):
        actkit.capture_activations(CPU, ["One.", "One two."], layers=0, hook_points=["attn.hook_pattern"])
    names = ["attn.hook_pattern", "hook_resid_post"]
    with pytest.raises(UsageError, match="differ in length"):
        actkit.capture_activations(CPU, ["One.", "One two."], layers=0, hook_points=names)
