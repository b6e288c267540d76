"""Greedy answers are the largest logits one after another, batched or not, steered wherever a token is steered."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from actkit.backends import describe, generation, load
from actkit.backends.generation import AT_ONCE, edited_module, ends_of, greedy, steered_now
from actkit.backends.interventions import Edit, add
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint

POINT = HookPoint(1, "hook_resid_post")
SPECIAL = torch.tensor([0, 1, 2])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, model_dir: Callable[[str], Path]) -> Any:
    return load(describe(ModelSpec(str(model_dir("llama")), device="cpu", dtype="float32")), [POINT])


def prompts(n: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [np.concatenate([[1], rng.integers(6, 250, 3 + number % 4)]) for number in range(n)]


def brute(model: Any, prompt: Any, n_tokens: int, change: torch.Tensor | None = None) -> list[int]:
    """The whole text anew for each token; with `change` added to the block's output from the second token on."""

    def after(_: Any, __: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        steered = ~torch.isin(torch.tensor([ids]), SPECIAL)
        steered[:, 0] = False
        hidden[steered] += change
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    ids, found = prompt.tolist(), []
    handle = model.module.get_submodule("model.layers.1").register_forward_hook(after) if change is not None else None
    with torch.inference_mode():
        for _ in range(n_tokens):
            token = int(model.module(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token in ends_of(model):
                break
            ids.append(token)
            found.append(token)
    if handle is not None:
        handle.remove()
    return found


def test_answers_are_the_most_likely_tokens_of_each_prompt_alone(model: Any) -> None:
    some = prompts(AT_ONCE + 2)
    found = greedy(model, some, 4)
    assert [answer.tolist() for answer in found[::5]] == [brute(model, prompt, 4) for prompt in some[::5]]
    assert len(found) == len(some) and greedy(model, [], 4) == []


def test_a_steered_model_is_steered_in_what_it_says(model: Any) -> None:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0)) * 3
    some = prompts(3)
    found = [answer.tolist() for answer in greedy(model, some, 5, [Edit(POINT, add(vector))])]
    assert found == [brute(model, prompt, 5, vector) for prompt in some]
    assert found != [answer.tolist() for answer in greedy(model, some, 5)]
    assert [answer.tolist() for answer in greedy(model, some, 5)] == [brute(model, prompt, 5) for prompt in some]


def test_an_answer_ends_before_its_end_token(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = greedy(model, prompts(1), 6)
    config = SimpleNamespace(eos_token_id=[int(whole[3])])
    monkeypatch.setattr(generation, "ends_of", lambda _model: {int(whole[3])})
    first = whole.tolist().index(int(whole[3]))
    assert greedy(model, prompts(1), 6)[0].tolist() == whole[:first].tolist()
    monkeypatch.undo()
    monkeypatch.setattr(model.module, "generation_config", config)
    assert ends_of(model) == {int(whole[3]), 2}
    monkeypatch.setattr(model.module, "generation_config", SimpleNamespace(eos_token_id=None))
    assert ends_of(model) == {2}


def test_a_model_of_another_backend_gives_no_answers() -> None:
    other: Any = object()
    with pytest.raises(ModelError, match="gives no answers here") as error:
        greedy(other, [], 1)
    assert error.value.hint == "steer at hook_resid_post"


IDS = torch.tensor([[0, 1, 9, 8], [1, 9, 2, 7]])
MASK = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])


def past(n: int) -> Any:
    return SimpleNamespace(get_seq_length=lambda: n)


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((IDS,), {"attention_mask": MASK}, [[0, 0, 1, 1], [0, 1, 0, 1]]),
        ((), {"input_ids": IDS, "attention_mask": MASK, "past_key_values": past(0)}, [[0, 0, 1, 1], [0, 1, 0, 1]]),
        ((IDS,), {}, [[0, 0, 1, 1], [0, 1, 0, 1]]),
        ((IDS,), {"attention_mask": torch.ones(2, 9)}, [[0, 0, 1, 1], [0, 1, 0, 1]]),
        ((), {"input_ids": IDS[:, :1] + 5, "past_key_values": past(4)}, [[1], [1]]),
        ((), {"input_ids": IDS[:, :1], "past_key_values": past(4)}, [[0], [0]]),
        ((), {"inputs_embeds": torch.zeros(2, 3, 5)}, [[0, 1, 1], [0, 1, 1]]),
    ],
)
def test_padding_first_tokens_and_special_ones_are_not_steered(
    args: tuple[Any, ...], kwargs: dict[str, Any], expected: list[list[int]]
) -> None:
    assert steered_now(args, kwargs, SPECIAL).int().tolist() == expected


def test_no_hook_stays_when_something_fails(model: Any) -> None:
    before = [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.module.modules()]
    with (
        pytest.raises(ZeroDivisionError),
        edited_module(model.module, model.hooked, [Edit(POINT, add(torch.ones(32)))], SPECIAL),
    ):
        raise ZeroDivisionError
    after = [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.module.modules()]
    assert after == before
