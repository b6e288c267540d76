"""How well `tiny` predicts held-out text, beside what counting words would do, and what it writes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.bundled_recipe.model import loss_of
from tests.bundled_recipe.tokenizer import CONTEXT

TEMPERATURE = 0.8
SAMPLE_TOKENS = 80
SAMPLE_SEED = 0
PROMPTS: dict[str, str | list[dict[str, str]]] = {
    "A story": "Once upon a time there was a little goat who",
    "A question": [{"role": "user", "content": "What do bees make?"}],
    "Thanks": [
        {"role": "user", "content": "Name a fruit that is yellow."},
        {"role": "assistant", "content": "A banana is a yellow fruit."},
        {"role": "user", "content": "Thank you, that was very helpful!"},
    ],
}
"""Chosen before the model was seen; the samples are the first and only ones drawn."""

PRIOR_STRENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Loss:
    """Mean next-token loss over all predicted tokens of some windows, in nats per token."""

    nats: float
    tokens: int


@dataclass(frozen=True)
class Baselines:
    """Losses in nats per token of count models; `strength` is the pseudo-count of the unigram in the bigram."""

    unigram: float
    bigram: float
    strength: int


@dataclass(frozen=True)
class Sample:
    """One continuation, special tokens shown."""

    title: str
    prompt: str
    continuation: str


def as_ids(rows: np.ndarray) -> Tensor:
    """Windows as ids that an embedding accepts."""
    return torch.from_numpy(rows.astype(np.int64))


@torch.no_grad()
def loss(model: LlamaForCausalLM, rows: np.ndarray, batch: int = 16) -> Loss:
    """Predict and count every token but the first BOS of windows `[n, CONTEXT + 1]`."""
    total = 0.0
    for start in range(0, len(rows), batch):
        chunk = as_ids(rows[start : start + batch])
        total += loss_of(model, chunk).item() * len(chunk)
    return Loss(total / len(rows), len(rows) * CONTEXT)


def bits_per_byte(loss: Loss, rows: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> float:
    """Turn a loss into bits per byte of the predicted text; special tokens have no bytes."""
    special = set(tokenizer.all_special_ids)
    # In byte-level BPE each character of a token's string stands for one byte.
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    lengths = np.array([0 if index in special else len(piece) for index, piece in enumerate(pieces)])
    return loss.nats * loss.tokens / math.log(2) / float(lengths[rows[:, 1:]].sum())


def baselines(train_rows: np.ndarray, held_out_rows: np.ndarray, vocab_size: int) -> Baselines:
    """Count models of the training windows, on the same held-out tokens as the model.

    Unigram: add-one. Bigram: counts plus `strength` times the unigram's probability, normalised, an interpolation whose
    weight depends on how often the first token was seen. The strength is the best for every tenth training window given
    the counts of the others.
    """
    tenth = np.arange(len(train_rows)) % 10 == 0
    unigram = _unigram(train_rows, vocab_size)
    counts = _pair_counts(train_rows[~tenth], vocab_size)
    strength = min(PRIOR_STRENGTHS, key=lambda value: _bigram_loss(counts, unigram, train_rows[tenth], value))
    counts += _pair_counts(train_rows[tenth], vocab_size)
    return Baselines(
        unigram=float(-np.log(unigram[held_out_rows[:, 1:]]).mean()),
        bigram=_bigram_loss(counts, unigram, held_out_rows, strength),
        strength=strength,
    )


def samples(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> list[Sample]:
    """One continuation of each prompt, sampled from the whole vocabulary."""
    found = []
    for title, prompt in PROMPTS.items():
        if isinstance(prompt, str):
            ids = list(tokenizer(prompt)["input_ids"])
        else:
            text = str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))
            ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        torch.manual_seed(SAMPLE_SEED)
        written = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            top_p=1.0,
            max_new_tokens=SAMPLE_TOKENS,
        )[0].tolist()
        found.append(Sample(title, str(tokenizer.decode(ids)), str(tokenizer.decode(written[len(ids) :]))))
    return found


def _unigram(rows: np.ndarray, vocab_size: int) -> np.ndarray:
    counts = np.bincount(rows[:, 1:].ravel(), minlength=vocab_size) + 1.0
    probabilities: np.ndarray = counts / counts.sum()
    return probabilities


def _pair_counts(rows: np.ndarray, vocab_size: int) -> np.ndarray:
    pairs = rows[:, :-1].astype(np.int64) * vocab_size + rows[:, 1:]
    return np.bincount(pairs.ravel(), minlength=vocab_size**2).reshape(vocab_size, vocab_size)


def _bigram_loss(counts: np.ndarray, unigram: np.ndarray, rows: np.ndarray, strength: int) -> float:
    first, second = rows[:, :-1], rows[:, 1:]
    seen = counts.sum(axis=1)
    probabilities = (counts[first, second] + strength * unigram[second]) / (seen[first] + strength)
    return float(-np.log(probabilities).mean())
