"""What each command makes of hostile records: token sequences or a rejection for every one, and no traceback."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from actkit.backends import Description, describe
from actkit.config import ModelSpec, TokenSpec
from actkit.errors import ActkitError, RecordError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.record_tables import rejected_table, sequences_table
from actkit.pipeline.reducers.activations import activations
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.runner import ingredients
from tests.fuzz.damage import HALF, MANY, TEXTS, VALUES, fuzz, is_array_of_objects, jsonl, no_hang

POINTS = (HookPoint(1, "hook_resid_post"),)
REDUCER = activations(POINTS, 128, "float32")


@functools.cache
def tiny() -> Description:
    return describe(ModelSpec(device="cpu"))


def recipe_of(command: str, path: str) -> Recipe:
    """A command's recipe over a file, as the command makes it, without a model."""
    made = ingredients(tiny())
    makers: dict[str, Callable[[], Recipe]] = {
        "capture": lambda: capture.recipe(capture.CaptureSpec(path=path), made),
        "dpo": lambda: dpo.recipe(dpo.DpoSpec(path), made),
        "sae-extract": lambda: sae_extract.recipe(sae_extract.SaeExtractSpec(path), made),
        "feature-dataset": lambda: feature_dataset.recipe(
            feature_dataset.FeatureDatasetSpec(path, context_size=32, tokens=TokenSpec(bos="always")), made
        ),
        "reward-detect": lambda: reward_detect.recipe(reward_detect.RewardDetectSpec(path), made),
        "concept": lambda: concept.recipe(concept.ConceptSpec(path), made),
    }
    return makers[command]()


ROLES = st.one_of(st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool", "Bot"]), TEXTS, HALF, VALUES)
MESSAGES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": ROLES, "content": st.one_of(TEXTS, HALF, VALUES)}),
        st.fixed_dictionaries({"from": ROLES, "value": TEXTS}),
        VALUES,
    ),
    max_size=4,
)
CHAT = st.tuples(TEXTS, TEXTS).map(
    lambda two: [{"role": "user", "content": two[0]}, {"role": "assistant", "content": two[1]}]
)
DIALOGUE = st.tuples(TEXTS, TEXTS).map(lambda two: f"\n\nHuman: {two[0]}\n\nAssistant: {two[1]}")
LABELS = st.one_of(st.sampled_from(["positive", "negative", 0, 1, True, "1", 1.0, "bad"]), VALUES)
SHAPES: dict[str, list[dict[str, st.SearchStrategy[Any]]]] = {
    "capture": [{"prompt": TEXTS}, {"messages": CHAT}, {"text": TEXTS, "response": TEXTS}],
    "dpo": [
        {"chosen": CHAT, "rejected": CHAT},
        {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
        {"instruction": TEXTS, "input": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
        {"chosen": DIALOGUE, "rejected": DIALOGUE},
        {
            "conversations": MESSAGES,
            "chosen": TEXTS.map(lambda text: {"from": "gpt", "value": text}),
            "rejected": TEXTS.map(lambda text: {"from": "gpt", "value": text}),
        },
    ],
    "sae-extract": [
        {"prompt": TEXTS, "response": TEXTS, "question_id": VALUES, "template_type": VALUES},
        {"messages": CHAT, "question_id": HALF},
    ],
    "feature-dataset": [{"text": TEXTS}, {"story": TEXTS, "content": VALUES}],
    "reward-detect": [
        {"text": TEXTS, "feedback": LABELS, "group": VALUES, "score": VALUES},
        {"prompt": TEXTS, "text": TEXTS, "label": LABELS},
        {"messages": CHAT, "label": LABELS},
        {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
    ],
    "concept": [
        {"positive": TEXTS, "negative": TEXTS, "stem": VALUES, "template": VALUES},
        {"question": TEXTS, "answer_matching_behavior": TEXTS, "answer_not_matching_behavior": TEXTS},
        {"statement": TEXTS, "label": LABELS},
    ],
}


@st.composite
def records(draw: st.DrawFn, shapes: Sequence[Mapping[str, st.SearchStrategy[Any]]]) -> list[Any]:
    """Records of one shape, some of them twice, some fields of which are missing, added or of another type."""
    shape = draw(st.sampled_from(shapes))
    every = []
    for _ in range(draw(st.integers(1, 4))):
        record: Any = {name: draw(values) for name, values in shape.items()}
        change = draw(st.sampled_from(["none", "none", "none", "drop", "value", "messages", "add", "other", "repeat"]))
        name = draw(st.sampled_from(sorted(shape)))
        if change == "drop":
            del record[name]
        elif change in ("value", "messages"):
            record[name] = draw(VALUES if change == "value" else MESSAGES)
        elif change == "add":
            record[draw(TEXTS)] = draw(VALUES)
        elif change == "other":
            record = draw(VALUES)
        elif change == "repeat" and every:
            record = every[0]
        every.append(record)
    return every


def prepared(recipe: Recipe) -> Iterator[Record | Rejected]:
    """Each record after its sequences were made, or rejected."""
    for record in recipe.records():
        if isinstance(record, Record):
            try:
                sequences = recipe.prepare(record).sequences
                assert sequences and {sequence.record_id for sequence in sequences} == {record.record_id}
                sequences_table(sequences, {record.record_id: record})
            except RecordError as error:
                record = Rejected(record.record_id, record.source, record.line, error.field, error.reason)
        if isinstance(record, Rejected):
            assert record.reason and len(record.reason) < 600
            rejected_table([record])
        yield record


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", SHAPES)
@pytest.mark.parametrize("cases", [pytest.param(80, id="some"), MANY])
def test_every_record_becomes_sequences_or_is_rejected(tmp_path: Path, cases: int, command: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("")
    with suppress(ActkitError):
        list(prepared(recipe_of(command, str(path))))  # what is imported at first is not of a case's time

    def check(values: list[Any]) -> None:
        path.write_bytes(jsonl(values))
        with no_hang():
            try:
                made = list(prepared(recipe_of(command, str(path))))
            except ActkitError as error:
                assert command in ("dpo", "concept", "reward-detect") and error.hint and len(error.message) < 2000
                return
        assert [record.record_id for record in made] == list(range(len(made)))
        if command == "concept" and any(isinstance(value, dict) and "statement" in value for value in values):
            assert len(made) <= len(values) <= 2 * len(made)
        elif len(values) == 1 and is_array_of_objects(values[0]):
            assert len(made) >= len(values[0])
        elif command != "sae-extract":
            assert [record.line for record in made] == list(range(1, len(values) + 1))
        else:
            assert len(made) >= len(values)

    fuzz(cases, records(SHAPES[command]), check)
