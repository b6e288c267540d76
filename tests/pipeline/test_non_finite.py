"""A NaN of one text is in all texts of its row: the error names the text, and the token, that it came from."""

from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit.backends import describe
from actkit.config import ModelSpec
from actkit.errors import NonFiniteError

FRUIT = "Name a fruit that you like very much today."
PAIRS = [
    {"prompt": FRUIT, "chosen": "A pear.", "rejected": "An onion."},
    {"prompt": FRUIT, "chosen": "A nice plum.", "rejected": "An egg."},
]
TEXTS = ["The fox is here now.", "A dog eats pears every day here.", "The fox is here now, and eats a plum with us."]


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def broken(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The bundled model, whose embedding of ` plum`'s last token is NaN."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = describe(ModelSpec(device="cpu")).location
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation=request.param)
    tokenizer = AutoTokenizer.from_pretrained(where)
    with torch.no_grad():
        last = tokenizer(" plum", add_special_tokens=False)["input_ids"][-1]
        model.get_input_embeddings().weight[last] = float("nan")
    return model, tokenizer


@pytest.mark.parametrize("positions", ["all", "last"])
def test_a_text_that_begins_as_another_is_named(broken: Any, tmp_path: Path, positions: str) -> None:
    at = len(broken[1](TEXTS[2].partition(" with")[0])["input_ids"]) - 1
    with pytest.raises(NonFiniteError, match=rf"--prompt:3: .*blocks\.1\.hook_resid_post, position {at}\n"):
        actkit.capture(TEXTS, model=broken, layers=1, positions=positions, out=tmp_path / "run")


def test_a_pair_that_shares_its_prompt_with_another_is_named(broken: Any, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"input\.jsonl:2: .*blocks\.1\.hook_resid_post, position 1\d\n"):
        actkit.dpo(PAIRS, model=broken, layers=1, out=tmp_path / "run")
