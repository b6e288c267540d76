"""A NaN of one text is in all texts of its row: the error names the text, and the token, that it came from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import actkit
from actkit.backends import describe
from actkit.config import ModelSpec
from actkit.errors import NonFiniteError
from actkit.pipeline.data import Encoding, TokenSequence
from actkit.pipeline.non_finite import holder_of

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


BAD = 77
"""A token id whose embedding is no number, in the tests below."""


def sequence(number: int, ids: list[int], keep: list[int]) -> TokenSequence:
    at = np.arange(len(ids))
    encoding = Encoding("x" * len(ids), np.array(ids), at, at + 1, at < 0, (None,) * len(ids))
    return TokenSequence(number, encoding, np.array(keep), None, number)


def alone(text: TokenSequence) -> NonFiniteError | None:
    """A model that gives no number at the first position that is kept, where the bad token is in what is run."""
    run = text.encoding.token_ids[: text.keep[-1] + 1].tolist()
    return NonFiniteError("bad", "", text.sequence_id, int(text.keep[0])) if BAD in run else None


@pytest.mark.parametrize("place", [0, 3, 8, 11])
@pytest.mark.parametrize("keep", [[11], list(range(12))])
def test_the_text_that_holds_it_is_told_and_the_first_token_from_which_on(place: int, keep: list[int]) -> None:
    whole = list(range(12))
    bad = [BAD if at == place else at for at in whole]
    shared = [*whole[: min(place, 8)], *bad[min(place, 8) :]]
    texts = [sequence(4, whole, keep), sequence(5, shared, keep)]
    named = 4 if place >= 8 else 5  # a text that begins otherwise shared no row with it
    found = holder_of(NonFiniteError("bad", "", named, keep[0]), texts, alone)
    assert (found.sequence_id, found.position) == (5, place)


def test_an_error_that_does_not_spread_or_that_no_text_has_alone_stays_as_it_is() -> None:
    texts = [sequence(4, [1, BAD], [1])]
    fixed = NonFiniteError("bad", "", 4, 1, spreads=False)
    assert holder_of(fixed, texts, alone) is fixed
    by_chance = NonFiniteError("bad", "", 4, 1)
    assert holder_of(by_chance, texts, lambda _text: None) is by_chance
