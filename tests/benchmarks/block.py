"""Where the time of a block goes: its products, attention, norms and activation, each by itself, in both dtypes.

    python -m tests.benchmarks.block [--texts 2] [--tokens 800] [--rounds 3] [--out TABLE.md]

A block of GPT-2 small runs on one thread, whose CPU time is read. The last columns are its rate by the products with
weights alone, and theirs.
"""

import time
from collections.abc import Callable

import torch

from actkit.backends.kernels import fast_modules, fast_products
from tests.benchmarks import report
from tests.benchmarks.__main__ import machine
from tests.benchmarks.roofline import WEIGHTS

D_MODEL, HEADS = 768, 12


def parts(dtype: torch.dtype, texts: int, tokens: int, rounds: int) -> dict[str, float]:
    """Part → its CPU seconds, the least of some rounds; `block` is all of it."""
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    config = GPT2Config(n_layer=1, n_embd=D_MODEL, n_head=HEADS, attn_implementation="sdpa")
    model = GPT2Model(config).eval().to(dtype)
    block, x = model.h[0], torch.randn(texts, tokens, D_MODEL, dtype=dtype)
    inner = torch.randn(texts, tokens, 4 * D_MODEL, dtype=dtype)
    heads = torch.randn(texts, tokens, HEADS, D_MODEL // HEADS, dtype=dtype).transpose(1, 2)
    attend = torch.nn.functional.scaled_dot_product_attention
    products = ((block.attn.c_attn, x), (block.attn.c_proj, x), (block.mlp.c_fc, x), (block.mlp.c_proj, inner))
    ways: dict[str, Callable[[], object]] = {
        "block": lambda: block(x),
        "products": lambda: [module(given) for module, given in products],
        "attention": lambda: attend(heads, heads, heads, is_causal=True),
        "norms": lambda: (block.ln_1(x), block.ln_2(x)),
        "GELU": lambda: block.mlp.act(inner),
    }
    seconds = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode(), fast_modules(model), fast_products():
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.thread_time()
                way()
                seconds[name] = min(seconds[name], time.thread_time() - began)
    return seconds


def main() -> None:
    """Measure and print a Markdown table."""
    parser = report.parser(__doc__)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=800)
    options = parser.parse_args()
    torch.set_num_threads(1)
    operations = 2 * WEIGHTS * D_MODEL**2 * options.texts * options.tokens / 1e9
    lines = []
    for dtype in (torch.float32, torch.bfloat16):
        seconds = parts(dtype, options.texts, options.tokens, options.rounds)
        shares = [f"{spent / seconds['block']:.0%}" for name, spent in seconds.items() if name != "block"]
        if not lines:
            lines = [
                f"| dtype | {' | '.join(seconds)} | GFLOP/s | products alone | share |",
                "|---" * (len(seconds) + 4) + "|",
            ]
        rate, alone = operations / seconds["block"], operations / seconds["products"]
        cells = [
            str(dtype).removeprefix("torch."),
            f"{seconds['block']:.3f} s",
            *shares,
            f"{rate:,.0f}",
            f"{alone:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} | {rate / alone:.2f} |")
    report.show(f"{machine()}\n\n" + "\n".join(lines) + "\n", options.out)


if __name__ == "__main__":
    main()
