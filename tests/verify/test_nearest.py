"""Lists of the largest numbers may differ by rounding alone: in order, and in who stands at the end."""

import pytest

from actkit.verify.recompute.weights import differing_lists

NEW = [(7, 2.0), (3, 1.0), (9, 1.0)]
SCORES = {7: 2.0, 3: 1.0, 9: 1.0, 4: 1.0, 5: 0.5}


@pytest.mark.parametrize(
    ("old", "says"),
    [
        (NEW, None),
        ([(7, 2.0), (9, 1.0), (3, 1.0)], None),
        ([(7, 2.0001), (3, 1.0), (4, 1.0)], None),
        ([(7, 2.0), (3, 1.0)], "2 entries, not 3"),
        ([(7, 2.0), (3, 1.0), (3, 1.0)], "an id stands twice"),
        ([(7, 2.1), (3, 1.0), (9, 1.0)], "entry 0 is 2.1, not 2"),
        ([(7, 2.0), (3, 1.0), (5, 1.0)], "entry 2 is of 5, not of 9"),
        ([(7, float("nan")), (3, 1.0), (9, 1.0)], "entry 0 is nan, not 2"),
    ],
)
def test_a_list_and_what_is_wrong_with_it(old: list[tuple[int, float]], says: str | None) -> None:
    found = list(differing_lists([NEW, old], [NEW, NEW], lambda _row, item: SCORES[item]))
    assert found == ([] if says is None else [(1, says)])
