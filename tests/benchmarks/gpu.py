"""What of a GPU's forward-only rate is left with an SAE, copies to the host and writing on.

    python -m tests.benchmarks.gpu [--device cuda] [--small] [--rounds 3] [--out TABLE.md]

1. A random Gemma 2 of the 2B's shape (26 blocks; the vocabulary apart, which no block sees) is made on the device, in
   bfloat16 there and float32 on a CPU, with an SAE 16k wide and texts as in `python -m tests.benchmarks`, but more.
2. actkit's own command runs each workload once to warm up; the batches that it makes are noted.
3. The two take turns: the command, and the model alone on those batches, up to the same block, nothing kept.
   `share` is the time of the model alone by that of the command from its first record to its last table, statistics
   over the finished tables apart; `whole` includes those.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config
from transformers.utils.logging import disable_progress_bar

from actkit.backends import Model, describe, load
from actkit.bundled import TINY
from actkit.config import ModelSpec
from actkit.hooks import HookPoint
from actkit.pipeline import compute
from actkit.pipeline.data import Batch
from tests.benchmarks import own, report, workloads
from tests.benchmarks.__main__ import WORKLOADS, machine

FULL = workloads.Size(26, 2304, 8, 16384, documents=4000, pairs=60, answers=6000, contrasts=3000)
SMALL = workloads.Size(4, 96, 2, 1024, documents=6, pairs=4, answers=8, contrasts=6)
Noted = list[tuple[Batch, tuple[HookPoint, ...]]]


def make(folder: Path, size: workloads.Size, device: str) -> tuple[workloads.Inputs, ModelSpec]:
    """Model and tokenizer in memory, and SAE and inputs on disk."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(TINY))
    tokenizer.chat_template = None
    dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.d_model,
        intermediate_size=4 * size.d_model,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        num_key_value_heads=size.n_heads // 2,
        head_dim=256 if size.d_model == FULL.d_model else size.d_model // size.n_heads,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    tokenizer.save_pretrained(folder / "model")
    config.save_pretrained(folder / "model")
    ids = torch.randint(5, len(tokenizer), (4, 100), device=device)
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states[size.sae_layer + 1]
    workloads.write_sae(folder / "sae", states.flatten(0, 1).clone(), size.sae_layer, size.d_sae)
    workloads.write_inputs(folder, size, tokenizer)
    spec = ModelSpec("gemma2-random", device=device, dtype=str(dtype).removeprefix("torch."), loaded=(model, tokenizer))
    return workloads.Inputs(folder, size, [], [], [], []), spec


@contextmanager
def noting(noted: Noted) -> Iterator[None]:
    """Inside, the batches that actkit runs are noted."""
    forward = compute.forward

    def noted_forward(model: Model, batch: Batch, hook_points: Any) -> Any:
        noted.append((batch, tuple(hook_points)))
        return forward(model, batch, hook_points)

    compute.forward = noted_forward
    try:
        yield
    finally:
        compute.forward = forward


def alone(model: Model, noted: Noted) -> None:
    """The model on those batches, up to the last hook point; waits for the device at the end only."""
    for batch, points in noted:
        model.run(batch.input_ids, batch.positions, batch.tree, {str(point): lambda _tensor: None for point in points})
    if torch.device(model.description.spec.device).type == "cuda":
        torch.cuda.synchronize()


def measure(inputs: workloads.Inputs, workload: str, spec: ModelSpec, rounds: int) -> dict[str, Any]:
    """Least seconds of the model alone, of the command's loop and of all of it; tokens; the last run's profile."""
    noted: Noted = []
    with noting(noted):
        facts = own.run(inputs, workload, spec, inputs.folder / "run")
    model = load(describe(spec), sorted({point for _, points in noted for point in points}))
    seconds: dict[str, list[float]] = {"alone": [], "loop": [], "whole": []}
    for _ in range(rounds):
        start = time.perf_counter()
        alone(model, noted)
        seconds["alone"].append(time.perf_counter() - start)
        start = time.perf_counter()
        facts = own.run(inputs, workload, spec, inputs.folder / "run")
        seconds["whole"].append(time.perf_counter() - start)
        seconds["loop"].append(seconds["whole"][-1] - facts["seconds"].get("finish", 0.0))
    least = {name: min(each) for name, each in seconds.items()}
    return {**least, "tokens": facts["counts"]["tokens"], "profile": facts["seconds"]}


def main() -> None:
    """Measure and print a Markdown table, and where the time of each command went."""
    parser = report.parser(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a small model and few texts, to try it")
    parser.add_argument("--only", choices=list(WORKLOADS), action="append")
    parser.add_argument("--texts", type=float, default=1.0, help="so many times as many texts")
    options = parser.parse_args()
    disable_progress_bar()
    size = SMALL if options.small else FULL
    counts = {name: round(getattr(size, name) * options.texts) for name in WORKLOADS}
    lines = [
        "| work | forward alone, tokens/s | actkit, tokens/s | share | whole | time went |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        inputs, spec = make(Path(folder), size if options.texts == 1 else replace(size, **counts), options.device)
        for workload in options.only or WORKLOADS:
            found = measure(inputs, workload, spec, options.rounds)
            rates = " | ".join(f"{found['tokens'] / found[part]:,.0f}" for part in ("alone", "loop"))
            shares = " | ".join(f"{found['alone'] / found[part]:.2f}" for part in ("loop", "whole"))
            went = ", ".join(f"{part} {seconds:.2f}" for part, seconds in found["profile"].items())
            lines.append(f"| {WORKLOADS[workload]} | {rates} | {shares} | {went} |")
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    text = f"{device}; {machine()}\n\n" + "\n".join(lines) + "\n"
    report.show(text, options.out)


if __name__ == "__main__":
    main()
