"""Which layers a control vector takes: those named, else the one that the run chose at the output of a block."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actkit.errors import UsageError
from actkit.export.directions import StoredDirection, chosen_layer, named_layers, share_of
from actkit.export.job import ExportJob

FOUND = {
    layer: StoredDirection(layer, f"blocks.{layer}.hook_resid_post", np.ones(2, np.float32), 1.0) for layer in (2, 3)
}


def job(notes: list[str], chosen: dict[str, Any] | None = None) -> ExportJob:
    facts = {"model": {"n_layers": 6}, "concept": {"chosen": {"mean-diff": chosen}}}
    return ExportJob(Path("run"), facts, Path("x"), note=notes.append)


def test_the_chosen_layer_is_taken_where_the_run_chose_the_output_of_a_block() -> None:
    assert chosen_layer(job([], {"hook_point": "blocks.3.hook_resid_post", "layer": 3}), None, FOUND) == 3
    with pytest.raises(UsageError, match=r"it chose blocks\.3\.hook_mlp_out") as raised:
        chosen_layer(job([], {"hook_point": "blocks.3.hook_mlp_out", "layer": 3}), None, FOUND)
    assert raised.value.hint == "name layers: --layers 2,3"


def test_the_only_layer_is_taken_where_the_run_chose_none() -> None:
    assert chosen_layer(job([]), None, {2: FOUND[2]}) == 2
    with pytest.raises(UsageError, match="too few stems"):
        chosen_layer(job([]), None, FOUND)


def test_layers_are_named_as_everywhere_and_share_the_difference() -> None:
    notes: list[str] = []
    assert named_layers(job([]), "-4,3", FOUND) == (2, 3) and named_layers(job([]), "all", FOUND) == [2, 3]
    with pytest.raises(UsageError, match="at layer 4,5"):
        named_layers(job([]), "3-5", FOUND)
    assert share_of(job(notes), 1) == 1 and not notes
    assert share_of(job(notes), 2) == 0.5 and notes[0].startswith("2 layers: each adds 0.5")
