"""What steering shows on a real model, and what it does not show. `make test-real`; some minutes a test."""

import json
from pathlib import Path

import numpy as np
import pytest

from actkit.config import OutputSpec
from actkit.pipeline.recipe import Finished
from actkit.recipes.concepts import concepts
from actkit.recipes.specs import FollowSpec
from actkit.recipes.steering.run import run_steer
from actkit.recipes.steering.spec import SteerSpec
from tests.recipes.steered import called

pytestmark = pytest.mark.real
LAYER, STRENGTH = "15", "2"


def steered(model: Path, what: str, folder: Path, random: int = 20) -> Finished:
    """The directions of `what` at a middle layer, and what twice the measured difference does."""
    run = called("concept", what, "--model", str(model), "--layers", LAYER, out=folder / "concept")
    spec = SteerSpec(str(run), layers=LAYER, strengths=STRENGTH, random=random)
    return run_steer(spec, FollowSpec(OutputSpec(folder / "effects"), device="cpu"))


@pytest.mark.parametrize(("concept", "cost"), [("enthusiasm", 0.1), ("empathy", 0.3)])
def test_a_concept_that_steers(concept: str, cost: float, smollm2: Path, tmp_path: Path) -> None:
    """Outside of the controls' band; at this strength enthusiasm keeps within the usual budget, empathy does not."""
    run = steered(smollm2, concept, tmp_path)
    (verdict,) = run.facts["steer"]["verdicts"]
    assert verdict["shown"], verdict["verdict"]
    assert 0.1 < verdict["effect"] < 0.8 and verdict["delta_nll"] < cost and verdict["share_right"] > 0.6


def test_a_direction_of_shuffled_sides_shows_nothing(smollm2: Path, tmp_path: Path) -> None:
    """Wordings exchanged for half of the stems: the direction is of nothing, and so are the answers' labels."""
    concept, rng = concepts()["enthusiasm"], np.random.default_rng(3)
    lines = []
    for stem in concept.stems:
        exchange = rng.random() < 0.5
        for template in concept.templates:
            pair = template.filled(stem)
            if exchange:
                pair["positive"], pair["negative"] = pair["negative"], pair["positive"]
            lines.append(json.dumps(pair))
    file = tmp_path / "shuffled.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = steered(smollm2, str(file), tmp_path)
    (verdict,) = run.facts["steer"]["verdicts"]
    assert not verdict["shown"], verdict["verdict"]


def test_an_auroc_near_one_is_no_effect(smollm2: Path, tmp_path: Path) -> None:
    """Honesty: its held-out pairs are told apart, and nothing is shown to change."""
    run = steered(smollm2, "honesty", tmp_path)
    assert run.facts["steer"]["directions"][0]["auroc_heldout"] > 0.95
    assert not run.facts["steer"]["verdicts"][0]["shown"], run.facts["steer"]["verdicts"][0]["verdict"]
