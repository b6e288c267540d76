"""The model card: a plain template, every number of it measured by evaluate.py on the stored weights."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bundled_recipe.language_scores import SAMPLE_SEED, SAMPLE_TOKENS, TEMPERATURE, Baselines, Loss, Sample
from tests.bundled_recipe.sae_scores import Fidelity, Splice

BOOKS_LOSS_TARGET = 3.7
L0_TARGET = 20.0
EXPLAINED_VARIANCE_TARGET = 0.90
DEAD_TARGET = 0.05
MEGABYTES_TARGET = 15.0


@dataclass(frozen=True)
class SaeResult:
    """One SAE: its shape and training, its fidelity on held-out and trained-on windows, and its splice."""

    hook_point: str
    d_sae: int
    k: float
    training_tokens: int
    held_out: Fidelity
    trained_on: Fidelity
    splice: Splice

    @property
    def dead(self) -> float:
        """The fraction of features that never fired on the trained-on windows."""
        return 1 - self.trained_on.fired.float().mean().item()


@dataclass(frozen=True)
class Results:
    """Everything that the card reports; `losses` by kind of held-out document, with books among them."""

    parameters: int
    training_tokens: int
    documents: dict[str, tuple[int, int]]
    losses: dict[str, Loss]
    bits_per_byte: float
    baselines: Baselines
    samples: list[Sample]
    saes: list[SaeResult]
    splice_tokens: int
    sae_lens_version: str


def card(results: Results, files: Sequence[tuple[str, Path]]) -> str:
    """MODEL_CARD.md, for `files` as (name to print, path)."""
    template = Path(__file__).with_name("card_template.md").read_text(encoding="utf-8")
    weights = sum(path.stat().st_size for _, path in files if path.suffix == ".safetensors") / 1e6
    measures = _measures(results, weights)
    first = results.saes[0]
    return template.format(
        parameters=f"{results.parameters:,}",
        training_tokens=f"{results.training_tokens:,}",
        documents=_table(
            ("documents", "trained on", "held out"),
            [(kind, f"{train:,}", f"{held:,}") for kind, (train, held) in results.documents.items()],
        ),
        results=_table(("measure", "value", "target", "verdict"), measures),
        missed=_missed(measures),
        losses=_table(
            ("held-out text", "predicted tokens", "loss (nats per token)"),
            [(kind, f"{loss.tokens:,}", f"{loss.nats:.3f}") for kind, loss in results.losses.items()],
        ),
        strength=results.baselines.strength,
        temperature=TEMPERATURE,
        sample_seed=SAMPLE_SEED,
        sample_tokens=SAMPLE_TOKENS,
        samples="\n\n".join(_sample(sample) for sample in results.samples),
        saes=_saes(results.saes),
        splices=_splices(results.saes),
        held_out_tokens=f"{first.held_out.tokens:,}",
        trained_on_tokens=f"{first.trained_on.tokens:,}",
        splice_tokens=f"{results.splice_tokens:,}",
        sae_lens_version=results.sae_lens_version,
        files=_table(
            ("file", "bytes", "SHA-256, first 16 digits"),
            [(f"`{name}`", f"{path.stat().st_size:,}", f"`{_digest(path)}`") for name, path in files],
        ),
        weights=f"{weights:.1f}",
    )


def _measures(results: Results, weights: float) -> list[tuple[str, str, str, str]]:
    books = results.losses["books"].nats
    rows = [
        ("loss on held-out books, nats per token", f"{books:.3f}", *_judge(books, BOOKS_LOSS_TARGET, "<=", ".3f")),
        ("the same in bits per byte", f"{results.bits_per_byte:.3f}", "", ""),
        ("for scale: unigram, nats per token", f"{results.baselines.unigram:.3f}", "", ""),
        ("for scale: bigram, nats per token", f"{results.baselines.bigram:.3f}", "", ""),
    ]
    for sae in results.saes:
        at = f"SAE at `{sae.hook_point}`: "
        l0, explained = sae.held_out.l0, sae.held_out.explained_variance
        rows += [
            (at + "L0", f"{l0:.1f}", *_judge(l0, L0_TARGET, "<=", ".1f")),
            (at + "explained variance", f"{explained:.3f}", *_judge(explained, EXPLAINED_VARIANCE_TARGET, ">=", ".3f")),
            (at + "dead features", f"{sae.dead:.2%}", *_judge(sae.dead, DEAD_TARGET, "<", ".2%")),
        ]
    rows.append(("all weights together, MB", f"{weights:.1f}", *_judge(weights, MEGABYTES_TARGET, "<=", ".1f")))
    return rows


def _missed(measures: list[tuple[str, str, str, str]]) -> str:
    missed = [f"{measure} ({verdict})" for measure, _, _, verdict in measures if verdict.startswith("missed")]
    return f"Short of its target: {'; '.join(missed)}." if missed else "Every target is met."


def _judge(value: float, target: float, relation: str, style: str) -> tuple[str, str]:
    """Say what the target is, and whether `value` meets it or by how much not."""
    met = {"<=": value <= target, "<": value < target, ">=": value >= target}[relation]
    return f"{relation} {target:{style}}", "met" if met else f"missed by {abs(value - target):{style}}"


def _saes(saes: list[SaeResult]) -> str:
    header = ("hook point", "d_sae", "k in training", "training tokens", "L0", "explained variance", "dead features")
    rows = [
        (
            f"`{sae.hook_point}`",
            f"{sae.d_sae:,}",
            f"{sae.k:g}",
            f"{sae.training_tokens:,}",
            f"{sae.held_out.l0:.1f}",
            f"{sae.held_out.explained_variance:.3f}",
            f"{int((~sae.trained_on.fired).sum()):,} ({sae.dead:.2%})",
        )
        for sae in saes
    ]
    return _table(header, rows)


def _splices(saes: list[SaeResult]) -> str:
    header = ("replaced hook point", "as it is", "reconstruction in place", "change", "mean in place", "change")
    rows = []
    for sae in saes:
        found = sae.splice
        spliced, ablated = found.spliced - found.clean, found.ablated - found.clean
        losses = (
            f"{found.clean:.3f}",
            f"{found.spliced:.3f}",
            f"{spliced:+.3f}",
            f"{found.ablated:.3f}",
            f"{ablated:+.3f}",
        )
        rows.append((f"`{sae.hook_point}`", *losses))
    return _table(header, rows)


def _sample(sample: Sample) -> str:
    # A fence longer than any that the model could plausibly write.
    return f"**{sample.title}.**\n\n~~~~~~text\n{sample.prompt}⟶{sample.continuation}\n~~~~~~"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
