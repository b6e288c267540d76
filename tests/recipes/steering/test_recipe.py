"""What `steer` makes of a text: sequences whose answers are read, and under which interventions; or why none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actkit.backends.actions import UNSTEERED, Action
from actkit.errors import RecordError
from actkit.pipeline.data import Record
from actkit.recipes.steering.answers import expected
from actkit.recipes.steering.recipe import KIND, Ready, ids_by_kind, recipe, sequences_of
from actkit.recipes.steering.spec import SteerSpec
from actkit.recipes.steering.texts import COST, TEST, VALIDATION, Wordings
from tests.conftest import small_tokenizer

SPEC = SteerSpec("runs/x")
UNIT = np.array([0.6, 0.8], dtype=np.float32)


@pytest.fixture(scope="module")
def ready() -> Ready:
    tokenizer: Any = small_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    return Ready(
        (),
        (UNSTEERED, Action(1, "add", "blocks.0.hook_resid_post", 0, vector=UNIT)),
        {},
        tokenizer,
        40,
        2,
        False,
        "own",
    )


def text(**value: Any) -> Record:
    return Record(3, "x", None, {"split": TEST, "stem": "s", **value})


def read(sequence: Any) -> str:
    """The text of the tokens whose likelihood is read."""
    at = sequence.keep + 1
    return "".join(sequence.encoding.text[sequence.encoding.char_start[n] : sequence.encoding.char_end[n]] for n in at)


def test_a_prompt_is_run_once_and_both_answers_are_read(ready: Ready) -> None:
    found = sequences_of(text(prompt="How?", positive="Well.", negative="Bad."), SPEC, ready)
    assert [(each.side, each.parent) for each in found] == [("shared", None), ("positive", 0), ("negative", 0)]
    whole = {each.side: each.encoding.text for each in found}
    assert whole["positive"] == "How? Well." and whole["negative"] == "How? Bad."
    assert read(found[1]).endswith("Well.") and read(found[2]).endswith("Bad.")
    assert all(each.kind == KIND[TEST] and not each.steered[0] for each in found)
    assert found[1].group == found[2].group


def test_positions_say_where_an_intervention_acts(ready: Ready) -> None:
    value = text(prompt="How?", positive="Well.", negative="Bad.", split=VALIDATION)
    for positions in ("response", "prompt"):
        found = sequences_of(value, replace(SPEC, positions=positions), ready)
        start = found[1].encoding.char_start[np.flatnonzero(found[1].steered)]
        assert (start >= 3).all() if positions == "response" else (start < 4).all(), positions
        assert found[1].kind == KIND[VALIDATION]


def test_messages_go_into_the_chat_template(ready: Ready) -> None:
    messages = [{"role": "user", "content": "How?"}]
    for value, way in (
        (text(prompt="How?", positive="a", negative="b"), replace(ready, chat=True)),
        (text(prompt="x", messages=messages, positive="a", negative="b"), replace(ready, chat=True)),
    ):
        found = sequences_of(value, SPEC, way)
        assert found[1].encoding.text == "<user>How?<end><assistant>a<end>"


def test_texts_without_prompt_are_read_after_their_first_token(ready: Ready) -> None:
    found = sequences_of(text(positive="ab", negative="ac"), SPEC, ready)
    assert {each.encoding.text for each in found} >= {"ab", "ac"}
    (alone,) = sequences_of(text(text="A fox.", split=COST), SPEC, ready)
    assert read(alone) == "A fox." and alone.label == COST and alone.kind == KIND[COST] and alone.n_truncated == 0
    (cut,) = sequences_of(text(text="A fox. " * 20, split=COST), SPEC, ready)
    assert len(cut.encoding) == 40 and cut.n_truncated == 101


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ({"prompt": "How?", "positive": "a", "negative": "a"}, "negative", "both answers are the same tokens"),
        ({"positive": "", "negative": "b"}, "positive", "no token whose likelihood could be read"),
        ({"text": ""}, "text", "too short: no token follows the first"),
    ],
)
def test_what_cannot_be_read_is_named(ready: Ready, value: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(RecordError) as error:
        sequences_of(text(**value), SPEC, ready)
    assert (error.value.field, error.value.reason) == (field, reason)


def test_a_stored_text_is_run_as_it_was_tokenized(ready: Ready) -> None:
    (own,) = sequences_of(text(text="A fox.", split=COST), SPEC, ready)
    stored = replace(own, response_start=4, parent=7, sequence_id=9, start=2, record_id=1)
    found, *_ = sequences_of(text(stored=5), SPEC, replace(ready, stored={5: stored}))
    assert found.keep.tolist() == [3, 4, 5] and (found.record_id, found.parent, found.start) == (3, None, 0)
    with_words = replace(ready, stored={5: stored}, words=(np.array([1]), np.array([2])))
    assert sequences_of(text(stored=5), SPEC, with_words)[0].keep.tolist() == [3, 4, 5, 6], (
        "what follows the whole text"
    )


def controls(group: int, source: str, first: int, n: int) -> list[Action]:
    return [Action(first + k, "add", "blocks.0.hook_resid_post", 0, source, True, group, vector=UNIT) for k in range(n)]


def test_texts_that_choose_have_few_controls_and_those_that_cost_have_none() -> None:
    real = [UNSTEERED, Action(1, "add", "blocks.0.hook_resid_post", 0, vector=UNIT)]
    every = [*real, *controls(0, "gaussian", 2, 10), *controls(0, "exchanged", 12, 10), *controls(1, "gaussian", 22, 1)]
    assert ids_by_kind(every) == {KIND[VALIDATION]: [0, 1, 2, 3, 12, 13, 22], KIND[COST]: [0, 1]}


def test_the_fingerprint_knows_what_is_done_and_not_how_controls_were_rounded(ready: Ready) -> None:
    def digest(*actions: Action) -> Any:
        return recipe(SPEC, replace(ready, actions=actions)).detected["interventions"]

    own, control = ready.actions[1], controls(0, "gaussian", 2, 1)[0]
    first = digest(own, control)
    assert first == digest(own, replace(control, vector=UNIT * 1.0001)) == digest(replace(own, sink_norm=3.0), control)
    assert first != digest(replace(own, vector=UNIT * 1.0001), control)
    assert first != digest(replace(own, strength=2.0), control) and first != digest(own)


def test_a_plan_has_answers_as_long_as_they_may_be() -> None:
    (found,) = expected([Wordings("s", "t", TEST, "p", "n")], replace(SPEC, answer_tokens=4))
    assert found["positive"].split() == ["the"] * 4 and found["negative"] == f"{found['positive']}."
    assert (found["prompt"], found["stem"], found["template"], found["split"]) == ("s", "s", "t", TEST)
