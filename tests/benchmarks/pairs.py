"""How fast preference pairs become stored activations, beside two common ways to compute them.

    python -m tests.benchmarks.pairs [--model tiny] [--pairs 200] [--rounds 3]

1. Pairs are made from a seed: prompts of 120 words, answers of 20 to 90, out of the words of tests/data.
2. Three ways take turns: `run_with_cache` of TransformerLens's bridge, one conversation at a time; Hugging Face with
   `output_hidden_states` in padded batches; and actkit's own run, which also tokenizes and writes the tables.
3. The medians over the rounds are printed as ratios to actkit's, with tokens a second and how far the numbers agree.
   Tokens are those of the two conversations, so that every way is credited with the same work.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from actkit.backends import Description, Model, describe, load, transformer_lens
from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.reduce import activations
from actkit.recipes import dpo

WORDS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
BATCH = 16


def make_pairs(path: Path, count: int, description: Description) -> list[list[int]]:
    """Write `count` pairs to `path`; returns the token ids of both conversations of each, chosen first."""
    words = " ".join(json.loads(line)["chosen"] for line in WORDS.read_text(encoding="utf-8").splitlines()).split()
    draw = random.Random(0)
    conversations = []
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            prompt = " ".join(draw.choices(words, k=120))
            sides = [" ".join(draw.choices(words, k=draw.randint(20, 90))) for _ in range(2)]
            file.write(json.dumps({"instruction": prompt, "chosen": sides[0], "rejected": sides[1]}) + "\n")
            for side in sides:
                messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": side}]
                text = description.tokenizer.apply_chat_template(messages, tokenize=False)
                conversations.append(description.tokenizer(text, add_special_tokens=False)["input_ids"])
    return conversations


def one_at_a_time(bridge: Any, conversations: list[list[int]], names: list[str]) -> list[torch.Tensor]:
    """The way of the scripts that actkit replaces; returns each conversation's last layer."""
    found = []
    with torch.inference_mode():
        for ids in conversations:
            _, cache = bridge.run_with_cache(torch.tensor([ids]), names_filter=lambda name: name in names)
            found.append(cache[names[-1]][0])
    return found


def batched(model: Model, conversations: list[list[int]]) -> list[torch.Tensor]:
    """Hugging Face with all hidden states, padded batches in input order; returns the layer before last."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(conversations), BATCH):
            rows = conversations[start : start + BATCH]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
            hidden = model.module(ids, attention_mask=mask, output_hidden_states=True).hidden_states
            found.extend(hidden[-2][number, : len(row)] for number, row in enumerate(rows))
    return found


def own(model: Model, path: Path, points: Sequence[HookPoint], out: Path) -> Path:
    """actkit's run, from the file of pairs to the finished directory."""
    description = model.description
    reducer = activations(points, description.d_model, "float32")
    recipe = dpo.recipe(dpo.DpoSpec(str(path)), description.tokenizer, description.context_length, reducer)
    return extract(recipe, model, points, BatchSpec(), OutputSpec(out, overwrite=True), {}).path


def stored(run: Path, layer: int) -> list[torch.Tensor]:
    """Both conversations of each pair, put together from the tables."""
    table = pd.read_parquet(run / "activations", filters=[("layer", "==", layer)])
    by_sequence = {number: np.stack(list(rows)) for number, rows in table.groupby("sequence_id")["activation"]}
    found = []
    for _, pair in pd.read_parquet(run / "sequences").groupby("record_id"):
        of = pair.set_index("side")["sequence_id"]
        found += [
            torch.tensor(np.concatenate([by_sequence[of["shared"]], by_sequence[of[side]]]))
            for side in ("chosen", "rejected")
        ]
    return found


def agreement(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest difference over the largest magnitude."""
    differences = [float((one - other).abs().max()) for one, other in zip(found, expected, strict=True)]
    return max(differences) / max(float(one.abs().max()) for one in expected)


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    description = describe(ModelSpec(options.model, device="cpu"))
    points = [HookPoint(layer, "hook_resid_post") for layer in range(description.n_layers)]
    model, names = load(description, points), [str(point) for point in points]
    bridge = transformer_lens.load(description).bridge
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "pairs.jsonl", Path(folder) / "run"
        conversations = make_pairs(path, options.pairs, description)
        ways: dict[str, Callable[[], object]] = {
            "`run_with_cache`, one at a time": lambda: one_at_a_time(bridge, conversations, names),
            "Hugging Face, `output_hidden_states`, batches of 16": lambda: batched(model, conversations),
            "actkit, tables written": lambda: own(model, path, points, out),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
        last, before = stored(out, description.n_layers - 1), stored(out, description.n_layers - 2)
        agrees = {
            "`run_with_cache`, one at a time": agreement(last, one_at_a_time(bridge, conversations, names)),
            "Hugging Face, `output_hidden_states`, batches of 16": agreement(before, batched(model, conversations)),
        }
    tokens = sum(map(len, conversations))
    base = statistics.median(seconds["actkit, tables written"])
    print(f"{options.pairs} pairs, {tokens:,} tokens, {options.model}, float32, {torch.get_num_threads()} threads\n")
    print("| way | time, ratio to actkit | tokens/s | actkit's numbers differ by at most |")
    print("|---|---|---|---|")
    for name, spent in seconds.items():
        median = statistics.median(spent)
        differ = f"{agrees[name]:.1e}" if name in agrees else ""
        print(f"| {name} | {median / base:.2f} | {tokens / median:,.0f} | {differ} |")


if __name__ == "__main__":
    main()
