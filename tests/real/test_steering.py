"""What steering shows on a real model, and what it does not show. `make test-real`; some minutes a test."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis.steering.effects import band, p_value
from actkit.analysis.steering.verdict import is_shown
from actkit.config import OutputSpec
from actkit.pipeline.recipe import Finished
from actkit.recipes.concepts import concepts
from actkit.recipes.specs import FollowSpec
from actkit.recipes.steering.run import run_steer
from actkit.recipes.steering.spec import SteerSpec
from tests.recipes.steered import called

pytestmark = pytest.mark.real
LAYER, STRENGTH = 15, "2"
PRAISE = ("good", "great", "wonderful", "amazing", "excellent", "nice", "brilliant", "lovely", "fantastic", "perfect")
BLAME = ("bad", "terrible", "awful", "horrible", "stupid", "ugly", "disgusting", "annoying", "wrong", "pathetic")


def steered(run: Path, out: Path) -> Finished:
    """What twice the measured difference at a middle layer does, beside 20 controls."""
    spec = SteerSpec(str(run), layers=str(LAYER), strengths=STRENGTH, random=20)
    found = run_steer(spec, FollowSpec(OutputSpec(out), device="cpu"))
    print(found.facts["steer"]["verdicts"][0]["verdict"])
    return found


@pytest.mark.parametrize(("concept", "cost"), [("enthusiasm", 0.1), ("empathy", 0.3)])
def test_a_concept_that_steers(
    concept: str, cost: float, concept_at: Callable[[str, int], Path], tmp_path: Path
) -> None:
    """Outside of the controls' band; at this strength enthusiasm keeps within the usual budget, empathy does not."""
    run = steered(concept_at(concept, LAYER), tmp_path / "effects")
    (verdict,) = run.facts["steer"]["verdicts"]
    assert verdict["shown"], verdict["verdict"]
    assert 0.1 < verdict["effect"] < 0.8 and verdict["delta_nll"] < cost and verdict["share_right"] > 0.6
    assert ("over the budget" in verdict["verdict"]) == (verdict["delta_nll"] > 0.1)


def test_a_random_direction_shows_nothing(concept_at: Callable[[str, int], Path], tmp_path: Path) -> None:
    """In place of the direction of enthusiasm, at its norm, for the same answers."""
    run = tmp_path / "concept"
    shutil.copytree(concept_at("enthusiasm", LAYER), run)
    (part,) = (run / "directions").glob("*.parquet")
    table = pq.read_table(part, partitioning=None)
    rng = np.random.default_rng(1)
    drawn = [rng.normal(size=len(unit)) for unit in table["direction"].to_pylist()]
    column = table.schema.get_field_index("direction")
    units = pa.array([(vector / np.linalg.norm(vector)).tolist() for vector in drawn], table.schema.field(column).type)
    pq.write_table(table.set_column(column, table.schema.field(column), units), part)
    (verdict,) = steered(run, tmp_path / "effects").facts["steer"]["verdicts"]
    assert not verdict["shown"], verdict["verdict"]


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
    made = called("concept", str(file), "--model", str(smollm2), "--layers", str(LAYER), out=tmp_path / "concept")
    (verdict,) = steered(made, tmp_path / "effects").facts["steer"]["verdicts"]
    assert not verdict["shown"], verdict["verdict"]


def test_an_auroc_near_one_is_no_effect(concept_at: Callable[[str, int], Path], tmp_path: Path) -> None:
    """Honesty: its held-out pairs are told apart, and nothing is shown to change."""
    run = steered(concept_at("honesty", LAYER), tmp_path / "effects")
    assert run.facts["steer"]["directions"][0]["auroc_heldout"] > 0.95
    assert not run.facts["steer"]["verdicts"][0]["shown"], run.facts["steer"]["verdicts"][0]["verdict"]


def test_features_of_praise_are_causal_and_matched_ones_are_not(smollm2: Path, sae: str, tmp_path: Path) -> None:
    """The ten features that praise has most of, set to zero: words of praise become less likely beside words of blame.

    Ten features that the labels have nothing to do with, matched in how often and how strongly they fire, do not.
    """
    words = (tmp_path / "praise.txt", tmp_path / "blame.txt")
    for file, lines in zip(words, (PRAISE, BLAME), strict=True):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = ("--use-example-data", "--model", str(smollm2), "--sae", sae, "--draws", "200")
    run = called("reward-detect", *asked, out=tmp_path / "feedback")
    spec = SteerSpec(str(run), features="top:10", words=",".join(map(str, words)), random=40)
    found = run_steer(spec, FollowSpec(OutputSpec(tmp_path / "effects"), device="cpu"))
    (verdict,) = found.facts["steer"]["verdicts"]
    print(verdict["verdict"])
    assert verdict["metric"] == "words" and verdict["effect"] < 0
    assert verdict["shown"], verdict["verdict"]
    rows = pd.read_parquet(found.path / "effects")
    rows = rows[rows["is_control"] & (rows["metric"] == "words")]
    shown = 0
    for at, row in rows[rows["source"] == "matched"].iterrows():
        others = rows.drop(index=at)["effect"].to_numpy()
        low, high = band(others)
        more = {"p_value": p_value(row["effect"], others), "control_low": low, "control_high": high, "expected": -1}
        shown += is_shown({**row.to_dict(), **more})
    print(f"{shown} of {(rows['source'] == 'matched').sum()} matched sets")
    assert (rows["source"] == "matched").sum() == 20 and shown <= 1
