"""The benchmark in a second size: a Llama of 30 layers, documents of 2,000 tokens, wide SAEs, and three in one pass.

    python -m tests.benchmarks --longer [--model DIR] [--rounds 3] [--out TABLE.md]

The model has the shape of SmolLM2-135M and random weights from a seed, or is the one in DIR, or in `ACTKIT_REAL_MODEL`.
Its SAEs are random. The hand-tuned script runs the blocks that are needed, and encodes in chunks of tokens, as it must:
an encoding of 4,000 tokens by an SAE 131k wide takes 2 GB.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import actkit
from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.saes import sae_lens
from actkit.bundled import TINY
from actkit.config import SaeDtype
from tests.benchmarks import agreement, own, roofline
from tests.benchmarks.measure import SAME_KERNELS, TUNED, WHOLE, WORK, Measured, clocked, turns
from tests.benchmarks.reference import TOP_K
from tests.benchmarks.workloads import texts, write_documents, write_sae

IN_BFLOAT16 = "actkit, work, `--sae-dtype bfloat16`"
CONTEXT = 2048
"""Tokens that the model and its SAEs read at once: a document is run in one piece."""
CHUNK = 1 << 25
"""Tokens × features that the script encodes at once."""


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_mlp: int
    widths: tuple[int, int]
    """Features of the wide SAEs and of the widest."""
    documents: int
    tokens: int
    """In a document, about."""

    @property
    def block_weights(self) -> int:
        """Numbers that a block multiplies a token's vector with."""
        heads = 2 * self.d_model**2 * (1 + self.n_kv_heads / self.n_heads)
        return int(heads) + 3 * self.d_model * self.d_mlp


FULL = Size(30, 576, 9, 3, 1536, (65536, 131072), documents=2, tokens=2000)
WORKS = {
    "long": "2 documents of 2,000 tokens, Llama of 135 M, SAE 65k wide in the middle, top-50 a token",
    "wide": "the same with an SAE 131k wide",
    "three": "the same with three SAEs 65k wide, in one pass",
}


@dataclass(frozen=True)
class Inputs:
    """What is measured: a model, SAEs by work, and the documents as token ids."""

    folder: Path
    model: Path
    size: Size
    documents: list[list[int]]

    def saes(self, work: str) -> list[Path]:
        """The SAEs that a work reads."""
        names = {"long": ["long-1"], "wide": ["wide"], "three": ["long-0", "long-1", "long-2"]}
        return [self.folder / name for name in names[work]]

    def layer(self, sae: Path) -> int:
        """The layer whose output an SAE reads: a quarter, half and three quarters of the way."""
        quarters = {"long-0": 1, "long-1": 2, "long-2": 3, "wide": 2}
        return self.size.n_layers * quarters[sae.name] // 4 - 1


def make(folder: Path, size: Size = FULL, model: Path | None = None, works: Sequence[str] = tuple(WORKS)) -> Inputs:
    """Write a model of this size, unless one is given, the SAEs of these works and documents into `folder`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    if model is None:
        model = folder / "model"
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(str(TINY))
        tokenizer.chat_template, tokenizer.model_max_length = None, CONTEXT
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.d_model,
            intermediate_size=size.d_mlp,
            num_hidden_layers=size.n_layers,
            num_attention_heads=size.n_heads,
            num_key_value_heads=size.n_kv_heads,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        AutoModelForCausalLM.from_config(config).save_pretrained(model)
        tokenizer.save_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = texts(tokenizer)
    documents = [_cut(tokenizer, text(size.tokens), size.tokens) for _ in range(size.documents)]
    write_documents(folder, documents)
    # Wherever an SAE begins a text with BOS, so does this, if the tokenizer does not.
    ids = [list(tokenizer(document)["input_ids"]) for document in documents]
    if tokenizer.bos_token_id is not None:
        ids = [each if each[0] == tokenizer.bos_token_id else [tokenizer.bos_token_id, *each] for each in ids]
    inputs = Inputs(folder, model, size, ids)
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([ids[0][:300]]), output_hidden_states=True)
    for path in {path for work in works for path in inputs.saes(work)}:
        layer = inputs.layer(path)
        write_sae(path, found.hidden_states[layer + 1][0, 1:], layer, size.widths[path.name == "wide"], CONTEXT)
    return inputs


def _cut(tokenizer: Any, text: str, most: int) -> str:
    """The beginning of a text, of so many tokens at most, or nearly: more than that would be run in two pieces."""
    words = text.split()
    while (n := len(tokenizer(" ".join(words))["input_ids"])) > most:
        words = words[: len(words) * most // n - 1]
    return " ".join(words)


def script(inputs: Inputs, model: Any, saes: Sequence[Any], layers: Sequence[int]) -> list[dict[int, Any]]:
    """The hand-tuned script: of each SAE document → values and ids [n_tokens, 50]; `model` is cut to its blocks."""
    width = max(map(len, inputs.documents))
    ids = torch.zeros(len(inputs.documents), width, dtype=torch.long)
    for row, document in enumerate(inputs.documents):
        ids[row, : len(document)] = torch.tensor(document)
    kept: dict[int, torch.Tensor] = {}
    hooks = [
        model.layers[layer].register_forward_hook(lambda _, __, out, layer=layer: kept.__setitem__(layer, out))
        for layer in layers
    ]
    model(ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    lengths = [len(document) for document in inputs.documents]
    found = []
    for sae, layer in zip(saes, layers, strict=True):
        rows = torch.cat([kept[layer][row, :length] for row, length in enumerate(lengths)])
        chunks = [sae.encode(chunk).topk(TOP_K) for chunk in rows.split(max(CHUNK // sae.d_sae, 1))]
        values, names = (torch.cat([getattr(top, part) for top in chunks]) for part in ("values", "indices"))
        found.append(dict(enumerate(zip(values.split(lengths), names.split(lengths), strict=True))))
    return found


def run(inputs: Inputs, work: str, model: actkit.ModelSpec, out: Path, dtype: SaeDtype = "float32") -> dict[str, Any]:
    """Run actkit's own command for `work`; what run.json holds."""
    shutil.rmtree(out, ignore_errors=True)
    saes = [actkit.SaeSpec(path=str(path)) for path in inputs.saes(work)]
    sparse = actkit.SparseSpec(model, saes, actkit.OutputSpec(out), sae_dtype=dtype)
    spec = actkit.FeatureDatasetSpec(str(inputs.folder / "documents.jsonl"), top_k=TOP_K)
    return dict(actkit.run_feature_dataset(spec, sparse).facts)


def difference(inputs: Inputs, work: str, out: Path, expected: Sequence[dict[int, Any]]) -> tuple[float, float]:
    """How far stored features are from the script's: see `own.difference`; the worst of all SAEs."""
    rows, sequences = pd.read_parquet(out / "features"), pd.read_parquet(out / "sequences")
    apart = [
        own.features_apart(rows[rows["sae"] == path.name], sequences, "documents", wanted)
        for path, wanted in zip(inputs.saes(work), expected, strict=True)
    ]
    return max(error for error, _ in apart), min(same for _, same in apart)


def measure(inputs: Inputs, work: str, rounds: int) -> Measured:
    """Let the ways take turns, as `measure.measure` does."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    saes = [sae_lens.load(actkit.SaeSpec(path=str(path)), "cpu") for path in inputs.saes(work)]
    layers = [sae.hook_point.layer for sae in saes]
    cut = AutoModel.from_pretrained(inputs.model, attn_implementation="sdpa", dtype=torch.float32).eval()
    cut.layers, cut.norm = cut.layers[: max(layers) + 1], torch.nn.Identity()
    whole = AutoModelForCausalLM.from_pretrained(inputs.model, dtype=torch.float32).eval()
    spec = actkit.ModelSpec("llama", device="cpu", loaded=(whole, AutoTokenizer.from_pretrained(inputs.model)))
    kept: dict[str, Any] = {}
    runs: dict[str, list[dict[str, Any]]] = {"float32": [], "bfloat16": []}

    def tuned() -> None:
        kept["expected"] = script(inputs, cut, saes, layers)

    def same_kernels() -> None:
        with fast_modules(cut), fast_products():
            script(inputs, cut, saes, layers)

    def command(dtype: SaeDtype) -> None:
        runs[dtype].append(run(inputs, work, spec, inputs.folder / dtype, dtype))

    ways: dict[str, Callable[[], object]] = {
        TUNED: tuned,
        WHOLE: partial(command, "float32"),
        SAME_KERNELS: same_kernels,
        IN_BFLOAT16: partial(command, "bfloat16"),
    }
    with torch.inference_mode():
        seconds, failed = turns({name: partial(clocked, way) for name, way in ways.items()}, rounds, ())
    least = {dtype: min(map(own.work_seconds, each)) for dtype, each in runs.items()}
    agrees = {
        name: agreement.shown(*difference(inputs, work, inputs.folder / dtype, kept["expected"]))
        for name, dtype in (("actkit", "float32"), (IN_BFLOAT16, "bfloat16"))
    }
    shares = {WORK: least["float32"], **seconds, IN_BFLOAT16: least["bfloat16"]}
    return Measured(shares, agrees, sum(map(len, inputs.documents)), failed, runs["float32"])


def rates(facts: dict[str, Any], work: str, inputs: Inputs) -> tuple[float, float]:
    """GFLOP/s of a run's forward pass and of its SAEs: see `roofline`."""
    size = inputs.size
    n_blocks = max(map(inputs.layer, inputs.saes(work))) + 1
    return roofline.rates(facts, size.block_weights * n_blocks, size.d_model * size.widths[work == "wide"])
