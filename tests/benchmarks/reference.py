"""The hand-tuned script for each workload: the limit that actkit is measured against, and nothing that a product needs.

The Hugging Face model cut to the blocks that are needed, without final norm and LM head, in SDPA; texts sorted by
length, in batches of a token budget, padded on the right; a prefix run once, with a key-value cache; one SAE encode and
top-k on what is kept. Nothing is checked, put back into order or written.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import AutoModel

from tests.benchmarks.workloads import Inputs

BUDGET = 4096
TOP_K = 50


def base_model(inputs: Inputs, n_layers: int) -> Any:
    """The first `n_layers` blocks; the last hidden state is the residual stream after them."""
    model = AutoModel.from_pretrained(inputs.model, attn_implementation="sdpa").eval()
    model.h = model.h[:n_layers]
    model.ln_f = torch.nn.Identity()
    return model


def batches(texts: Sequence[Sequence[int]], budget: int = BUDGET) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Which texts, and their ids [batch, longest], zeros on the right."""
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    while order:
        width = len(texts[order[0]])
        now, order = order[: max(budget // width, 1)], order[max(budget // width, 1) :]
        ids = torch.zeros(len(now), width, dtype=torch.long)
        for row, index in enumerate(now):
            ids[row, : len(texts[index])] = torch.tensor(texts[index])
        yield now, ids


def _top(sae: Any, x: torch.Tensor) -> Any:
    return sae.encode(x).topk(TOP_K)


def documents(inputs: Inputs, model: Any, sae: Any) -> dict[int, Any]:
    """Top features of every token: document → values and ids [n_tokens, 50]."""
    found = {}
    for now, ids in batches(inputs.documents):
        states = model(ids, use_cache=False).last_hidden_state
        lengths = [len(inputs.documents[index]) for index in now]
        kept = torch.cat([states[row, :length] for row, length in enumerate(lengths)])
        top = _top(sae, kept)
        values, names = top.values.split(lengths), top.indices.split(lengths)
        found.update({index: (values[row], names[row]) for row, index in enumerate(now)})
    return found


def pairs(inputs: Inputs, model: Any, _sae: Any) -> dict[tuple[int, int], torch.Tensor]:
    """All layers at all tokens: pair and part (0 shared, 1 chosen, 2 rejected) → [layer, n_tokens, d_model]."""
    found: dict[tuple[int, int], torch.Tensor] = {}
    for now, ids in batches([shared for shared, *_ in inputs.pairs], BUDGET // 2):
        lengths = torch.tensor([len(inputs.pairs[index][0]) for index in now])
        out = model(ids, use_cache=True, output_hidden_states=True)
        _keep(found, out.hidden_states, [(index, 0) for index in now], lengths.tolist())
        sides = [inputs.pairs[index][part] for index in now for part in (1, 2)]
        width = max(map(len, sides))
        new = torch.zeros(len(sides), width, dtype=torch.long)
        for row, side in enumerate(sides):
            new[row, : len(side)] = torch.tensor(side)
        before = lengths.repeat_interleave(2)[:, None]
        cache = out.past_key_values
        cache.batch_repeat_interleave(2)
        seen = torch.cat([torch.arange(ids.shape[1])[None] < before, torch.ones_like(new, dtype=torch.bool)], 1)
        out = model(
            new,
            attention_mask=seen.long(),
            position_ids=(before + torch.arange(width)).clamp(max=1023),
            past_key_values=cache,
            output_hidden_states=True,
        )
        _keep(found, out.hidden_states, [(index, part) for index in now for part in (1, 2)], list(map(len, sides)))
    return found


def _keep(found: dict[Any, torch.Tensor], states: Any, names: Sequence[Any], lengths: Sequence[int]) -> None:
    for row, (name, length) in enumerate(zip(names, lengths, strict=True)):
        found[name] = torch.stack([layer[row, :length] for layer in states[1:]])


def answers(inputs: Inputs, model: Any, sae: Any) -> dict[int, Any]:
    """Top features of the last prompt token: what follows it is not run. Sample → values and ids [50]."""
    found = {}
    for now, ids in batches([prompt for prompt, _ in inputs.answers]):
        last = torch.tensor([len(inputs.answers[index][0]) - 1 for index in now])
        top = _top(sae, model(ids, use_cache=False).last_hidden_state[torch.arange(len(now)), last])
        found.update({index: (top.values[row], top.indices[row]) for row, index in enumerate(now)})
    return found


def contrasts(inputs: Inputs, model: Any, layers: Sequence[int]) -> dict[int, torch.Tensor]:
    """Some layers at the last token: text → [layer, d_model]."""
    found = {}
    for now, ids in batches(inputs.contrasts):
        last = torch.tensor([len(inputs.contrasts[index]) - 1 for index in now])
        states = model(ids, use_cache=False, output_hidden_states=True).hidden_states
        kept = torch.stack([states[layer + 1][torch.arange(len(now)), last] for layer in layers], 1)
        found.update(dict(zip(now, kept, strict=True)))
    return found
