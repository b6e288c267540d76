"""What the forward pass over documents takes, in CPU time of one thread, beside the same matrix products alone.

    python -m tests.benchmarks.forward [--batch-tokens 4096] [--dtype float32] [--rounds 2] [--out TABLE.md]

The documents of `python -m tests.benchmarks` run through a random GPT-2 small up to its middle layer, in the batches
that actkit cuts them into, and in batches that are filled with as many rows as `--batch-tokens` allows. The two take
turns, and the least of the rounds is taken: CPU time, which a busy machine adds little to.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actkit.backends import describe, load
from actkit.backends.kernels import fast_products
from actkit.config import ModelSpec
from actkit.hooks import HookPoint
from actkit.pipeline.data import Batch, TokenSequence
from actkit.pipeline.forward import batches
from actkit.pipeline.forward.run_batch import forward
from actkit.pipeline.tokens.tokenize import encode_text
from tests.benchmarks import report, workloads
from tests.benchmarks.__main__ import machine
from tests.benchmarks.roofline import ROWS, WEIGHTS


def spent(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def cut(sequences: Sequence[TokenSequence], most: int, width: int, filled: bool) -> list[Batch]:
    """The batches; `filled`, as many rows as there is room for."""
    own = batches.of_each_batch
    if filled:
        batches.of_each_batch = lambda _d_model, _device: 1e9
    try:
        return list(batches.plan(sequences, most, True, width))
    finally:
        batches.of_each_batch = own


def main() -> None:
    """Measure and print a Markdown table."""
    parser = report.parser(__doc__, rounds=2)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        inputs = workloads.make(Path(folder), workloads.FULL)
        size, point = inputs.size, HookPoint(inputs.size.sae_layer, "hook_resid_post")
        module = AutoModelForCausalLM.from_pretrained(inputs.model, dtype=dtype).eval()
        tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    model = load(
        describe(ModelSpec("gpt2-random", device="cpu", dtype=options.dtype, loaded=(module, tokenizer))), (point,)
    )
    encodings = [encode_text(tokenizer, tokenizer.decode(ids)) for ids in inputs.documents]
    sequences = [TokenSequence(n, own, np.arange(len(own)), sequence_id=n) for n, own in enumerate(encodings)]
    tokens = sum(map(len, encodings))
    x, weight = (torch.randn(n, size.d_model, dtype=dtype) for n in (ROWS, 4 * size.d_model))
    ways = {
        name: cut(sequences, options.batch_tokens, size.d_model, filled)
        for name, filled in (("cut", False), ("filled", True))
    }
    seconds = dict.fromkeys([*ways, "products"], float("inf"))
    with torch.inference_mode():
        for _ in range(options.rounds):
            for name, own in ways.items():
                took = spent(lambda own=own: [forward(model, batch, (point,)) for batch in own])  # type: ignore[misc]
                seconds[name] = min(seconds[name], took)
            with fast_products():
                alone = min(spent(lambda: torch.nn.functional.linear(x, weight)) for _ in range(8))
            seconds["products"] = min(seconds["products"], alone)
    peak = 2 * x.numel() * 4 * size.d_model / seconds["products"] / 1e9
    head = f"| batches; products alone reach {peak:,.0f} GFLOP/s | number | tokens run, of the texts'"
    lines = [f"{head} | CPU s | GFLOP/s | of the peak |", "|---|---|---|---|---|---|"]
    for name, own in ways.items():
        rate = 2 * WEIGHTS * size.d_model**2 * (size.sae_layer + 1) * tokens / seconds[name] / 1e9
        run = sum(batch.input_ids.numel() for batch in own) / tokens
        lines.append(f"| {name} | {len(own)} | {run:.2f} | {seconds[name]:.2f} | {rate:,.0f} | {rate / peak:.2f} |")
    report.show(f"{machine()}\n\n" + "\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
