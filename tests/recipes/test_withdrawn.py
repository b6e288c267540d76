"""Labels that were turned down: said beside the label, beside an object that it lies in, or in a column of its own."""

from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.withdrawn import check_holds


@pytest.mark.parametrize(
    ("record", "label", "field"),
    [
        ({"data": [{"was_cancelled": True, "choice": ["POSITIVE"]}]}, "data.0.choice", "data.0.was_cancelled"),
        ({"notes": {"status": "discarded", "said": {"value": "pos"}}}, "notes.said.value", "notes.status"),
        ({"said": ["pos", "pos"], "said.status": ["submitted", "discarded"]}, "said", "said.status"),
    ],
)
def test_it_is_said_wherever_the_label_lies(record: Any, label: str, field: str) -> None:
    """Within objects nobody looked: Label Studio's cancelled annotations and Argilla's discarded responses counted."""
    with pytest.raises(RecordError, match="turned down") as caught:
        check_holds(record, label)
    assert caught.value.field == field


def test_an_answer_to_a_prompt_turns_nothing_down() -> None:
    check_holds({"prompt": "Do we take it?", "answer": "reject", "label": 1}, "label")
    check_holds({"text": "Fine.", "answer": "reject"}, "answer")
