"""Make the interventions of a feedback run: its SAE's features, as a set or one by one, and controls for each.

Half of the controls are other features, unrelated to the labels (q above 0.5), matched by the number of texts in which
they are active and by their strength. The others move each vector as far as the features would, but at random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.columns import Floats, Ints
from actkit.backends.actions import UNSTEERED, Action
from actkit.backends.saes.sae import Sae
from actkit.errors import RunError, UsageError
from actkit.recipes.steering.spec import SteerSpec
from actkit.runs.reader import parts, table_of

TEN = "top:10"
"""The features that are taken where no option names any."""
UNRELATED = 0.5
"""q above which a feature may serve as a control."""
NEAREST = 10
"""The number of nearest features from which a control is drawn."""


@dataclass(frozen=True)
class Scored:
    """The features of one SAE with the run's scores; all arrays are [n]."""

    sae: str
    ids: Ints
    auroc: Floats
    q: Floats
    n_active: Floats
    strength: Floats
    """Mean pooled activation of each feature over the texts in which it is active."""

    def at(self, features: Sequence[int]) -> Ints:
        """[k] Return the rows of some features. Raises UsageError for one that was active in no discovery text."""
        where = {int(feature_id): row for row, feature_id in enumerate(self.ids)}
        missing = [feature for feature in features if feature not in where]
        if missing:
            raise UsageError(
                f"--features: {self.sae} has no score for feature {missing[0]}",
                "it is active in none of the discovery texts; actkit show lists features that are",
            )
        return np.array([where[feature] for feature in features], dtype=np.int64)


def scored_in(run: Path, sae: str | None) -> Scored:
    """Read the scored features of one SAE. Raises RunError without scores, UsageError if `sae` does not name one."""
    if not parts(run, "feature_scores"):
        raise RunError(f"{run} has no feature scores", "actkit steer is for runs of concept and of reward-detect")
    table = table_of(run, "feature_scores")
    names = sorted(set(table["sae"].to_pylist()))
    name = sae or (names[0] if len(names) == 1 else None)
    if name is None or name not in names:
        raise UsageError(
            f"{run}: which SAE?" if name is None else f"{run} has no SAE {name}", f"--sae-name: {', '.join(names)}"
        )
    table = table.filter(pa.compute.equal(table["sae"], name))
    columns = (table[column].to_numpy() for column in ("auroc", "q_value", "n_active", "activation_strength"))
    ids = table["feature_id"].to_numpy().astype(np.int64)
    return Scored(name, ids, *(column.astype(np.float64) for column in columns))


def chosen_features(text: str, scored: Scored) -> list[int]:
    """Return the features that `--features` names. Raises UsageError for text in another form."""
    kind, _, number = text.partition(":")
    if kind in ("top", "bottom") and number.isdigit() and int(number):
        order = np.lexsort((scored.ids, -scored.auroc if kind == "top" else scored.auroc))
        return [int(feature_id) for feature_id in scored.ids[order[: int(number)]]]
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(piece.isdigit() for piece in pieces):
        raise UsageError(f"--features {text} is not understood", "top:10, bottom:10, or ids such as 12,407")
    return list(dict.fromkeys(map(int, pieces)))


def feature_actions(scored: Scored, sae: Sae, spec: SteerSpec) -> list[Action]:
    """Return the unsteered model, the features as a set or one by one, and the controls of each."""
    chosen = chosen_features(spec.features or TEN, scored)
    scored.at(chosen)
    sets = [[feature] for feature in chosen] if spec.each else [chosen]
    strengths = spec.each_strength((1.0,)) if spec.done[0] == "add" else (1.0,)
    found = [UNSTEERED]
    groups = [(features, strength) for features in sets for strength in strengths]
    for group, (features, strength) in enumerate(groups):
        found.append(_action(len(found), scored, sae, features, strength, group, spec))
    for group, (features, strength) in enumerate(groups):
        rng = np.random.default_rng((spec.seed, 12, group // len(strengths)))
        n_gaussian = spec.random // 2
        for others in matched(scored, chosen, features, spec.random - n_gaussian, rng):
            found.append(_action(len(found), scored, sae, others, strength, group, spec, "matched"))
        for _ in range(n_gaussian):
            noise = rng.normal(size=sae.d_in)
            unit = (noise / np.linalg.norm(noise)).astype(np.float32)
            made = _action(len(found), scored, sae, features, strength, group, spec, "gaussian")
            found.append(replace(made, vector=unit))
    return found


def matched(
    scored: Scored, chosen: Sequence[int], features: Sequence[int], count: int, rng: np.random.Generator
) -> list[list[int]]:
    """Draw `count` sets of unrelated features, each as large as `features`, matched one to one.

    Two features match in the number of texts in which they are active, and in that number times their mean activation.
    Raises RunError where there are not enough unrelated features.
    """
    pool = np.flatnonzero((scored.q > UNRELATED) & ~np.isin(scored.ids, chosen))
    if len(pool) < len(features):
        raise RunError(
            f"{scored.sae} has {len(pool)} features with q above {UNRELATED}, too few to match {len(features)}",
            "give fewer --features, or --random 0 for no controls",
        )
    place = np.log(np.stack([scored.n_active, scored.n_active * scored.strength]) + 1e-9)
    place = (place - place[:, pool].mean(1, keepdims=True)) / (place[:, pool].std(1, keepdims=True) + 1e-9)
    sets = []
    for _ in range(count):
        free = list(pool)
        own: list[int] = []
        for row in scored.at(features):
            distance = np.abs(place[:, free] - place[:, [row]]).sum(0)
            near = np.argsort(distance, kind="stable")[:NEAREST]
            own.append(int(free.pop(int(rng.choice(near)))))
        sets.append([int(feature_id) for feature_id in scored.ids[own]])
    return sets


def _action(
    number: int,
    scored: Scored,
    sae: Sae,
    features: Sequence[int],
    strength: float,
    group: int,
    spec: SteerSpec,
    control: str | None = None,
) -> Action:
    """Make the action of `spec` on some features; `control` is their kind of control, if they are one."""
    do, value = spec.done
    rows = scored.at(features)
    mean = scored.strength[rows]
    values: tuple[float, ...] | None = None
    raises = -1.0
    if do == "clamp":
        values = tuple(float(each) for each in (mean if value is None else np.full(len(rows), value)))
        raises = 1.0 if sum(values) > 0 else -1.0
    elif do == "add":
        values, raises = tuple(float(each) for each in strength * mean), float(np.sign(strength))
    favours = float(np.sign((scored.auroc[rows] - 0.5).sum()))
    return Action(
        number,
        do or "zero",
        str(sae.hook_point),
        sae.hook_point.layer,
        control or "features",
        control is not None,
        group,
        tuple(int(feature) for feature in features),
        sae.name,
        strength=strength,
        values=values,
        expected=int(favours * raises),
        positions=spec.positions,
        seed=None if control is None else spec.seed,
    )


def held_out_texts(facts: Mapping[str, Any]) -> tuple[float, int]:
    """Return the share of texts that a run of `reward-detect` held out, and its seed."""
    share = facts.get("scores", {}).get("data", {}).get("share_to_hold_out", 0.3)
    return float(share), int(facts.get("options", {}).get("seed") or 0)
