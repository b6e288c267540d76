"""Texts that interventions are measured on: held-out stems, one's own answers, neutral ones; where they are steered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actkit.errors import InputError, UsageError
from actkit.pipeline.data import Encoding
from actkit.recipes.steering.texts import (
    COST,
    TEST,
    VALIDATION,
    held_out_of,
    neutral_texts,
    own_answers,
    predicted,
    steered_at,
)


def encoding(special: list[int], n: int = 6) -> Encoding:
    at = np.arange(n)
    return Encoding("x" * n, at, at, at + 1, np.isin(at, special), (None,) * n)


@pytest.mark.parametrize(
    ("start", "positions", "expected"),
    [
        (None, "all", [1, 2, 4, 5]),
        (4, "all", [1, 2, 4, 5]),
        (4, "response", [4, 5]),
        (5, "response", [4, 5]),
        (4, "prompt", [1, 2]),
        (None, "response", [1, 2, 4, 5]),
        (1, "response", [1, 2, 4, 5]),
        (1, "prompt", []),
    ],
)
def test_an_intervention_acts_on_text_and_never_at_the_first_token(
    start: int | None, positions: str, expected: list[int]
) -> None:
    """Token 3 is special; an answer's first token is predicted at the one before it."""
    assert np.flatnonzero(steered_at(encoding([3]), start, positions)).tolist() == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(3, 6, [2, 3, 4]), (0, 3, [0, 1]), (1, 3, [0, 1]), (3, 3, []), (1, 1, [])]
)
def test_each_token_is_predicted_at_the_one_before_it(first: int, last: int, expected: list[int]) -> None:
    assert predicted(first, last).tolist() == expected


def put(folder: Path, rows: list[Any]) -> str:
    path = folder / "answers.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


PLAIN = {"prompt": "How?", "positive": "Well.", "negative": "Badly."}
PAIR = {"prompt": "How?", "chosen": "Well.", "rejected": "Badly."}


def test_own_answers_in_either_form(tmp_path: Path) -> None:
    found = own_answers(put(tmp_path, [PLAIN, {**PLAIN, "stem": "s"}, PAIR]), seed=0, choose=False)
    assert [text["stem"] for text in found] == ["How?", "s", "user: How?"]
    assert {text["split"] for text in found} == {TEST}
    assert [(text["positive"], text["negative"]) for text in found] == [("Well.", "Badly.")] * 3
    assert found[0]["prompt"] == "How?" and "messages" not in found[0]
    assert found[2]["messages"] == [{"role": "user", "content": "How?"}]


def test_half_of_the_prompts_choose_and_all_of_a_stem_go_together(tmp_path: Path) -> None:
    rows = [{**PLAIN, "prompt": f"How {n}?", "stem": f"s{n % 14}"} for n in range(28)]
    found = own_answers(put(tmp_path, rows), seed=1, choose=True)
    of_stem: dict[str, set[str]] = {}
    for text in found:
        of_stem.setdefault(text["stem"], set()).add(text["split"])
    assert sorted(map(tuple, of_stem.values())) == [(TEST,)] * 7 + [(VALIDATION,)] * 7
    assert found == own_answers(put(tmp_path, rows), seed=1, choose=True)
    assert found != own_answers(put(tmp_path, rows), seed=2, choose=True)
    with pytest.raises(UsageError, match="has 3 prompts: too few to choose layer and strength") as error:
        own_answers(put(tmp_path, rows[:3]), seed=0, choose=True)
    assert error.value.hint.endswith("or give 12 prompts")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "the input has no records"),
        ([PLAIN, "{"], "answers.jsonl:2: not JSON"),
        ([{"positive": "a", "negative": "b"}], "field prompt: missing"),
        ([{**PLAIN, "tools": [{"name": "x"}]}], "tools and options of the chat template are not read here"),
        ([["a"]], "answers.jsonl:1"),
        (
            [
                {
                    "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                    "rejected": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "b"}],
                }
            ],
            "the two sides answer different prompts",
        ),
    ],
)
def test_a_record_that_cannot_be_used_ends_it(tmp_path: Path, rows: list[Any], says: str) -> None:
    with pytest.raises(InputError, match=".") as error:
        own_answers(put(tmp_path, rows), seed=0, choose=False)
    assert says in error.value.message


def test_neutral_texts_are_lines_of_the_file_and_say_what_they_are() -> None:
    found = neutral_texts()
    assert len(found) >= 12 and len({text["text"] for text in found}) == len({text["stem"] for text in found}) == len(
        found
    )
    assert all(text["split"] == COST and text["text"].strip() == text["text"] for text in found)


def test_held_out_stems_of_a_concept_run_are_asked_in_turn(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = six_runs["concept"]
    options = json.loads((run / "run.json").read_text())["options"]
    asked, given = held_out_of(run, options, seed=0)
    assert given == [] and {each.split for each in asked} == {VALIDATION, TEST}
    assert all(each.stem in each.positive and each.stem in each.negative for each in asked)
    assert len({each.stem for each in asked}) == len(asked) == 6, "12 stems, of which half are held out"
    other = held_out_of(run, options, seed=1)[0]
    assert {each.stem for each in other} != {each.stem for each in asked}
    few = put(tmp_path, [{"positive": "a b", "negative": "c b", "stem": "b"}])
    with pytest.raises(InputError, match="it is no longer the file") as error:
        held_out_of(run, {**options, "what": few}, seed=0)
    assert error.value.hint == "give --answers FILE"
