"""What SAEs do on a run's data, from lists of features and from activations computed again; and norms of sinks."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from actkit.backends.actions import Action
from actkit.hooks import HookPoint
from actkit.verify.recompute.health import HealthAgain
from actkit.verify.recompute.sinks import other_norms
from actkit.verify.tables.health import Encoded


def test_where_lists_are_cut_as_many_more_features_may_fire_as_are_left_out() -> None:
    seen = Encoded(np.array([3, 0, 1, 0]), n_tokens=3, n_active=5, n_sequences=1, longest=3)
    row = {"n_tokens": 3, "n_sequences": 1, "longest_context": 3, "l0": 5 / 3}

    def wrong(dead: Any, dense: Any) -> list[str]:
        found = seen.health({**row, "dead_fraction": dead, "dense_fraction": dense})
        return [name for name, fits in found if not fits]

    assert wrong(0.5, 0.5) == wrong(0.25, 0.75) == []
    assert wrong(0.0, 1.0) == wrong("x", None) == ["dead_fraction", "dense_fraction"]


@pytest.mark.parametrize(
    ("name", "value", "is_wrong"), [("n_tokens", 8, True), ("l0", 2.0001, False), ("l0", 2.1, True)]
)
def test_shares_may_be_off_by_rounding_and_counts_may_not(name: str, value: float, is_wrong: bool) -> None:
    again = {"n_tokens": 7, "l0": 2.0}
    known = HealthAgain({"a": cast("Any", SimpleNamespace(summary=lambda: again))})
    said = list(known.differing({"health": [{"sae": "a", **again, name: value}]}, 1e-4))
    assert bool(said) is is_wrong


def test_an_intervention_spares_what_is_longer_than_a_sink() -> None:
    point = HookPoint(0, "hook_resid_post")
    action = Action(1, "add", str(point), sink_norm=2.0)
    assert list(other_norms([Action(0, "none"), action], {point: 2.0}, 1e-3)) == []
    assert list(other_norms([action], {point: 3.0}, 1e-3)) == ["interventions: sink_norm of 1 is 2.0, not 3.0"]
