"""Log-probabilities of a batch as rows: a row a sequence and intervention that it was run under, sums over tokens."""

from typing import Any

import numpy as np
import pytest
import torch

from actkit.errors import NonFiniteError
from actkit.pipeline.data import Kept
from actkit.pipeline.forward.steered import KL, LOGPROB, RAN, WORDS
from actkit.pipeline.reducers.activations import logprobs
from actkit.schemas import arrow_schema

IDS = (0, 4, 9)


def kept(**values: Any) -> Kept:
    """Two sequences of three and two kept positions, of which each one's last has no token after it."""
    sequences, positions = np.array([7, 7, 7, 2, 2]), np.array([1, 2, 3, 0, 1])
    own = np.arange(15, dtype=np.float32).reshape(5, 3) * -0.5
    own[[2, 4]] = np.nan
    ran = np.ones((5, 3), dtype=np.float32)
    ran[3:, 1] = 0
    tensors = {LOGPROB: own, RAN: ran, **values}
    return Kept(
        sequences, positions, np.zeros(5, dtype=bool), {name: torch.as_tensor(x) for name, x in tensors.items()}
    )


def rows(part: Kept) -> list[dict[str, Any]]:
    table = logprobs(IDS)(part)["logprobs"]
    assert table.schema.equals(arrow_schema("logprobs"))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_sums_over_the_tokens_that_are_followed() -> None:
    found = {(row["sequence_id"], row["intervention_id"]): row for row in rows(kept())}
    assert set(found) == {(2, 0), (2, 9), (7, 0), (7, 4), (7, 9)}, "only those that were run"
    assert [found[7, number]["logprob"] for number in IDS] == [-1.5, -2.5, -3.5]
    assert [found[2, number]["logprob"] for number in (0, 9)] == [-4.5, -5.5]
    assert {key: row["n_tokens"] for key, row in found.items()} == {key: 2 if key[0] == 7 else 1 for key in found}
    assert all(row[name] is None for row in found.values() for name in ("kl", "words_positive", "words_negative"))


def test_costs_and_words_where_they_are_measured() -> None:
    costs = np.full((5, 3), 0.25, dtype=np.float32)
    costs[3:] = np.nan
    words = {name: np.arange(15, dtype=np.float32).reshape(5, 3) + at for at, name in enumerate(WORDS)}
    found = rows(kept(**{KL: costs}, **words))
    assert [row["kl"] for row in found] == [None, None, 0.5, 0.5, 0.5]
    last = {7: 2, 2: 4}
    for row in found:
        at = last[row["sequence_id"]] * 3 + IDS.index(row["intervention_id"])
        assert (row["words_positive"], row["words_negative"]) == (at, at + 1), "what follows the last token"


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_what_is_no_number_is_named_with_its_text_and_intervention(value: float) -> None:
    part = kept()
    part.activations[LOGPROB][1, 2] = value  # type: ignore[index]
    part.activations[LOGPROB][3, 1] = value  # type: ignore[index] # it was not run
    if np.isnan(value):  # NaN stands for "no token follows" where the unsteered model has it
        part.activations[LOGPROB][1, 2] = float("inf")  # type: ignore[index]
    with pytest.raises(NonFiniteError, match="under intervention 9") as error:
        rows(part)
    assert error.value.sequence_id == 7 and error.value.hint == "smaller --strengths, or --dtype float32"
