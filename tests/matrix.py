"""Which architectures actkit reads, and how, on small random models: the table in `actkit/docs/models.md`.

    python -m tests.matrix [--write actkit/docs/models.md]

Each row is a model saved to disk and run by actkit's own commands: every layer's `hook_resid_post` against
`output_hidden_states` of the plain Hugging Face model, one text at a time.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import actkit
from actkit.backends import describe, transformer_lens, transformer_lens_models
from actkit.backends.hooked import TREE_MODELS
from actkit.backends.partial_load import LAYERS_STAND_ALONE
from actkit.backends.transformer_lens import block_sites
from actkit.errors import ModelError
from tests.conftest import ARCHITECTURES, GROUPED, IDS, SMALL, relative_error, save_random_model, small_tokenizer

EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "gptj": ("GPTJ", {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "rotary_dim": 4, **IDS}),
    "falcon": ("Falcon", {**SMALL, "new_decoder_architecture": False, **IDS}),
    "falcon_alibi": ("Falcon", {**SMALL, "alibi": True, "multi_query": False, "parallel_attn": False, **IDS}),
    "llama3": (
        "Llama",
        {
            **GROUPED,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            **IDS,
        },
    ),
    "mixtral": ("Mixtral", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8, **IDS}),
    "qwen3_moe": ("Qwen3Moe", {**GROUPED, "head_dim": 8, "num_experts": 4, **EXPERTS, **IDS}),
    "gpt_oss": (
        "GptOss",
        {**GROUPED, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8, **IDS},
    ),
    "deepseek_v2": (
        "DeepseekV2",
        {**GROUPED, **LATENT, "n_routed_experts": 4, "first_k_dense_replace": 1, **EXPERTS, "n_group": 1, **IDS},
    ),
    "deepseek_v3": (
        "DeepseekV3",
        {
            **GROUPED,
            **LATENT,
            "n_routed_experts": 4,
            "first_k_dense_replace": 1,
            **EXPERTS,
            "n_group": 2,
            "topk_group": 1,
            **IDS,
        },
    ),
}
NAMES = {
    "gpt2": "GPT-2",
    "gptj": "GPT-J",
    "gpt_neox": "GPT-NeoX, Pythia",
    "gpt_neox_sequential": "GPT-NeoX, not parallel",
    "opt": "OPT",
    "bloom": "BLOOM",
    "falcon": "Falcon",
    "falcon_alibi": "Falcon, ALiBi",
    "llama": "Llama",
    "llama3": "Llama 3",
    "mistral": "Mistral",
    "mixtral": "Mixtral",
    "qwen2": "Qwen 2",
    "qwen3": "Qwen 3",
    "qwen3_moe": "Qwen 3 MoE",
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3, text",
    "phi": "Phi",
    "phi3": "Phi-3",
    "olmo2": "OLMo 2",
    "stablelm": "StableLM",
    "granite": "Granite",
    "smollm3": "SmolLM3",
    "gpt_oss": "gpt-oss",
    "deepseek_v2": "DeepSeek V2",
    "deepseek_v3": "DeepSeek V3",
}
"""Architectures in the order of the table; two have no row of their own in `ARCHITECTURES`."""
TEXTS = ("a", "Sixteen letters!", "The quick brown fox jumps over the lazy dog, twice.", "0123456789" * 6)
"""Shorter and longer than the sliding windows of 8 tokens (a token a byte)."""
CLOSE = 1e-5
HEADER = (
    "| architecture | native hook points | by the bridge | = Hugging Face | = alone, padded or batched | layers above "
    "are | shared beginnings | TransformerLens's bridge |\n|---|---|---|---|---|---|---|---|"
)
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"


@dataclass(frozen=True)
class Row:
    """What was found of one architecture."""

    name: str
    native: int
    bridged: int
    equals_plain: float
    """Largest difference to the plain model, over the largest number."""
    equals_alone: float
    """Largest difference between many texts a batch and one."""
    not_loaded: bool
    """Whether blocks above the last one that is read are left out; and then the numbers are the same."""
    stops_early: float
    """Largest difference between reading the first two of three blocks and reading all."""
    is_tree: bool
    pairs: float
    """Largest difference between pairs with a shared beginning and each conversation alone."""
    bridge: float | None
    """Largest difference between the bridge and the plain model; None where it is refused since it differs."""

    def __str__(self) -> str:
        yes = {True: "yes", False: "**no**"}
        above = "not loaded" if self.not_loaded else "not run"
        bridge = "differs: refused" if self.bridge is None else "equal" if self.bridge < CLOSE else "**wrong**"
        cells = [
            NAMES[self.name],
            str(self.native),
            str(self.bridged),
            yes[self.equals_plain < CLOSE],
            yes[self.equals_alone < CLOSE],
            above if self.stops_early < CLOSE else "**wrong**",
            ("run once" if self.is_tree else "run each time") if self.pairs < CLOSE else "**wrong**",
            bridge,
        ]
        return f"| {' | '.join(cells)} |"


def save(name: str, path: Path) -> None:
    """A random model of the architecture in Hugging Face layout."""
    save_random_model(*{**ARCHITECTURES, **MORE}[name], path)


def examine(name: str, folder: Path) -> Row:
    """Run one architecture through `capture` and `dpo`, and hold it against the plain model and the bridge."""
    directory = folder / name
    save(name, directory)
    spec = actkit.ModelSpec(str(directory), device="cpu")
    description = describe(spec)
    native = block_sites(description.config, description.architecture)
    has = set(transformer_lens.hook_names(description))
    plain = _plain(directory, TEXTS)
    run = _captured(spec, folder / f"{name}-all", "all", 4096)
    alone = _captured(spec, folder / f"{name}-alone", "all", 1)
    first = _captured(spec, folder / f"{name}-first", "0-1", 4096)
    model_type = description.config.model_type
    return Row(
        name,
        len(native),
        len(has - set(native)),
        _worst(run, plain),
        _worst(run, alone),
        model_type in LAYERS_STAND_ALONE,
        max(relative_error(mine, other[:2]) for mine, other in zip(first, run, strict=True)),
        model_type in TREE_MODELS,
        _pairs(spec, directory, folder / f"{name}-pairs"),
        _bridge(directory, spec, plain),
    )


def _worst(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    return max(relative_error(mine, other) for mine, other in zip(found, expected, strict=True))


def _plain(directory: Path, texts: Sequence[str]) -> list[torch.Tensor]:
    """[layer, n_tokens, d_model] of each text, run alone; of the last layer what comes before the final norm."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = small_tokenizer()
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == 3)
    last: list[torch.Tensor] = []
    blocks[-1].register_forward_hook(lambda _m, _a, out: last.append(out[0] if isinstance(out, tuple) else out))
    found = []
    with torch.inference_mode():
        for text in texts:
            states = model(torch.tensor([tokenizer(text)["input_ids"]]), output_hidden_states=True).hidden_states
            found.append(torch.stack([*(state[0] for state in states[1:-1]), last.pop().reshape(states[0][0].shape)]))
    return found


def _captured(spec: actkit.ModelSpec, out: Path, layers: str, batch_tokens: int) -> list[torch.Tensor]:
    """[layer, n_tokens, d_model] of each text, as `actkit capture` stores it."""
    batch = actkit.BatchSpec(batch_tokens=batch_tokens)
    dense = actkit.DenseSpec(spec, actkit.OutputSpec(out), layers=layers, batch=batch)
    run = actkit.open_run(actkit.run_capture(actkit.CaptureSpec(prompts=TEXTS), dense).path)
    return _by_sequence(run, range(len(TEXTS)))


def _by_sequence(run: actkit.Run, sequences: Sequence[int]) -> list[torch.Tensor]:
    found = []
    for number in sequences:
        layers = []
        for point in run.hook_points:
            of = (run.positions(point)["sequence_id"] == number).to_numpy()
            layers.append(torch.tensor(run.activations(point)[of]))
        found.append(torch.stack(layers))
    return found


def _pairs(spec: actkit.ModelSpec, directory: Path, out: Path) -> float:
    """Two pairs, whose beginnings are shared within and between them, against each conversation alone."""
    shared = "What is the capital of France? "
    rows = [
        {"prompt": shared, "chosen": "It is Paris, of course.", "rejected": "It is Lyon, I think."},
        {"prompt": f"{shared}Say why. ", "chosen": "Paris.", "rejected": "Rome."},
    ]
    path = out.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dense = actkit.DenseSpec(spec, actkit.OutputSpec(out), layers="all")
    run = actkit.open_run(actkit.run_dpo(actkit.DpoSpec(str(path), chat=False), dense).path)
    sequences = run.to_pandas("sequences")
    worst = 0.0
    for row in sequences[sequences["parent_id"].notna()].itertuples():
        (plain,) = _plain(directory, [row.text.removeprefix("<bos>")])
        parent, own = _by_sequence(run, [int(row.parent_id), row.sequence_id])
        worst = max(worst, relative_error(torch.cat([parent[:, : row.start], own], 1), plain))
    return worst


def _bridge(directory: Path, spec: actkit.ModelSpec, plain: Sequence[torch.Tensor]) -> float | None:
    """How far TransformerLens's own numbers are from the plain model's; None where actkit refuses it."""
    tokenizer = small_tokenizer()
    try:
        bridge = transformer_lens_models.load(describe(spec)).bridge
    except ModelError as error:
        assert "otherwise than Hugging Face" in error.message
        return None
    found = []
    for text in TEXTS:
        _, cache = bridge.run_with_cache(torch.tensor([tokenizer(text)["input_ids"]]))
        found.append(torch.stack([cache[f"blocks.{layer}.hook_resid_post"][0] for layer in range(3)]))
    return _worst(found, plain)


def markdown(names: Sequence[str] = tuple(NAMES), on_row: Callable[[Row], None] = lambda _row: None) -> str:
    """The table of these architectures."""
    lines = [HEADER]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            row = examine(name, Path(folder))
            on_row(row)
            lines.append(str(row))
    return "\n".join(lines) + "\n"


def between(text: str) -> str:
    """The table that a page has between its markers."""
    return text.partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Print the table, or put it into a file between its markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", nargs="*", default=list(NAMES))
    options = parser.parse_args()
    table = markdown(options.only, on_row=lambda row: sys.stderr.write(f"{row!r}\n"))
    sys.stdout.write(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        options.write.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
