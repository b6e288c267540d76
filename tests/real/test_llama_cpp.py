"""An exported control vector does in llama.cpp what it does on the Hugging Face model. `make test-real`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actkit.export.formats import export
from tests.export.llama_cpp import loaded_by_llama_cpp
from tests.real.llama_cpp import LlamaCpp, in_float32

pytestmark = pytest.mark.real
LAYER = 15
PROMPTS = ("How was your day?", "Tell me about the sea.", "What do you think of rain?", "Describe a market.")
ANSWERS = (" It was wonderful, I loved every minute of it!", " It was fine, nothing much happened.")
WRITTEN = 24


@pytest.fixture(scope="module")
def llama_cpp(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    original = smollm2 / "original.gguf"
    if not original.exists():
        pytest.skip(f"{smollm2} has no original.gguf, which llama.cpp reads")
    model = LlamaCpp(in_float32(original, tmp_path_factory.mktemp("gguf") / "float32.gguf"))
    yield model
    model.close()


@pytest.fixture(scope="module")
def plain(smollm2: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        smollm2
    )


def hooked(model: Any, vector: np.ndarray, special: set[int], everywhere: bool) -> Callable[[Sequence[int]], Any]:
    """[n_tokens, vocabulary] on the Hugging Face model: llama.cpp adds everywhere, `steer` not at the first token."""

    def logits(ids: Sequence[int]) -> Any:
        where = [everywhere or (at > 0 and token not in special) for at, token in enumerate(ids)]

        def after(_: Any, __: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[0, where] += torch.from_numpy(vector)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = model.model.layers[LAYER].register_forward_hook(after)
        with torch.inference_mode():
            found = model(torch.tensor([list(ids)])).logits[0].numpy()
        handle.remove()
        return found

    return logits


def test_an_exported_vector_has_the_same_effect(
    llama_cpp: LlamaCpp, plain: tuple[Any, Any], concept_at: Callable[[str, int], Path], tmp_path: Path
) -> None:
    """At scales 1 and 2, in nats a token: how much likelier an enthusiastic answer becomes than a flat one.

    What is written at scale 1 is what the Hugging Face model writes, and the unsteered model finds it likely.
    """
    model, tokenizer = plain
    path = export(concept_at("enthusiasm", LAYER), "gguf", tmp_path / "vector.gguf")
    special = set(tokenizer.all_special_ids)

    def margin(logits: Callable[[Sequence[int]], Any]) -> float:
        found = []
        for prompt in PROMPTS:
            before = tokenizer(prompt)["input_ids"]
            each = [scored(logits, before, tokenizer(answer)["input_ids"]) for answer in ANSWERS]
            found.append(each[0] - each[1])
        return float(np.mean(found))

    def unsteered(ids: Sequence[int]) -> Any:
        return hooked(model, np.zeros(model.config.hidden_size, np.float32), special, True)(ids)

    llama_cpp.steer(None)
    before = {"llama.cpp": margin(llama_cpp.logits), "Hugging Face": margin(unsteered)}
    assert before["llama.cpp"] == pytest.approx(before["Hugging Face"], abs=2e-3)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPTS[0]}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    for scale in (1.0, 2.0):
        vectors = loaded_by_llama_cpp(path, scale)
        llama_cpp.steer(vectors)
        own = hooked(model, vectors[LAYER - 1], special, everywhere=True)
        effect, expected = margin(llama_cpp.logits) - before["llama.cpp"], margin(own) - before["Hugging Face"]
        spared = margin(hooked(model, vectors[LAYER - 1], special, everywhere=False)) - before["Hugging Face"]
        print(f"scale {scale}: llama.cpp {effect:+.5f}, Hugging Face {expected:+.5f}, first token spared {spared:+.5f}")
        assert expected > 0.1 and effect == pytest.approx(expected, rel=0.05)
        if scale == 1.0:
            said = written(llama_cpp.logits, asked)
            print(repr(tokenizer.decode(said)))
            assert len(set(said)) > 0.6 * len(said), tokenizer.decode(said)
            assert scored(unsteered, asked, said) > -2.0, tokenizer.decode(said)


def scored(logits: Callable[[Sequence[int]], Any], before: Sequence[int], after: Sequence[int]) -> float:
    """Mean log-probability of the tokens `after`, in nats a token."""
    rows = torch.log_softmax(torch.from_numpy(logits([*before, *after])).double(), -1)
    return float(np.mean([float(rows[len(before) + at - 1, token]) for at, token in enumerate(after)]))


def written(logits: Callable[[Sequence[int]], Any], ids: Sequence[int]) -> list[int]:
    """The most likely tokens, one after another."""
    said: list[int] = []
    for _ in range(WRITTEN):
        said.append(int(np.argmax(logits([*ids, *said])[-1])))
    return said
