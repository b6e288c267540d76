"""How often `steer` shows an effect where there is none, and how often its intervals hold the true one.

`pytest -m slow -rP tests/analysis/steering/test_simulated_runs.py` prints the figures.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actkit.analysis.steering.effects import Made, contrast, effect_rows
from actkit.analysis.steering.samples import ANSWERS, Changes, Measured, read_samples
from actkit.analysis.steering.tables import made_of, report_of
from actkit.analysis.steering.verdict import chosen_p_value, is_shown
from actkit.recipes.steering.spec import SteerSpec
from tests.recipes.steered import called, steered

RUNS, LEVEL, N_STEMS = 200, 0.05, 16
STRENGTHS = (1.0, 2.0, 4.0)


def shown(samples: Sequence[Changes], made: Sequence[Made], as_if_not_chosen: bool = False) -> bool:
    """Whether a run of these numbers says that its direction does something."""
    nothing = np.full(samples[0].change.shape[1], np.nan)
    rows = effect_rows(Measured(samples, nothing), made, budget=0.1)
    (verdict,) = report_of(rows, n_layers=30, budget=0.1)["verdicts"]
    return is_shown({**verdict, "expected": 1, "p_chosen": None}) if as_if_not_chosen else bool(verdict["shown"])


def made_up(layers: Sequence[int], n_controls: int = 20) -> list[Made]:
    found: list[Made] = []
    groups = [(layer, strength) for layer in layers for strength in STRENGTHS]
    for is_control in (False, True):
        for group, (layer, strength) in enumerate(groups):
            for at in range(n_controls if is_control else 1):
                family = (is_control, layer, at)
                found.append(
                    Made(len(found) + 1, "add", layer, "mean-diff", strength, is_control, group, 1, family)
                )  # fmt: skip
    return found


def drawn(made: Sequence[Made], effect: float, rng: np.random.Generator) -> list[Changes]:
    """Every direction does something, of either sign, to all stems alike, and more to each; at each strength its share.

    `effect` comes on top of what the direction does, at all layers.
    """
    of_direction = {action.family: rng.normal(0, 0.1) + (0 if action.is_control else effect) for action in made}
    found = []
    for split in ("validation", "test"):
        of_stems = {action.family: rng.normal(0, 0.25, N_STEMS) for action in made}
        change = np.zeros((2 * N_STEMS, len(made) + 1))
        for action in made:
            moved = action.strength / 2 * (of_direction[action.family] + of_stems[action.family]) + rng.normal(
                0, 0.05, N_STEMS
            )
            change[:, action.intervention_id] = np.concatenate([moved, -moved]) / 2
        stems = np.tile(np.arange(N_STEMS), 2)
        found.append(Changes(ANSWERS, split, stems, np.repeat([1, -1], N_STEMS), stems, change))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("layers", [(15,), (11, 15, 19), tuple(range(11, 20))])
def test_a_choice_among_layers_makes_no_false_positives(layers: tuple[int, ...]) -> None:
    """Chosen among more layers a random direction more often does more than the controls of one layer."""
    rng, made = np.random.default_rng(0), made_up(layers)
    nothing = [drawn(made, 0.0, rng) for _ in range(RUNS)]
    false, naive = (sum(shown(run, made, plain) for run in nothing) / RUNS for plain in (False, True))
    found = sum(shown(drawn(made, 0.4, rng), made) for _ in range(RUNS // 4)) / (RUNS // 4)
    print(
        f"{len(layers)} layers: shown in {false:.3f} of {RUNS} runs of nothing ({naive:.3f} without p_chosen), ", end=""
    )
    print(f"in {found:.2f} with an effect of .40")
    assert false <= LEVEL and found > 0.6


def row(number: int, layer: int, effect: float, **more: Any) -> dict[str, Any]:
    base = {
        "intervention_id": number,
        "layer": layer,
        "strength": 1.0,
        "source": "m",
        "split": "test",
        "effect": effect,
    }
    return {**base, "is_control": False, "expected": 1, **more}


def test_what_is_chosen_is_compared_with_controls_that_had_as_many_layers() -> None:
    """The first controls do .1 and .5, the second -.4 and .1: one of two does as much as .3 at some layer."""
    real = [row(1, 3, 0.3), row(2, 5, 0.1)]
    real += [{**each, "split": "validation"} for each in real]
    effects = {3: (0.1, -0.4), 5: (0.5, 0.1)}
    controls = [row(9, at, effect, is_control=True) for at, both in effects.items() for effect in both]
    assert chosen_p_value([*real, *controls], real[0], 10) == pytest.approx(2 / 3)
    assert chosen_p_value([*real, *controls], real[0], 5) == pytest.approx(1 / 3), "layer 5 of 5 may not be chosen"
    twice = [*real, *({**each, "source": "other", "intervention_id": 7} for each in real)]
    assert chosen_p_value([*twice, *controls], real[0], 5) == pytest.approx(2 / 3), "two methods were tried"
    either = [{**each, "expected": 0} for each in [*real, *controls]]
    assert chosen_p_value(either, either[0], 5) == pytest.approx(2 / 3), "-.4 is as much where no sign is expected"
    assert np.isnan(chosen_p_value(real, real[0], 10))


def test_several_verdicts_say_how_many_chance_alone_would_show() -> None:
    """Features one by one, say: nothing is chosen, and each is tested for itself."""
    made = made_up((15,))
    tested = drawn(made, 0.0, np.random.default_rng(0))[1:]
    report = report_of(effect_rows(Measured(tested, np.full(len(made) + 1, np.nan)), made, 0.1), 30, 0.1)
    (warning,) = report["warnings"]
    assert len(report["verdicts"]) == 3 and warning.startswith("3 interventions") and "up to 0.15 of them" in warning
    assert {each["p_chosen"] for each in report["verdicts"]} == {None}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Changes], list[Made]]:
    """What 200 random directions at each of two layers of `tiny` do to the answers of a bundled concept."""
    folder = tmp_path_factory.mktemp("tiny")
    concept = called("concept", "enthusiasm", "--layers", "1,2", out=folder / "concept")
    run: Path = steered(SteerSpec(str(concept), layers="1,2", strengths="1,2", random=100), folder / "run").path
    made = made_of(pq.read_table(run / "interventions", partitioning=None).to_pylist())
    samples = read_samples(run, len(made) + 1).samples
    return [sample for sample in samples if sample.metric == ANSWERS], made


@pytest.mark.slow
def test_random_directions_and_shuffled_answers_show_nothing(measured: tuple[list[Changes], list[Made]]) -> None:
    """On `tiny`: each run has a random direction, 20 others as its controls, and answers whose sides are exchanged."""
    samples, made = measured
    rng, false = np.random.default_rng(0), 0
    groups: dict[int, list[Made]] = {}
    for action in made:
        groups.setdefault(action.control_group, []).extend([action] if action.is_control else [])
    validated = ~np.isnan(next(sample for sample in samples if sample.split == "validation").change[0])
    usable = [at for at, sample in enumerate(groups[0]) if validated[sample.intervention_id]]
    for _ in range(RUNS):
        own = int(rng.choice(usable))
        others = rng.permutation([at for at in range(len(groups[0])) if at != own])[:20]
        chosen = [replace(group[own], is_control=False) for group in groups.values()]
        chosen += [group[int(at)] for group in groups.values() for at in others]
        exchanged = []
        for sample in samples:
            records, at = np.unique(sample.record_ids, return_inverse=True)
            exchanged.append(replace(sample, side=sample.side * rng.choice([1, -1], len(records))[at]))
        false += shown(exchanged, chosen)
    print(f"shown in {false / RUNS:.3f} of {RUNS} runs of a random direction with shuffled answers")
    assert false / RUNS <= LEVEL


@pytest.mark.slow
def test_intervals_hold_the_true_effect(measured: tuple[list[Changes], list[Made]]) -> None:
    """On `tiny`: of runs whose stems are drawn from those there are, the effect over all of these is the true one."""
    samples, made = measured
    rng = np.random.default_rng(0)
    changes = np.concatenate([sample.of_records()[1] for sample in samples])
    ids = [action.intervention_id for action in made if not np.isnan(changes[:, action.intervention_id]).any()]
    changes = changes[:, ids]
    truth, covered = changes.mean(0), np.zeros(len(ids))
    for _ in range(RUNS):
        stems = rng.integers(len(changes), size=N_STEMS)
        found = contrast(changes[stems], np.ones(N_STEMS, dtype=np.int64), np.arange(N_STEMS))
        covered += (found.low <= truth) & (truth <= found.high)
    share = float(covered.mean() / RUNS)
    print(
        f"of {RUNS} runs of {N_STEMS} stems and {len(ids)} interventions {share:.3f} of the intervals hold the effect"
    )
    assert 0.92 < share < 0.98
