"""The memory of `score_features`: a block of columns and little for each text, however many texts there are."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.analysis.feature_tests import column_file, probes
from actkit.analysis.feature_tests import labelled as labelled_module
from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, score_features
from actkit.analysis.feature_tests.labelled import read_texts
from actkit.analysis.permutation import redraws
from actkit.runs.reader import part_of

FEW, MANY, PART = 2_000, 8_000, 500
D_SAE, ACTIVE, D_MODEL = 300, 40, 8
A_TEXT = 200
"""Bytes that a text may take: its number, label, group, weight and length, where it is held out, orders of these."""
SETTINGS = ScoreSettings(draws=200, null_draws=20)


def written(run: Path, n: int, words: int = 1) -> Path:
    """A run of `n` texts, each with ACTIVE features; rows are in parts of PART."""
    draw = np.random.default_rng(0)
    for first in range(0, n, PART):
        ids = pa.array(np.arange(first, first + PART))
        features = np.argsort(draw.random((PART, D_SAE)), axis=1)[:, :ACTIVE].astype(np.int32)
        ends = pa.array(np.arange(PART + 1, dtype=np.int32) * ACTIVE)
        values = draw.lognormal(size=(PART, ACTIVE)).astype(np.float32)
        lists = {"ids": features, "activations": values, "positions": np.zeros_like(features)}
        text = [f"{number:07d}" * words for number in range(first, first + PART)]
        tables = {
            "sequences": {
                "sequence_id": ids,
                "label": np.where(draw.random(PART) < 0.5, "positive", "negative"),
                "group": pa.nulls(PART, pa.string()),
                "score": pa.nulls(PART, pa.float64()),
                "n_kept": draw.integers(5, 50, PART),
                "n_tokens": np.full(PART, 50),
                "text": text,
                "char_offset": np.zeros(PART, dtype=np.int64),
            },
            "tokens": {
                "sequence_id": ids,
                "position": np.zeros(PART, dtype=np.int32),
                "char_start": np.zeros(PART, dtype=np.int64),
                "char_end": np.full(PART, 3),
            },
            "pooled_features": {
                "sequence_id": ids,
                "sae": ["sae"] * PART,
                **{f"feature_{what}": pa.ListArray.from_arrays(ends, matrix.ravel()) for what, matrix in lists.items()},
            },
            "pooled_activations": {
                "sequence_id": ids,
                "hook_point": ["point"] * PART,
                "activation": list(draw.normal(size=(PART, D_MODEL)).astype(np.float32)),
            },
        }
        for name, columns in tables.items():
            (run / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), run / name / f"part-{first // PART:05d}.parquet")
    return run


def peak_of(call: Callable[[], object]) -> int:
    """The most bytes that numpy and Python hold in a call; Arrow is not asked."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_scores_hold_a_block_of_columns_and_little_of_each_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((column_file, "BLOCK"), (redraws, "LABELS")):
        monkeypatch.setattr(module, name, 1 << 15)
    monkeypatch.setattr(probes, "MOST_ELEMENTS", FEW * D_MODEL)
    saes = [ScoredSae("sae", D_SAE, "point")]
    runs = [written(tmp_path / str(n), n) for n in (PART, FEW, MANY)]  # the first is there for what is imported late
    tables = set(runs[-1].iterdir())
    _, few, many = (peak_of(partial(score_features, run, saes, SETTINGS)) for run in runs)
    assert many - few < A_TEXT * (MANY - FEW)
    assert set(runs[-1].iterdir()) == tables


@pytest.mark.slow
def test_texts_are_read_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    runs = [written(tmp_path / str(n), n, words=200) for n in (PART, FEW, MANY)]
    _, few, many = (peak_of(partial(read_texts, run)) for run in runs)
    assert many - few < A_TEXT * (MANY - FEW)

    def watched(*asked: Any) -> pa.Table:
        held.append(pa.total_allocated_bytes())
        return part_of(*asked)

    monkeypatch.setattr(labelled_module, "part_of", watched)
    read_texts(runs[-1])
    # A part has 700 kB of text, all have 11 MB; Arrow's threads may free a few while the next is read.
    assert len(held) == MANY // PART and max(held) - held[0] < 5 * PART * 1400
