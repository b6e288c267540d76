"""The recipe of the bundled model, from a corpus to the model card, at a size of seconds."""

import json
import random
import sys
from pathlib import Path

import pytest
import torch

from actkit.bundled import SAES, TINY
from tests.bundled_recipe import evaluate, model, saes
from tests.bundled_recipe.card import card
from tests.bundled_recipe.corpus import Document, attribution, load_corpus
from tests.bundled_recipe.residual import LAYERS, hook_point, load, replaced, residuals
from tests.bundled_recipe.tokenizer import CONTEXT, encode


def words(seed: int, count: int) -> str:
    """Made-up words: few repeat, so that the tokenizer keeps them long."""
    drawn = random.Random(seed)
    return " ".join("".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(count))


def story(number: int) -> str:
    return f"# Goat {number}\n##\n{words(100 + number, 300)}\n##\n* License: CC-BY\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty documents of each kind, so that each kind has a held-out one, laid out as the model card says."""
    root = tmp_path_factory.mktemp("data")
    texts = {
        **{f"text/classic_books/{n:02}.md": f"# Book\n\n*{words(n, 300)}*\n" for n in range(20)},
        **{f"text/african_storybook_en_ccby/{n:02}.md": story(n) for n in range(20)},
        "feedback/goemotions/train.tsv": "".join(f"{words(200 + n, 300)}\t0\tc{n}\n" for n in range(20)),
        "feedback/goemotions/dev.tsv": "",
        "pref/rasbt_preference_0000-0799.json": json.dumps(
            [{"instruction": "Say", "input": "", "chosen": words(300 + n, 300)} for n in range(20)]
        ),
        "pref/llamafactory_dpo_en_demo.json": "[]",
        "feedback/llamafactory_kto_en_demo.json": "[]",
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_one_document_in_twenty_of_each_kind_is_held_out_and_has_none_of_its_markup(data: Path) -> None:
    train, held_out = load_corpus(data)
    assert sorted(document.kind for document in held_out) == ["book", "chat", "comment", "story"]
    assert len(train) == 76
    assert not {document.name for document in train if document.kind == "book"} & {"19"}
    assert all("*" not in document.text and "License" not in document.text for document in train)
    assert attribution(data).splitlines()[3] == "- Goat 3. License: CC-BY"


def test_windows_begin_with_bos_and_hold_each_token_of_a_document_once() -> None:
    _, tokenizer = load(TINY)
    document = Document("book", "b", text=words(1, 1500))
    rows = model.windows([document], tokenizer, seed=0)
    assert rows.shape[1] == CONTEXT + 1
    assert (rows[:, 0] == tokenizer.bos_token_id).all()
    assert set(rows[:, 1:].ravel().tolist()) <= set(encode(tokenizer, document))


def test_residuals_are_what_each_block_gives_out_and_a_replaced_one_changes_the_next() -> None:
    loaded, _ = load(TINY)
    ids = torch.arange(20).reshape(2, 10)
    plain = residuals(loaded, ids)
    states = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
    assert torch.equal(plain[hook_point(LAYERS[0])], states[LAYERS[0] + 1])
    with replaced(loaded, LAYERS[0], torch.zeros_like):
        assert not torch.equal(residuals(loaded, ids)[hook_point(LAYERS[1])], plain[hook_point(LAYERS[1])])


def test_every_hook_point_has_the_shipped_sae_that_the_card_tells_of() -> None:
    assert sorted(path.name for path in SAES.iterdir() if path.is_dir()) == [hook_point(layer) for layer in LAYERS]
    shipped = SAES.parent.joinpath("MODEL_CARD.md").read_text(encoding="utf-8")
    assert shipped.count("tests.bundled_recipe") == 5
    assert callable(card)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_the_recipe_makes_a_model_saes_and_a_card(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of the model, four of the SAEs; the card's figures are of what was stored."""
    made, coded = tmp_path / "tiny", tmp_path / "saes"

    def run(script: object, *words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["recipe", "--data", str(data), *map(str, words)])
        script.main()  # type: ignore[attr-defined]

    run(model, "--out", made, "--tokens", 2 * 2 * CONTEXT, "--batch", 2)
    run(saes, "--model", made, "--out", coded, "--tokens", 1024, "--batch", 256, "--d-sae", 32, "--k", 4)
    paths = [tmp_path / name for name in ("card.md", "attribution.md")]
    run(
        evaluate, "--model", made, "--saes", coded, "--card", paths[0], "--attribution", paths[1], "--live-tokens", 2000
    )
    text = paths[0].read_text(encoding="utf-8")
    assert "| books | 19 | 1 |" in text
    assert "| `blocks.2.hook_resid_post` | 32 | 4 | 1,024 |" in text
    assert "| nan" not in text
    assert load(made)[0].config.num_hidden_layers == 4
