"""The four workloads: a random model and SAE, and inputs made from a seed, as files for actkit and as token ids."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from actkit.bundled import TINY
from actkit.hooks import parse_layers

WORDS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
SAE_FIRES = 60
"""Features that the SAE is biased to fire on a token."""


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    n_layers: int
    d_model: int
    n_heads: int
    d_sae: int
    documents: int
    pairs: int
    answers: int
    contrasts: int

    @property
    def sae_layer(self) -> int:
        """The layer whose output the SAE reads."""
        return self.n_layers // 2


FULL = Size(12, 768, 12, 16384, documents=14, pairs=10, answers=40, contrasts=30)
SMALL = Size(4, 192, 4, 4096, documents=24, pairs=20, answers=40, contrasts=40)


@dataclass(frozen=True)
class Inputs:
    """Everything on disk, and the same as token ids."""

    folder: Path
    size: Size
    documents: list[list[int]]
    pairs: list[tuple[list[int], list[int], list[int]]]
    """Prompt, and what each of the two sides adds to it."""
    answers: list[tuple[list[int], list[int]]]
    contrasts: list[list[int]]

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def sae(self) -> Path:
        return self.folder / "sae"


def layers_read(workload: str, size: Size) -> Sequence[int]:
    """The layers whose output a workload needs."""
    if workload == "pairs":
        return range(size.n_layers)
    return parse_layers("recommended", size.n_layers) if workload == "contrasts" else [size.sae_layer]


def make(folder: Path, size: Size) -> Inputs:
    """Write model, SAE and input files into `folder`."""
    tokenizer = _model(folder / "model", size)
    _sae(folder / "sae", folder / "model", size, tokenizer)
    write_inputs(folder, size, tokenizer)
    return read(folder)


def write_inputs(folder: Path, size: Size, tokenizer: Any) -> None:
    """Write the input files of the four workloads into `folder`."""
    text = texts(tokenizer)
    draw = random.Random(1)
    write_documents(folder, [text(draw.randint(20, 780)) for _ in range(size.documents)])
    pairs = [
        {
            "prompt": text(200),
            "chosen": " " + text(draw.randint(30, 150)),
            "rejected": " " + text(draw.randint(30, 150)),
        }
        for _ in range(size.pairs)
    ]
    answers = [
        {"prompt": text(draw.randint(20, 200)), "response": " " + text(draw.randint(30, 150))}
        for _ in range(size.answers)
    ]
    asked = [text(draw.randint(15, 80)) for _ in range(size.contrasts)]
    contrasts = [
        f"Pretend that you are {person} person and say: {question}"
        for question in asked
        for person in ("an honest", "a lying")
    ]
    (folder / "size.json").write_text(json.dumps(asdict(size)), encoding="utf-8")
    for name, rows in (("pairs", pairs), ("answers", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "contrasts.txt").write_text("\n".join(contrasts) + "\n", encoding="utf-8")


def write_documents(folder: Path, documents: Sequence[str]) -> None:
    """Write texts as the records of `documents.jsonl`."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents)
    (folder / "documents.jsonl").write_text(lines, encoding="utf-8")


def read(folder: Path) -> Inputs:
    """What `make` has written to `folder`."""
    from transformers import AutoTokenizer

    size = Size(**json.loads((folder / "size.json").read_text(encoding="utf-8")))
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    documents, pairs, answers = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("documents", "pairs", "answers")
    )
    contrasts = (folder / "contrasts.txt").read_text(encoding="utf-8").splitlines()

    def ids(string: str) -> list[int]:
        return list(tokenizer(string)["input_ids"])

    return Inputs(
        folder,
        size,
        [ids(row["text"]) for row in documents],
        [
            _pair(ids(row["prompt"]), *(ids(row["prompt"] + row[side]) for side in ("chosen", "rejected")))
            for row in pairs
        ],
        [(ids(row["prompt"]), ids(row["prompt"] + row["response"])) for row in answers],
        [ids(contrast) for contrast in contrasts],
    )


def _pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> tuple[list[int], list[int], list[int]]:
    assert chosen[: len(prompt)] == prompt == rejected[: len(prompt)]
    same = next(index for index, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    return chosen[:same], chosen[same:], rejected[same:]


def _model(path: Path, size: Size) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(TINY))
    tokenizer.chat_template = None
    config = GPT2Config(
        n_layer=size.n_layers,
        n_embd=size.d_model,
        n_head=size.n_heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return tokenizer


def _sae(path: Path, model: Path, size: Size, tokenizer: Any) -> None:
    """A random SAE for the model's middle layer."""
    from transformers import AutoModelForCausalLM

    ids = torch.randint(5, len(tokenizer), (4, 100), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = AutoModelForCausalLM.from_pretrained(model)(ids, output_hidden_states=True).hidden_states
    write_sae(path, states[size.sae_layer + 1].flatten(0, 1), size.sae_layer, size.d_sae)


def write_sae(path: Path, x: torch.Tensor, layer: int, d_sae: int, context: int = 1024) -> None:
    """A random SAE whose bias lets about `SAE_FIRES` features fire on vectors as `x` [n, d_model] has them."""
    from sae_lens import StandardSAE, StandardSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    about = SAEMetadata(
        hook_name=f"blocks.{layer}.hook_resid_post", model_name="gpt2", context_size=context, prepend_bos=True
    )
    sae = StandardSAE(StandardSAEConfig(d_in=x.shape[1], d_sae=d_sae, device="cpu", dtype="float32", metadata=about))
    with torch.no_grad():
        rows = torch.nn.functional.normalize(torch.randn(d_sae, x.shape[1]), dim=1)
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.T)
        pre = (x.float().cpu() @ rows.T).flatten()
        sae.b_enc.fill_(-float(pre[:1_000_000].quantile(1 - SAE_FIRES / d_sae)))
    sae.save_model(path)


def texts(tokenizer: Any) -> Callable[[int], str]:
    """A function that makes texts of about so many tokens."""
    rows = [json.loads(line) for line in WORDS.read_text(encoding="utf-8").splitlines()]
    words = [word for row in rows for word in row["chosen"].split() if word.isalpha()]
    draw = random.Random(0)
    per_word = len(tokenizer(" ".join(draw.choices(words, k=2000)))["input_ids"]) / 2000

    def text(tokens: int) -> str:
        return " ".join(draw.choices(words, k=max(int(tokens / per_word), 3)))

    return text
