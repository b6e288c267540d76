"""Compare stored columns of tables, and figures in `run.json`, with the same computed again."""

import functools
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.feature_tests.probes import STRENGTHS
from actkit.verify.tables.findings import Findings

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
FITTED = ("feature_probes", "dense_probe")
"""Entries about probes, which are fitted step by step: `differing_probes` compares them."""
EXCHANGED, SPREAD = 2, 0.05
"""Pairs of held-out texts that may change places on another processor, and by how much more the ends of an interval may
differ."""
CLOSE = 1e-9
"""Largest relative difference of a figure: another processor may add numbers in another order."""
CLOSE_DEEP = 1e-6
"""Largest relative difference of a figure that takes many computations."""
CLOSE_VECTOR = 1e-4
"""Largest difference of a vector, as a share of its norm: directions are fitted step by step."""
NOT_COMPARED = ("url",)
"""Columns that only an SAE gives: `verify.recompute.weights` compares them."""


def differing(stated: Any, again: Any, close: float, where: str) -> Iterator[str]:
    """Describe each figure under `where` that differs from the same figure `again`: both values.

    Numbers may differ by `close` of themselves, numbers in sentences by one in their last digit. Entries that `again`
    lacks are not compared.
    """
    if isinstance(again, Mapping) and isinstance(stated, Mapping):
        for name in (name for name in again if name not in FITTED):
            if name in stated:
                yield from differing(stated[name], again[name], close, f"{where}.{name}")
            else:
                yield f"{where} has no {name}"
    elif _is_list(again) and _is_list(stated) and len(again) == len(stated):
        for number, (old, new) in enumerate(zip(stated, again, strict=True)):
            yield from differing(old, new, close, f"{where}.{number}")
    elif not _is_same(stated, again, close):
        yield f"{where} is {_short(stated)}, not {_short(again)}"


def differing_probes(stated: Mapping[str, Any], again: Mapping[str, Any], where: str) -> Iterator[str]:
    """Describe each probe of a report that differs from the same probe `again`.

    Coefficients are fitted step by step. So an AUROC may differ by `EXCHANGED` of the pairs of held-out texts, and
    another of `STRENGTHS` may be the best.
    """
    held = again["data"]["held_out"]
    allowed = 0.0 if held is None else EXCHANGED / max(held["positive"] * held["negative"], 1)
    for number, (old, new) in enumerate(zip(stated["saes"], again["saes"], strict=True)):
        found, right = (_probes(about) for about in (old, new))
        if found.keys() != right.keys():
            yield f"{where}.saes.{number} has not the probes that the shards give"
        for name in found.keys() & right.keys():
            said, probe = found[name], right[name]
            slack = {"auroc": allowed, "low": allowed + SPREAD, "high": allowed + SPREAD}
            apart = [key for key in probe if key not in said or (key not in slack and said[key] != probe[key])]
            if apart == ["strength"] and said.get("strength") in STRENGTHS:
                continue
            apart += [
                key for key, off in slack.items() if not np.isclose(said[key], probe[key], 0, off, equal_nan=True)
            ]
            if apart:
                yield f"{where}.saes.{number}.{name}.{apart[0]} is not what the shards give"


def _probes(about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name → probe, for one SAE's entry of a report."""
    features = {f"feature_probes.{size}": probe for size, probe in about.get("feature_probes", {}).items()}
    return features | ({"dense_probe": about["dense_probe"]} if "dense_probe" in about else {})


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_same(stated: Any, again: Any, close: float) -> bool:
    if isinstance(again, str) and isinstance(stated, str):
        return stated == again or _reads_alike(stated, again)
    if isinstance(again, bool) or isinstance(stated, bool) or not _is_number(again) or not _is_number(stated):
        return bool(stated == again)
    return bool(np.isclose(float(stated), float(again), rtol=close, atol=1e-9, equal_nan=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def _reads_alike(stated: str, again: str) -> bool:
    """Whether two sentences differ only in how their numbers are rounded; never for a single word, such as a name."""
    olds, news = (NUMBER.findall(text) for text in (stated, again))
    if " " not in again or NUMBER.sub("", stated) != NUMBER.sub("", again):
        return False
    steps = [10.0 ** -len(new.partition(".")[2]) for new in news]
    values = [[float(text.replace(",", "")) for text in texts] for texts in (olds, news)]
    return all(abs(old - new) <= 1.01 * step for old, new, step in zip(*values, steps, strict=True))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def compare(part: Path, stored: pa.Table, again: pa.Table, findings: Findings, close: float = CLOSE) -> None:
    """Add a problem for each column of a part that differs from the same column `again`."""
    if len(stored) != len(again):
        findings.wrong("derived", part, f"{len(stored):,} rows, but the shards give {len(again):,}")
        return
    for name in (name for name in again.column_names if name not in NOT_COMPARED):
        if name not in stored.column_names:
            findings.wrong("derived", part, f"no column {name}")
            continue
        first, second = stored[name].combine_chunks(), again[name].combine_chunks()
        place = functools.partial(_place, first, second)
        findings.rows("derived", part, _differing(first, second, close), f"{name} is not what the shards give", place)


def _differing(stored: pa.Array, again: pa.Array, close: float) -> npt.NDArray[np.bool_]:
    """[n] whether each row differs."""
    kind = stored.type
    if stored.equals(again):
        return np.zeros(len(stored), dtype=np.bool_)
    if pa.types.is_floating(kind):
        old, new = (column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in (stored, again))
        return np.asarray(~np.isclose(old, new, rtol=close, atol=1e-12, equal_nan=True), dtype=np.bool_)
    lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    vectors = lists and pa.types.is_floating(kind.value_type)
    alike = vectors and pc.list_value_length(stored).equals(pc.list_value_length(again))
    apart = _apart if alike else operator.ne
    return np.array(list(map(apart, stored.to_pylist(), again.to_pylist())), dtype=np.bool_)


def _apart(old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is not new
    first, second = (np.array(column, dtype=np.float64) for column in (old, new))
    return not float(np.linalg.norm(first - second)) <= CLOSE_VECTOR * max(float(np.linalg.norm(second)), 1e-12)


def _place(stored: pa.Array, again: pa.Array, row: int) -> str:
    return f"row {row}: {_short(stored[row].as_py())}, not {_short(again[row].as_py())}"
