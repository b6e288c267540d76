r"""Measure the stored model and SAEs, and write the model card and the attribution.

    python -m tests.bundled_recipe.evaluate --data DATA --model actkit/bundled/tiny --saes actkit/bundled/saes \
        --card actkit/bundled/MODEL_CARD.md --attribution actkit/bundled/ATTRIBUTION.md

1. Loss on the held-out documents of each kind, and count models on the same book tokens (language_scores.py).
2. L0 and explained variance on held-out windows, dead features on windows trained on (sae_scores.py).
3. The model's loss with each reconstruction, and each mean, in place of the residual stream.
4. Everything into the template (card.py, card_template.md). No result is typed by hand.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from tests.bundled_recipe import language_scores, sae_scores
from tests.bundled_recipe.card import Results, SaeResult, card
from tests.bundled_recipe.corpus import attribution, load_corpus
from tests.bundled_recipe.model import TRAINING_TOKENS, windows
from tests.bundled_recipe.residual import LAYERS, hook_point, load
from tests.bundled_recipe.tokenizer import CONTEXT

KINDS = {"book": "books", "story": "stories", "chat": "chats", "comment": "comments"}
BOOK_WINDOWS = 300
"""Held-out book windows for an SAE's fidelity and splice; the loss uses all of them."""

ATTRIBUTION_HEADING = """# Attribution

The bundled model `tiny` was trained on, among other texts, these stories of African Storybook, each under CC-BY
(the source names no version), taken from github.com/global-asp/asp-source at commit
99e022369a980bd52bce8c6f86d5f24e9a4ada9d. For training, page marks and the licence page were removed and lines joined;
one story in twenty was held out for evaluation instead. No story is contained in this package.

"""


def sae_results(
    model: LlamaForCausalLM, folder: Path, rows: dict[str, np.ndarray], live_tokens: int
) -> list[SaeResult]:
    """Every SAE below `folder` on the windows `rows` of held-out books and chats and of all trained-on documents."""
    saes = sae_scores.load_saes(folder)
    books = rows["book"][:BOOK_WINDOWS]
    held_out = sae_scores.fidelity(model, saes, np.concatenate([books, rows["chat"]]))
    # BOS positions are not counted, hence a few windows more than the quotient.
    trained_on = sae_scores.fidelity(model, saes, rows["train"][: live_tokens // CONTEXT + live_tokens // 20_000])
    clean = language_scores.loss(model, books).nats
    found = []
    for layer in LAYERS:
        name = hook_point(layer)
        found.append(
            SaeResult(
                hook_point=name,
                d_sae=saes[name].cfg.d_sae,
                k=saes[name].cfg.metadata["training_architecture_details"]["k"],
                training_tokens=saes[name].cfg.metadata["training_tokens"],
                held_out=held_out[name],
                trained_on=trained_on[name],
                splice=sae_scores.splice(model, saes[name], layer, trained_on[name].mean, books, clean),
            )
        )
        print(f"{name}: L0 {held_out[name].l0:.2f}, {found[-1].splice}", flush=True)
    return found


def measure(data: Path, model_folder: Path, sae_folder: Path, live_tokens: int) -> Results:
    """Everything that the card reports."""
    model, tokenizer = load(model_folder)
    train, held_out = load_corpus(data)
    # Held-out documents are laid out once: a second copy in the same window would be predicted by copying.
    rows = {kind: windows([doc for doc in held_out if doc.kind == kind], tokenizer, 0, seen_twice=()) for kind in KINDS}
    rows["train"] = windows(train, tokenizer, 0)
    losses = {plural: language_scores.loss(model, rows[kind]) for kind, plural in KINDS.items()}
    print({kind: round(loss.nats, 4) for kind, loss in losses.items()}, flush=True)
    saes = sae_results(model, sae_folder, rows, live_tokens)
    counts = Counter(doc.kind for doc in train), Counter(doc.kind for doc in held_out)
    return Results(
        parameters=sum(weight.numel() for weight in model.parameters()),
        training_tokens=TRAINING_TOKENS,
        documents={plural: (counts[0][kind], counts[1][kind]) for kind, plural in KINDS.items()},
        losses=losses,
        bits_per_byte=language_scores.bits_per_byte(losses["books"], rows["book"], tokenizer),
        baselines=language_scores.baselines(rows["train"], rows["book"], len(tokenizer)),
        samples=language_scores.samples(model, tokenizer),
        saes=saes,
        splice_tokens=len(rows["book"][:BOOK_WINDOWS]) * CONTEXT,
        sae_lens_version=str(sae_scores.load_saes(sae_folder)[hook_point(LAYERS[0])].cfg.metadata["sae_lens_version"]),
    )


def main() -> None:
    """Measure, then write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, feedback/ and pref/")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--saes", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--attribution", type=Path, required=True)
    parser.add_argument("--live-tokens", type=int, default=1_000_000, help="tokens on which a live feature must fire")
    options = parser.parse_args()
    torch.manual_seed(0)
    results = measure(options.data, options.model, options.saes, options.live_tokens)
    stored = [("tiny", options.model), ("saes", options.saes)]
    files = [
        (f"{name}/{path.relative_to(folder).as_posix()}", path)
        for name, folder in stored
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    options.card.write_text(card(results, files), encoding="utf-8")
    options.attribution.write_text(ATTRIBUTION_HEADING + attribution(options.data), encoding="utf-8")


if __name__ == "__main__":
    main()
