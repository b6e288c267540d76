"""Other ways to do the same work: one text at a time through `run_with_cache`, and plain Hugging Face batches."""

from collections.abc import Sequence
from typing import Any

import torch

from tests.benchmarks.reference import TOP_K
from tests.benchmarks.workloads import Inputs

BATCH = 16


def texts_of(inputs: Inputs, workload: str) -> list[list[int]]:
    """What such a script runs: whole texts, each conversation of a pair, prompts with their responses."""
    if workload == "pairs":
        return [shared + side for shared, *sides in inputs.pairs for side in sides]
    if workload == "answers":
        return [whole for _, whole in inputs.answers]
    return inputs.documents if workload == "documents" else inputs.contrasts


def _read(inputs: Inputs, workload: str, index: int, states: torch.Tensor, sae: Any) -> Any:
    """What a workload keeps of one text's activations: [layer, n_tokens, d_model] or [n_tokens, d_model]."""
    if workload == "pairs":
        return states
    if workload == "contrasts":
        return states[:, -1]
    if workload == "answers":
        return sae.encode(states[0, len(inputs.answers[index][0]) - 1][None]).topk(TOP_K)
    return sae.encode(states[0]).topk(TOP_K)


def one_at_a_time(bridge: Any, inputs: Inputs, workload: str, layers: Sequence[int], sae: Any) -> list[Any]:
    """TransformerLens's bridge, one text after another, the whole model with logits."""
    names = [f"blocks.{layer}.hook_resid_post" for layer in layers]
    found = []
    for index, text in enumerate(texts_of(inputs, workload)):
        _, cache = bridge.run_with_cache(torch.tensor([text]), names_filter=lambda name: name in names)
        found.append(_read(inputs, workload, index, torch.stack([cache[name][0] for name in names]), sae))
    return found


def batched(model: Any, inputs: Inputs, workload: str, layers: Sequence[int], sae: Any) -> list[Any]:
    """Hugging Face with `output_hidden_states`, texts in the order of the input, padded batches of 16."""
    texts = texts_of(inputs, workload)
    found = []
    for start in range(0, len(texts), BATCH):
        rows = texts[start : start + BATCH]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        hidden = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        for number, row in enumerate(rows):
            states = torch.stack([hidden[layer + 1][number, : len(row)] for layer in layers])
            found.append(_read(inputs, workload, start + number, states, sae))
    return found
