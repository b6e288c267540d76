"""Which pairs count as one stem, and what is said of a direction that does not hold."""

import numpy as np
import pytest

from actkit.analysis.concepts.concept import SHOWN, _report
from actkit.analysis.concepts.contrast import Pairs, joined
from actkit.analysis.concepts.directions import Split


def test_rows_with_a_key_in_common_have_one_number_also_by_way_of_others() -> None:
    stems, positive, negative = np.array([0, 1, 2, 3, 1]), np.arange(5), np.array([5, 6, 1, 7, 8])
    assert joined(stems, positive, negative).tolist() == [0, 1, 1, 2, 1]
    assert joined(stems).tolist() == [0, 1, 2, 3, 1]
    assert joined(stems[::-1], positive, positive).tolist() == [0, 1, 2, 0, 3]


def test_a_stem_that_reads_as_a_template_does_is_no_key_in_common() -> None:
    assert joined(np.array([0, 1]), np.array([1, 2])).tolist() == [0, 1]
    assert joined(np.array([0, 0]), np.array([1, 2])).tolist() == [0, 0]
    assert joined(np.arange(0), np.arange(0)).tolist() == []


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.1, 0.4, "points the other way"), (0.4, 0.7, "does not tell"), (0.6, 0.9, None)]
)
def test_what_the_held_out_pairs_say_against_a_direction_is_said(low: float, high: float, said: str | None) -> None:
    none, every = np.zeros(12, dtype=np.int64), np.ones(12, dtype=np.bool_)
    pairs = Pairs(none, none, none, np.arange(12), none, 12, 0, ("one", "other"), np.ones((2, 12), dtype=np.int64))
    held = {"auroc_heldout": (low + high) / 2, "auroc_heldout_low": low, "auroc_heldout_high": high}
    row = {"method": SHOWN, "layer": 1, "choice_score": 0.9, "choice_error": 0.1, "auroc_transfer": None, **held}
    row |= {"spearman_length": None, "auroc_length_adjusted": None}
    warnings = _report([row], Split(every, every, every), pairs)["warnings"]
    assert [said in warning for warning in warnings] == [True] if said else warnings == []
