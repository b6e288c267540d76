"""How long actkit takes for four kinds of work, beside a hand-tuned script and the usual ways.

    python -m tests.benchmarks [--small] [--rounds 3] [--out TABLE.md]

1. A random GPT-2 small, an SAE for it and inputs are made from a seed, in a temporary directory.
2. For each workload the ways take turns, `--rounds` times: actkit's own command (tables written), the hand-tuned
   reference (`reference.py`) as it is and with actkit's kernels, TransformerLens's `run_with_cache` one text at a time,
   and Hugging Face batches with `output_hidden_states`. The model is in memory for all, and the others get token ids.
3. Ratios to the reference are printed, of the least time of each (what else a machine does only ever adds), with
   tokens a second and how far actkit's numbers are from the reference's. actkit's `work` leaves out reading, tokenizing
   and the tables computed at the end; `whole` does not.
4. With `--memory`, actkit and the reference are run once more, each in a process of its own, for the most memory held.
"""

import argparse
import datetime
import importlib.metadata
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from actkit.backends import describe, sae_lens, transformer_lens
from actkit.backends.kernels import fast_modules, fast_products
from actkit.config import ModelSpec, SaeSpec
from tests.benchmarks import own, reference, ways, workloads

WORKLOADS = {
    "documents": "documents of 20-800 tokens, SAE in the middle, top-50 a token",
    "pairs": "preference pairs, all layers, all tokens",
    "answers": "SAE top-50 at the last prompt token of prompt + response",
    "contrasts": "contrast pairs, last token, 45-85 % of depth",
}
WORK, WHOLE, TUNED = "actkit, work", "actkit, whole run", "hand-tuned"
SAME_KERNELS = "hand-tuned, actkit's kernels"


def measure(inputs: workloads.Inputs, workload: str, rounds: int, usual: bool) -> tuple[dict[str, float], str, int]:
    """Least seconds of each way; how actkit's numbers agree; tokens of the workload."""
    size = inputs.size
    layers = workloads.layers_read(workload, size)
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    tuned = reference.base_model(inputs, max(layers) + 1)
    whole = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    spec = ModelSpec("gpt2-random", device="cpu", loaded=(whole, tokenizer))
    of_reference = getattr(reference, workload)
    last = layers if workload == "contrasts" else sae
    kept: dict[str, Any] = {}
    out = inputs.folder / "run"

    def tuned_way() -> None:
        kept["expected"] = of_reference(inputs, tuned, last)

    def same_kernels() -> None:
        with fast_modules(tuned), fast_products():
            of_reference(inputs, tuned, last)

    def actkit_way() -> None:
        kept["facts"] = own.run(inputs, workload, spec, out)

    timed: dict[str, Callable[[], object]] = {TUNED: tuned_way, WHOLE: actkit_way, SAME_KERNELS: same_kernels}
    if usual:
        bridge = transformer_lens.load(describe(ModelSpec(str(inputs.model), device="cpu"))).bridge
        timed["Hugging Face, `output_hidden_states`, 16 a batch"] = lambda: ways.batched(
            whole, inputs, workload, layers, sae
        )
        timed["`run_with_cache`, one at a time"] = lambda: ways.one_at_a_time(bridge, inputs, workload, layers, sae)
    seconds: dict[str, list[float]] = {WORK: [], **{name: [] for name in timed}}
    with torch.inference_mode():
        for _ in range(rounds):
            for name, way in timed.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
            seconds[WORK].append(own.work_seconds(kept["facts"]))
    error, same = own.difference(inputs, workload, out, kept["expected"])
    agrees = f"{error:.0e}" + (f", {same:.2%} of features" if workload in ("documents", "answers") else "")
    tokens = sum(map(len, ways.texts_of(inputs, workload)))
    return {name: min(one) for name, one in seconds.items()}, agrees, tokens


def table(measured: dict[str, tuple[dict[str, float], str, int]]) -> str:
    """The Markdown table: a row a workload, ratios to the reference."""
    names = list(next(iter(measured.values()))[0])
    names.remove(TUNED)
    lines = [
        f"| work | {' | '.join(names)} | hand-tuned | tokens/s, actkit's work | numbers differ by at most |",
        f"|---|{'---|' * (len(names) + 3)}",
    ]
    for workload, (seconds, agrees, tokens) in measured.items():
        ratios = " | ".join(f"{seconds[name] / seconds[TUNED]:.2f}" for name in names)
        lines.append(f"| {WORKLOADS[workload]} | {ratios} | 1 | {tokens / seconds[WORK]:,.0f} | {agrees} |")
    return "\n".join(lines) + "\n"


def memory_table(folder: Path, names: Sequence[str]) -> str:
    """The most memory that actkit and the reference hold, each in a process of its own."""
    lines = ["| work | actkit, MB | hand-tuned, MB |", "|---|---|---|"]
    for one in names:
        held = [
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.once", str(folder), one, way],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()[-1]
            for way in ("actkit", "tuned")
        ]
        lines.append(f"| {WORKLOADS[one]} | {' | '.join(held)} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor, threads, torch and the day."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:  # no Linux
        pass
    version = importlib.metadata.version("actkit")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, actkit {version}, {today}"


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a model of 4 layers and few texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(WORKLOADS), action="append")
    parser.add_argument("--limit-only", action="store_true", help="leave the usual ways out")
    parser.add_argument("--memory", action="store_true", help="measure memory too")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    disable_progress_bar()
    size = workloads.SMALL if options.small else workloads.FULL
    names = options.only or list(WORKLOADS)
    with tempfile.TemporaryDirectory() as folder:
        inputs = workloads.make(Path(folder), size)
        measured = {}
        for one in names:
            measured[one] = measure(inputs, one, options.rounds, not options.limit_only)
            print(f"{one}: {measured[one][0]}", file=sys.stderr, flush=True)
        text = f"{machine()}\n\n{table(measured)}"
        if options.memory:
            text += "\n" + memory_table(Path(folder), names)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
