"""Memory that runs out: smaller batches, the same rows; what does not fit alone is rejected, nothing of it is left."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_letters
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from actkit.backends import describe, load
from actkit.backends.saes.sae import Sae
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec
from actkit.errors import InputError, ModelError, RunError
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.forward.out_of_memory import is_out_of_memory
from actkit.pipeline.recipe import Finished, Job
from actkit.recipes import capture, dpo, feature_dataset
from actkit.recipes.runner import ingredients
from actkit.recipes.saes import load_saes
from tests.pipeline.wrapped import Wrapped

PAIRS = str(Path(__file__).parents[2] / "data" / "pairs.jsonl")
POINT = HookPoint(2, "hook_resid_post")

_loaded: list[Any] = []


@pytest.fixture(autouse=True)
def no_fixed_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests count forward passes: of the text by which sinks are known there is none."""
    monkeypatch.setattr(sys.modules[extract.__module__], "sink_norms", lambda *_: {})


@dataclass
class Limited(Wrapped):
    """A model that has no memory for more than `most` tokens at once; it says so as `error` does."""

    most: int
    error: Callable[[], Exception] = lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    fails_at: int = -1
    """Or: that fails at the n-th forward pass, and only there."""
    widths: list[tuple[int, ...]] = field(default_factory=list)
    """The shapes of the batches that were run."""
    asked: int = 0

    def run(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: Any, taps: Mapping[str, Any]) -> None:
        self.asked += 1
        if input_ids.numel() > self.most or self.asked == self.fails_at:
            raise self.error()
        self.widths.append(tuple(input_ids.shape))
        super().run(input_ids, positions, tree, taps)


def model(most: int = 10**9, **more: Any) -> Limited:
    if not _loaded:
        _loaded.append(load(describe(ModelSpec(device="cpu")), [POINT]))
        _loaded.append(load_saes([SaeSpec("tiny", "blocks.2.hook_resid_post")], "cpu"))
    return Limited(_loaded[0], most, **more)


def run(limited: Limited, out: Path, lengths: list[int], saes: list[Sae] | None = None, **output: Any) -> Finished:
    about = limited.description
    saes = saes or _loaded[1]
    # Each begins with a letter of its own, given by its length, so that none is another's beginning.
    again = [length in lengths[:number] for number, length in enumerate(lengths)]
    first = [
        ascii_letters[30 + length % 22 if twice else length - 1] for length, twice in zip(lengths, again, strict=True)
    ]
    spec = capture.CaptureSpec(prompts=tuple(a + " a" * (n - 1) for a, n in zip(first, lengths, strict=True)))
    made = replace(ingredients(about, saes, [POINT]), top_k=5)
    batch = BatchSpec(batch_tokens=64, shard_sequences=5)
    return extract(Job(capture.recipe(spec, made), limited, [POINT], OutputSpec(out, **output), batch))


def check_same_rows(first: Path, second: Path, without: tuple[int, ...] = ()) -> None:
    """Order and ids exactly, numbers to rounding; but for the records `without`."""
    sequences = pd.read_parquet(first / "sequences")
    gone = set(sequences["sequence_id"][sequences["record_id"].isin(without)])
    for table, vector in (("activations", "activation"), ("features", "feature_activations"), ("tokens", None)):
        left, right = pd.read_parquet(first / table), pd.read_parquet(second / table)
        left = left[~left["sequence_id"].isin(gone)].reset_index(drop=True)
        pd.testing.assert_frame_equal(left.drop(columns=vector or []), right.drop(columns=vector or []))
        if vector is not None:
            np.testing.assert_allclose(
                np.concatenate(left[vector].to_list()), np.concatenate(right[vector].to_list()), rtol=1e-4, atol=1e-4
            )
    left, right = sequences, pd.read_parquet(second / "sequences")
    pd.testing.assert_frame_equal(left[~left["record_id"].isin(without)].reset_index(drop=True), right)


LENGTHS = [3, 20, 7, 7, 12, 20, 4, 16, 9, 9, 2, 30, 6]


@pytest.mark.slow
def test_out_of_memory_at_any_batch_changes_no_row(tmp_path: Path) -> None:
    whole = run(first := model(), tmp_path / "whole", LENGTHS)
    n_batches = first.asked
    assert n_batches >= 6
    halved = 0
    for at in range(1, n_batches + 1):
        if first.widths[at - 1][0] == 1:
            continue
        halved += 1
        finished = run(model(fails_at=at), tmp_path / f"at-{at}", LENGTHS)
        check_same_rows(whole.path, finished.path)
        assert finished.facts["counts"] == whole.facts["counts"]
        rows, width = first.widths[at - 1]
        assert finished.facts["batch_tokens_used"] == rows // 2 * width < 64
        assert finished.facts["notes"] == [
            f"out of memory with a batch of {rows} × {width} tokens; going on with --batch-tokens {rows // 2 * width}"
        ]
    assert halved >= 4


def test_the_smaller_budget_is_remembered(tmp_path: Path) -> None:
    """A batch that did not fit is not tried again, in no later shard either."""
    limited = model(most=32)
    finished = run(limited, tmp_path / "run", LENGTHS)
    budget = finished.facts["batch_tokens_used"]
    assert budget <= 32 and limited.asked - len(limited.widths) <= 2
    assert all(rows * width <= max(budget, width) for rows, width in limited.widths)
    assert len(pd.read_parquet(finished.path / "sequences")) == len(LENGTHS)


@pytest.mark.slow
def test_the_smaller_budget_is_remembered_when_the_run_is_continued(tmp_path: Path) -> None:
    class Stops(Limited):
        def run(self, *arguments: Any) -> None:
            if len(self.widths) == 8:
                raise KeyboardInterrupt
            super().run(*arguments)

    model()
    with pytest.raises(KeyboardInterrupt):
        run(Stops(_loaded[0], 32), tmp_path / "run", LENGTHS)
    limited = model(most=32)
    finished = run(limited, tmp_path / "run", LENGTHS, resume=True)
    assert limited.asked == len(limited.widths)
    assert finished.facts["batch_tokens_used"] <= 32 and len(finished.facts["notes"]) >= 1
    check_same_rows(run(model(), tmp_path / "whole", LENGTHS).path, finished.path)


@pytest.mark.slow
def test_what_does_not_fit_alone_is_rejected_with_the_reason(tmp_path: Path) -> None:
    whole = run(model(), tmp_path / "whole", LENGTHS)
    finished = run(model(most=18), tmp_path / "run", LENGTHS)
    too_long = tuple(index for index, length in enumerate(LENGTHS) if length > 17)  # and BOS
    assert too_long == (1, 5, 11)
    check_same_rows(whole.path, finished.path, without=too_long)
    rejected = pd.read_parquet(finished.path / "rejected")
    assert rejected["record_id"].tolist() == list(too_long)
    assert rejected["reason"].tolist() == [f"out of memory with {LENGTHS[index] + 1} tokens" for index in too_long]
    counts = finished.facts["counts"]
    assert (counts["read"], counts["written"], counts["rejected"], counts["sequences"]) == (13, 10, 3, 10)
    kept = [length for index, length in enumerate(LENGTHS) if index not in too_long]
    assert counts["tokens"] == sum(kept) + len(kept) == len(pd.read_parquet(finished.path / "tokens"))


@pytest.mark.slow
def test_the_health_is_that_of_what_was_kept(tmp_path: Path) -> None:
    """Nothing of a rejected record is left in it, nor of a batch that was run twice."""
    fits = [length for length in LENGTHS if length <= 17]
    expected = run(model(), tmp_path / "fits", fits).facts["health"][0]
    found = run(model(most=18), tmp_path / "run", LENGTHS).facts["health"][0]
    assert {key: pytest.approx(value, rel=1e-6) for key, value in expected.items() if isinstance(value, float)} == {
        key: value for key, value in found.items() if isinstance(value, float)
    }
    assert found["n_tokens"] == expected["n_tokens"] == sum(fits)
    assert found["longest_context"] == expected["longest_context"]


@pytest.mark.slow
def test_memory_that_runs_out_while_reducing_is_the_same(tmp_path: Path) -> None:
    """The health, which is counted there, counts each token once."""
    fits = [length for length in LENGTHS if length < 25]
    expected = run(model(), tmp_path / "expected", fits)
    sae: Sae = _loaded[1][0]
    large = []

    def reconstruct(x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if len(x) > 25:
            large.append(len(x))
            raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")
        return sae.reconstruct(x, features)

    finished = run(model(), tmp_path / "run", fits, [replace(sae, reconstruct=reconstruct)])
    assert large
    check_same_rows(expected.path, finished.path)
    for name in ("n_tokens", "l0", "dead_fraction"):
        assert finished.facts["health"][0][name] == expected.facts["health"][0][name]


def test_a_document_of_many_chunks_is_rejected_whole(tmp_path: Path) -> None:
    model()
    about, saes = _loaded[0].description, _loaded[1]
    texts = ["a b c", " ".join(f"w{number}" for number in range(60)), "d e"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    spec = feature_dataset.FeatureDatasetSpec(str(tmp_path / "in.jsonl"), context_size=16)
    recipe = feature_dataset.recipe(spec, ingredients(about, saes))
    finished = extract(Job(recipe, model(most=15), [POINT], OutputSpec(tmp_path / "run"), BatchSpec(32)))
    assert pd.read_parquet(finished.path / "sequences")["record_id"].tolist() == [0, 2]
    assert pd.read_parquet(finished.path / "rejected")["record_id"].tolist() == [1]
    assert finished.facts["documents"] == {"context_size": 16, "chunked_documents": 0, "chunks": 2}
    assert finished.facts["health"][0]["n_tokens"] == len(pd.read_parquet(finished.path / "tokens")) - 2  # BOS


@pytest.mark.slow
def test_a_pair_that_fits_only_side_by_side_is_run_so(tmp_path: Path) -> None:
    """As a tree it is one long row; its two sides, each with what they share, are shorter."""

    def run_dpo(limited: Limited, out: Path) -> Finished:
        recipe = dpo.recipe(dpo.DpoSpec(PAIRS), ingredients(limited.description, points=[POINT]))
        return extract(Job(recipe, limited, [POINT], OutputSpec(out, max_records=8), BatchSpec(256)))

    whole = run_dpo(first := model(), tmp_path / "whole")
    longest_tree = max(width for _, width in first.widths)
    sequences = pd.read_parquet(whole.path / "sequences")
    longest_path = int(sequences["n_tokens"].max())
    assert longest_path < longest_tree
    finished = run_dpo(model(most=longest_path), tmp_path / "run")
    assert finished.facts["counts"] == whole.facts["counts"]
    left, right = (pd.read_parquet(run.path / "activations") for run in (whole, finished))
    pd.testing.assert_frame_equal(left.drop(columns="activation"), right.drop(columns="activation"))
    np.testing.assert_allclose(np.stack(left["activation"]), np.stack(right["activation"]), rtol=1e-4, atol=1e-4)
    rejecting = run_dpo(model(most=longest_path - 1), tmp_path / "less")
    rejected = sequences[sequences["n_tokens"] == longest_path]["record_id"].unique().tolist()
    assert pd.read_parquet(rejecting.path / "rejected")["record_id"].tolist()[-1:] == rejected[-1:]
    assert len(pd.read_parquet(rejecting.path / "pairs")) == rejecting.facts["counts"]["written"]
    assert not set(pd.read_parquet(rejecting.path / "pairs")["record_id"]) & set(rejected)


def test_memory_that_something_else_takes_ends_the_run_and_rejects_nothing(tmp_path: Path) -> None:
    class Squeezed(Limited):
        def run(self, *arguments: Any) -> None:
            if len(self.widths) >= 3:
                self.most = 1
            super().run(*arguments)

    model()
    with pytest.raises(ModelError, match="although 31 did fit before") as caught:
        run(Squeezed(_loaded[0], 100), tmp_path / "run", [30, *LENGTHS])
    assert "--resume" in caught.value.hint
    finished = run(model(), tmp_path / "run", [30, *LENGTHS], resume=True)
    assert finished.facts["counts"]["rejected"] == 0


def test_where_nothing_fits_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing was kept of 2 records: .*out of memory with \d tokens"):
        run(model(most=1), tmp_path / "run", [3, 4])
    with pytest.raises(InputError, match="out of memory with 5 tokens"):
        run(model(most=1), tmp_path / "run", [3, 4], on_bad_record="fail")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
