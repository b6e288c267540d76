"""Check that the vectors and features of a shard are in order, inside their sequences, finite and within bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actkit.hooks import D_MODEL_WIDE
from actkit.pipeline.recipe import Rules
from actkit.runs.reader import Ints, keys_of, lists_in
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.health import Encoded
from actkit.verify.tables.reading import Bools, Group, Sequences, groups_of
from actkit.verify.tables.sequences import Totals


@dataclass(frozen=True)
class Expected:
    """The bounds of values that `run.json` states."""

    hook_points: frozenset[str]
    d_model: int
    d_sae: Mapping[str, int]
    """SAE → the number of its features."""
    rules: Rules

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Expected":
        """Read the bounds from the contents of `run.json`."""
        d_sae = {sae["name"]: sae["d_sae"] for sae in facts.get("saes", ())}
        return cls(frozenset(facts["hook_points"]), facts["model"]["d_model"], d_sae, Rules.of(facts))


def check_values(
    part: Path, sequences: Sequences, expected: Expected, totals: Totals, findings: Findings
) -> frozenset[str]:
    """Check one part of vectors or features, row group by row group. Return its hook points or SAEs.

    Raises OSError or ArrowException for a part that cannot be read to its end.
    """
    dense = part.parent.name in ("activations", "pooled_activations")
    found: list[str] = []
    first: Ints | None = None
    for group in groups_of(part, sequences, findings):
        if group.name in found:
            group.says(f"{group.name} has more than one row group")
        found.append(group.name)
        keys = _check_order(group)
        if first is not None and not np.array_equal(first, keys):
            group.says(f"{group.name} has other rows than {found[0]}")
        first = keys if first is None else first
        _check_kept(group, sequences, expected, totals)
        (_check_vectors if dense else _check_features)(group, expected)
    return frozenset(found)


def _check_order(group: Group) -> Ints:
    """Check that rows ascend by sequence and position, inside their sequences; return one key for each row."""
    group.wrong(~group.known, "of no sequence of the shard")
    if group.positions is None:
        group.wrong(np.diff(group.ids, prepend=-1) <= 0, "rows are not ordered by sequence")
        return group.ids
    inside = (group.positions >= group.start) & (group.positions < group.n_tokens)
    group.wrong(group.known & ~inside, "a position outside its sequence's own")
    same = np.diff(group.ids, prepend=-1) == 0
    ascending = (np.diff(group.ids, prepend=-1) > 0) | (same & (np.diff(group.positions, prepend=-1) > 0))
    group.wrong(~ascending, "rows are not ordered by sequence and position")
    return keys_of(group.ids, group.positions)


def _check_kept(group: Group, sequences: Sequences, expected: Expected, totals: Totals) -> None:
    """Check that each sequence has `n_kept` rows, special tokens and sinks left out; count features in `totals`."""
    if group.positions is None or sequences.special is None:
        return
    plain = ~np.isin(keys_of(group.ids, group.positions), sequences.special) & group.known
    if "n_active" in group.table.column_names:
        found = totals.encoded.setdefault(group.name, Encoded.of(expected.d_sae.get(group.name, 0)))
        found.count(group, plain)
    row, _ = sequences.find(group.ids[plain])
    kept = np.bincount(row, minlength=len(sequences.ids))
    group.findings.rows(
        group.part.parent.name,
        group.part,
        kept != sequences.n_kept,
        f"{group.name} has not as many rows as n_kept says",
        lambda at: f"sequence {sequences.ids[at]}: {kept[at]}, not {sequences.n_kept[at]}",
    )


def _check_vectors(group: Group, expected: Expected) -> None:
    """Check that vectors are finite, of a hook point of the run, and of that hook point's length."""
    layer, _, name = group.name.removeprefix("blocks.").partition(".")
    if group.name not in expected.hook_points:
        group.says(f"{group.name} is not among the hook points of run.json")
    group.wrong(group.table["layer"].to_numpy().astype(str) != layer, "layer is not the hook point's")
    values, lengths = lists_in(group.table, "activation")
    width = expected.d_model if name in D_MODEL_WIDE else int(lengths[0])
    bad = lengths != width
    if bad.any() and name not in D_MODEL_WIDE and group.positions is not None:
        keys = np.maximum(group.positions, 0) + 1  # attention patterns: position + 1 numbers for each head
        bad = lengths != lengths[0] // keys[0] * keys
    group.wrong(bad, "a vector of another length")
    finite = np.isfinite(values)
    if not finite.all():
        group.wrong(group.of_rows(~finite, lengths), "NaN or infinity")


def _check_features(group: Group, expected: Expected) -> None:
    """Check lists of features: sorted, each feature once and of the SAE, above the threshold, at most `top_k`."""
    if group.name not in expected.d_sae:
        group.says(f"{group.name} is not among the SAEs of run.json")
    d_sae = expected.d_sae.get(group.name, 2**31)
    (ids, lengths), (values, others) = (lists_in(group.table, f"feature_{name}") for name in ("ids", "activations"))
    if group.wrong(lengths != others, "not as many activations as feature ids"):
        return

    def wrong(bad: Bools, what: str) -> None:
        if bad.any():
            group.wrong(group.of_rows(bad, lengths), what)

    pooled = group.positions is None
    least = np.float32(0.0 if pooled else expected.rules.threshold)
    finite = np.isfinite(values)
    wrong(~finite, "NaN or infinity")
    wrong(finite & ~(values > least), f"a feature that is not above {least:g}")
    wrong((ids < 0) | (ids >= d_sae), f"a feature id that is not below {d_sae}")
    owner = np.repeat(np.arange(len(lengths)), lengths)
    same = np.diff(owner, prepend=-1) == 0
    with np.errstate(invalid="ignore"):  # infinities have no difference
        change, next_id = np.diff(values, prepend=values[:1]), np.diff(ids, prepend=ids[:1])
    wrong(same & ((change > 0) | ((change == 0) & (next_id < 0))), "features are not sorted by activation and id")
    order = np.lexsort((ids, owner))
    twice = np.zeros(len(ids), dtype=np.bool_)
    twice[order] = (np.diff(ids[order], prepend=-1) == 0) & (np.diff(owner[order], prepend=-1) == 0)
    wrong(twice, "a feature is listed twice")
    if not pooled:
        _check_cut(group, lengths, expected)
        return
    positions, counts = lists_in(group.table, "feature_positions")
    if not group.wrong(counts != lengths, "not as many positions as feature ids"):
        outside = (positions < group.start[owner]) | (positions >= group.n_tokens[owner])
        wrong(outside & group.known[owner], "a position outside its sequence's own")


def _check_cut(group: Group, lengths: Ints, expected: Expected) -> None:
    """Check the length of lists against `n_active`, `top_k` and the threshold."""
    active = group.table["n_active"].to_numpy()
    group.wrong(active < lengths, "n_active is below the number of features listed")
    most = expected.rules.top_k
    if most is not None:
        group.wrong(lengths > most, f"more than {most} features")
    if expected.rules.threshold == 0:
        group.wrong(lengths < (active if most is None else np.minimum(active, most)), "features are left out")
