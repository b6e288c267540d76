"""Train `tiny`, the bundled Llama-architecture model.

    python -m tests.bundled_recipe.model --data DATA --out actkit/bundled/tiny

1. Read the corpus (corpus.py), train the tokenizer, turn every document into ids that begin with BOS.
2. Lay the ids out in windows of 512 that each begin with BOS, the position at which every later reading has it too.
3. Train with Muon on the matrices and AdamW on the rest, bf16 autocast, constant then linearly falling rate.
4. Store the weights in bfloat16; every figure of the model card is computed on what is stored.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.bundled_recipe.corpus import Document, load_corpus
from tests.bundled_recipe.tokenizer import CONTEXT, encode, train_tokenizer

KINDS_SEEN_TWICE = ("chat", "story")
"""The smaller kinds of document are laid out twice an epoch, since books are nine tenths of the corpus."""

TRAINING_TOKENS = 28_000_000
"""What the bundled model was trained on; windows are seen a little more than twice."""


def new_model(vocab_size: int, bos: int, eos: int, pad: int) -> LlamaForCausalLM:
    """Make an untrained `tiny`: 4 layers, d_model 192, 6 heads, tied embeddings, about 2.5 M parameters."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        initializer_range=0.02,
    )
    return LlamaForCausalLM(config)


def windows(
    documents: list[Document],
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    seen_twice: tuple[str, ...] = KINDS_SEEN_TWICE,
) -> np.ndarray:
    """All documents, shuffled and laid end to end, as windows `[n, CONTEXT + 1]` that each begin with BOS."""
    rng = np.random.default_rng(seed)
    # A book would otherwise fill hundreds of consecutive windows: it is cut into pieces of one window first.
    pieces: list[list[int]] = []
    for document in documents:
        ids = encode(tokenizer, document)
        cut = [[ids[0], *ids[start : start + CONTEXT]] for start in range(1, len(ids), CONTEXT)]
        pieces.extend(cut * (2 if document.kind in seen_twice else 1))
    stream: list[int] = []
    rows: list[list[int]] = []
    for index in rng.permutation(len(pieces)):
        stream.extend(pieces[index] if not stream or len(pieces[index]) < CONTEXT else pieces[index][1:])
        while len(stream) >= CONTEXT + 1:
            row, stream = stream[: CONTEXT + 1], stream[CONTEXT + 1 :]
            row[0] = tokenizer.bos_token_id
            rows.append(row)
    return np.array(rows, dtype=np.int32)


def batches(rows: np.ndarray, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless batches `[batch, CONTEXT + 1]`, every window once an epoch."""
    for epoch in range(10**6):
        order = np.random.default_rng((seed, epoch)).permutation(len(rows))
        for start in range(0, len(rows) - batch + 1, batch):
            yield torch.from_numpy(rows[order[start : start + batch]].astype(np.int64))


def loss_of(model: LlamaForCausalLM, rows: Tensor) -> Tensor:
    """Mean next-token loss in nats of windows `[batch, position + 1]`."""
    hidden = model.model(input_ids=rows[:, :-1]).last_hidden_state
    logits = model.lm_head(hidden).float()
    return nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def train(model: LlamaForCausalLM, rows: np.ndarray, tokens: int, batch: int, seed: int, cooldown: float = 0.4) -> None:
    """Train in place for `tokens` tokens; the rate is constant, then falls linearly over the last `cooldown`."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    rest = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01), 0.02),
        (torch.optim.AdamW(rest, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0), 1e-2),
    ]
    steps = tokens // (batch * CONTEXT)
    start = time.monotonic()
    smoothed = math.nan
    for step, data in zip(range(steps), batches(rows, batch, seed), strict=False):
        scale = min(1.0, (step + 1) / 100, (steps - step) / (cooldown * steps))
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, data)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        smoothed = loss.item() if math.isnan(smoothed) else 0.98 * smoothed + 0.02 * loss.item()
        if step % 50 == 0 or step == steps - 1:
            rate_seen = (step + 1) * batch * CONTEXT / (time.monotonic() - start)
            print(f"step {step:>6}/{steps}  loss {smoothed:.3f}  {rate_seen:,.0f} tokens/s", flush=True)


def main() -> None:
    """Train and save; prints a progress line every 50 steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, feedback/ and pref/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model, in Hugging Face layout")
    parser.add_argument("--tokens", type=int, default=TRAINING_TOKENS)
    parser.add_argument("--batch", type=int, default=8, help="windows of 512 tokens a step")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    documents, _ = load_corpus(options.data)
    tokenizer = train_tokenizer(documents, options.out)
    rows = windows(documents, tokenizer, options.seed)
    print(f"{len(documents):,} documents, {rows.size:,} tokens an epoch", flush=True)
    model = new_model(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    train(model, rows, options.tokens, options.batch, options.seed)
    model.to(torch.bfloat16).save_pretrained(options.out)


if __name__ == "__main__":
    main()
