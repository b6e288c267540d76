"""The whole loop on real models: the same numbers whatever the batches, every record once, nothing wrong written."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actkit.backends import Model, describe, load
from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.errors import InputError, NonFiniteError, RunError
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Job
from actkit.pipeline.shards import gather as shards
from actkit.recipes import capture, dpo
from actkit.recipes.runner import ingredients
from actkit.schemas import SCHEMA_VERSION
from actkit.verify.tables.run import verify
from tests.conftest import relative_error
from tests.pipeline.wrapped import Wrapped

PAIRS = str(Path(__file__).parent.parent / "data" / "pairs.jsonl")
RESID = tuple(HookPoint(layer, "hook_resid_post") for layer in range(3))
ModelDir = Callable[[str], Path]
SPEC = ModelSpec(device="cpu")


def run_dpo(model: Model, out: Path, batch: BatchSpec = BatchSpec(), **more: Any) -> Finished:
    output = OutputSpec(out, **{"max_records": 12, **more})
    made = ingredients(model.description, points=RESID, store_dtype=output.store_dtype)
    return extract(Job(dpo.recipe(dpo.DpoSpec(PAIRS), made), model, RESID, output, batch))


def run_capture(
    model: Model, out: Path, spec: capture.CaptureSpec, batch: BatchSpec = BatchSpec(), **more: Any
) -> Finished:
    output = OutputSpec(out, **more)
    made = ingredients(model.description, points=RESID, store_dtype=output.store_dtype)
    return extract(Job(capture.recipe(spec, made), model, RESID, output, batch))


def loaded(name: str, **more: Any) -> Model:
    return load(describe(replace(SPEC, name=name, **more)), RESID)


def vectors(run: Path) -> tuple[pd.DataFrame, torch.Tensor]:
    table = pd.read_parquet(run / "activations")
    return table.drop(columns="activation"), torch.tensor(np.stack(table["activation"].to_list()))


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["tiny", "llama", "gemma2", "bloom"])
def test_rows_do_not_depend_on_batches_or_shards(name: str, tmp_path: Path, model_dir: ModelDir) -> None:
    """Whatever --batch-tokens and the size of shards: ids and order exactly the same, numbers to 1e-5 (TRAPS 2)."""
    model = loaded(name if name == "tiny" else str(model_dir(name)))
    first = run_dpo(model, tmp_path / "a")
    # max_length of the random models is beyond their pairs' byte-level lengths for llama and the like.
    assert first.facts["counts"]["written"] >= 8
    keys, numbers = vectors(first.path)
    others = {
        "one row a batch": BatchSpec(1),
        "some": BatchSpec(300, shard_sequences=7),
        "small": BatchSpec(4096, 4096, 1),
    }
    for label, batch in others.items():
        other = run_dpo(model, tmp_path / label, batch)
        other_keys, other_numbers = vectors(other.path)
        order = ["sequence_id", "layer", "position"]
        left, right = keys.sort_values(order), other_keys.sort_values(order)
        assert (left[order].to_numpy() == right[order].to_numpy()).all(), label
        assert relative_error(other_numbers[right.index.to_list()], numbers[left.index.to_list()]) <= 1e-5, label
    with pq.ParquetFile(first.path / "activations/part-00000.parquet") as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, ["sequence_id", "position", "hook_point"]).to_pandas()
            assert table["hook_point"].nunique() == 1
            assert table[["sequence_id", "position"]].apply(tuple, axis=1).is_monotonic_increasing


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", ["tiny", "gemma2", "bloom"])
def test_numbers_are_those_of_the_plain_model_unbatched(name: str, tmp_path: Path, model_dir: ModelDir) -> None:
    """Every stored vector, shared prefixes and all, equals Hugging Face run on the whole text alone (TRAPS 7)."""
    model = loaded(name if name == "tiny" else str(model_dir(name)))
    run = run_dpo(model, tmp_path / "run").path
    sequences = pd.read_parquet(run / "sequences").set_index("sequence_id")
    tokens = pd.read_parquet(run / "tokens")
    keys, numbers = vectors(run)
    for number, row in sequences[sequences["side"] != "shared"].iterrows():
        path = tokens[tokens["sequence_id"].isin([number, row["parent_id"]])].sort_values("position")
        assert path["position"].tolist() == list(range(row["n_tokens"]))
        with torch.inference_mode():
            ids = torch.tensor(path["token_id"].to_numpy()[None]).long()
            hidden = model.module(ids, output_hidden_states=True).hidden_states
        for layer in range(2):
            own = keys[(keys["sequence_id"].isin([number, row["parent_id"]])) & (keys["layer"] == layer)]
            own = own.sort_values("position")
            assert relative_error(numbers[own.index.to_list()], hidden[layer + 1][0]) <= 1e-5


def test_texts_are_what_was_tokenized(tmp_path: Path) -> None:
    """Each token's span, cut out of its sequence's text, is the token."""
    run = run_dpo(loaded("tiny"), tmp_path / "run").path
    texts = pd.read_parquet(run / "sequences").set_index("sequence_id")["text"]
    tokens = pd.read_parquet(run / "tokens")
    whole = tokens[~tokens["token"].str.contains("\ufffd")]
    assert len(whole) > 0.95 * len(tokens)
    for row in whole.itertuples():
        assert texts[row.sequence_id][row.char_start : row.char_end] == row.token


def test_every_table_reads_with_pandas_polars_and_duckdb(tmp_path: Path) -> None:
    import duckdb
    import polars as pl

    run = run_dpo(loaded("tiny"), tmp_path / "run", BatchSpec(shard_sequences=9)).path
    folder = run / "activations"
    assert len(list(folder.iterdir())) > 1
    frame = pd.read_parquet(folder)
    vector = frame["activation"].iloc[0]
    assert vector.shape == (192,) and vector.dtype == np.float32
    lazy = pl.read_parquet(folder)
    assert lazy.shape == frame.shape and lazy["activation"][0].to_list() == vector.tolist()
    query = f"select count(*), max(len(activation)) from read_parquet('{folder}/*.parquet') where layer = 1"
    assert duckdb.sql(query).fetchall()[0] == (int((frame["layer"] == 1).sum()), 192)
    metadata = pq.read_schema(next(folder.iterdir())).metadata
    assert metadata[b"actkit.model"] == b"tiny" and metadata[b"actkit.command"] == b"dpo"
    assert metadata[b"actkit.revision"].startswith(b"sha256:")
    assert metadata[b"actkit.schema_version"] == str(SCHEMA_VERSION).encode()


records = st.lists(
    st.one_of(
        st.builds(lambda text: json.dumps({"prompt": text}), st.text(min_size=1, max_size=20)),
        st.sampled_from(
            ["", "{", "[]", '{"prompt": ""}', '{"prompt": 3}', '{"other": "x"}', '"text"', '{"prompt": "same"}']
        ),
    ),
    min_size=1,
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=records, shard=st.integers(1, 5))
def test_every_record_is_written_or_rejected_once(lines: list[str], shard: int, tmp_path_factory: Any) -> None:
    """Duplicates, empties and bad lines included, whatever the shards: nothing lost, nothing repeated (TRAPS 26)."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = capture.CaptureSpec(path=str(folder / "in.jsonl"))
    try:
        finished = run_capture(_tiny(), folder / "run", spec, BatchSpec(64, shard_sequences=shard))
    except RunError as error:
        assert f"nothing was kept of {len(lines)} record" in error.message
        assert not list(folder.glob("run*"))
        return
    counts = finished.facts["counts"]
    written = pd.read_parquet(finished.path / "sequences")["record_id"].tolist()
    rejected = pd.read_parquet(finished.path / "rejected")["record_id"].tolist()
    assert sorted(written + rejected) == list(range(len(lines)))
    assert written == sorted(written)
    assert counts["read"] == len(lines) == counts["written"] + counts["rejected"]
    assert (counts["written"], counts["rejected"]) == (len(written), len(rejected))
    assert len(list((finished.path / "sequences").iterdir())) == -(-len(written) // shard)


_loaded: list[Model] = []


def _tiny() -> Model:
    if not _loaded:
        _loaded.append(loaded("tiny"))
    return _loaded[0]


@dataclass
class Changed(Wrapped):
    """A model whose last tensor has `value` put into one place: row 0, column 3."""

    value: float

    shares_prefixes = False

    def run(self, input_ids: torch.Tensor, positions: torch.Tensor, tree: Any, taps: Mapping[str, Any]) -> None:
        def changed(name: str, tap: Any) -> Any:
            def serve(tensor: torch.Tensor) -> None:
                if name == "blocks.1.hook_resid_post":
                    tensor = tensor.clone()
                    tensor[0, 3, 5] = self.value
                tap(tensor)

            return serve

        super().run(input_ids, positions, tree, {name: changed(name, tap) for name, tap in taps.items()})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_never_written(value: float, tmp_path: Path) -> None:
    """The error names record, hook point and position."""
    spec = capture.CaptureSpec(prompts=("short", "a rather longer prompt than the other"))
    with pytest.raises(NonFiniteError, match=r"--prompt:2: .* at blocks\.1\.hook_resid_post, position 3"):
        run_capture(Changed(_tiny(), value), tmp_path / "run", spec)


def test_float16_that_would_overflow_is_refused(tmp_path: Path) -> None:
    """float16 ends at 65,504 and residuals go past it (TRAPS 28)."""
    spec = capture.CaptureSpec(prompts=("a prompt of some length",))
    with pytest.raises(NonFiniteError, match=r"70000 at blocks\.1\.hook_resid_post, position 3 does not fit"):
        run_capture(Changed(_tiny(), 70000.0), tmp_path / "run", spec, store_dtype="float16")
    run_capture(Changed(_tiny(), 70000.0), tmp_path / "run", spec)
    half = run_capture(_tiny(), tmp_path / "half", spec, store_dtype="float16")
    whole = run_capture(_tiny(), tmp_path / "whole", spec)
    assert pd.read_parquet(half.path / "activations")["activation"][0].dtype == np.float16
    assert relative_error(vectors(half.path)[1].float(), vectors(whole.path)[1]) < 1e-3


def test_bfloat16_is_stored_without_loss(tmp_path: Path) -> None:
    """numpy and Parquet have no bfloat16: every value is one all the same, in float32 (TRAPS 28)."""
    spec = capture.CaptureSpec(prompts=("a prompt of some length",))
    run = run_capture(loaded("tiny", dtype="bfloat16"), tmp_path / "run", spec)
    numbers = vectors(run.path)[1]
    assert numbers.dtype == torch.float32
    assert torch.equal(numbers, numbers.bfloat16().float())
    assert not torch.equal(numbers, vectors(run_capture(_tiny(), tmp_path / "exact", spec).path)[1])


def test_a_failure_leaves_finished_shards_and_no_finished_run(tmp_path: Path) -> None:
    """The directory gets its name only when everything is in it."""
    spec = capture.CaptureSpec(prompts=tuple(f"prompt number {index} of several" for index in range(6)))

    class Fails(Changed):
        def run(self, input_ids: torch.Tensor, *rest: Any) -> None:
            calls.append(1)
            if len(calls) > 3:
                raise NonFiniteError("as told", sequence_id=3)
            self.inner.run(input_ids, *rest)

    calls: list[int] = []
    with pytest.raises(NonFiniteError):
        run_capture(Fails(_tiny(), 0.0), tmp_path / "run", spec, BatchSpec(4096, shard_sequences=1))
    assert not (tmp_path / "run").exists()
    partial = tmp_path / "run.partial"
    parts = sorted(path.name for path in (partial / "activations").iterdir())
    assert parts[:2] == ["part-00000.parquet", "part-00001.parquet"]
    assert not list(partial.rglob("*.tmp"))
    with pytest.raises(RunError, match="unfinished run"):
        run_capture(_tiny(), tmp_path / "run", spec)
    run_capture(_tiny(), tmp_path / "run", spec, overwrite=True)
    assert (tmp_path / "run").exists() and not partial.exists()


def test_a_directory_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "run" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years")
    with pytest.raises(RunError, match="thesis.tex, which is not actkit's"):
        run_capture(_tiny(), tmp_path / "run", capture.CaptureSpec(prompts=("x",)), overwrite=True)
    assert precious.read_text() == "years"


def test_two_runs_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """In float32 on a CPU a run can be repeated exactly."""
    runs = [run_dpo(_tiny(), tmp_path / name).path for name in ("a", "b")]
    files = [sorted(path.relative_to(run) for path in run.rglob("*.parquet")) for run in runs]
    assert files[0] == files[1]
    for name in files[0]:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


def test_a_bad_record_can_be_fatal(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "fine"}\n{"prompt": ""}\n')
    spec = capture.CaptureSpec(path=str(tmp_path / "in.jsonl"))
    with pytest.raises(InputError, match=r"in\.jsonl:2: empty|in\.jsonl:2, field"):
        run_capture(_tiny(), tmp_path / "run", spec, on_bad_record="fail")


def test_input_is_read_as_a_stream(tmp_path: Path) -> None:
    """Records are asked for one by one and shards leave memory: the reader is never far ahead (TRAPS 29)."""
    spec = capture.CaptureSpec(prompts=tuple("abcdefghij"))
    recipe = capture.recipe(spec, ingredients(_tiny().description, points=RESID))
    read: list[int] = []
    seen: list[int] = []

    def records() -> Iterator[Any]:
        for record in recipe.records():
            read.append(record.record_id)
            yield record

    output, batch = OutputSpec(tmp_path / "run"), BatchSpec(shard_sequences=2)
    job = Job(replace(recipe, records=records), _tiny(), RESID, output, batch)
    extract(job, lambda progress: seen.append(progress.read))
    assert read == list(range(10))
    assert seen[:2] == [0, 3]  # said at the beginning; the first shard was computed when the third record had been read


@pytest.mark.quick(1)
@pytest.mark.parametrize("lines", ["a\n" + "\n" * 11, "\n" * 7 + "a\n" + "\n" * 5 + "b\nc\n", "\n" * 6 + "a\n"])
def test_rejected_records_do_not_pile_up_in_one_shard(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.txt").write_text(lines, encoding="utf-8")
    spec = capture.CaptureSpec(path=str(tmp_path / "p.txt"))
    model = loaded("tiny")
    whole = run_capture(model, tmp_path / "whole", spec)
    monkeypatch.setattr(shards, "MOST_REJECTED", 3)
    cut = run_capture(model, tmp_path / "cut", spec)
    for part in (tmp_path / "cut" / "rejected").glob("*.parquet"):
        assert len(pd.read_parquet(part)) <= 3
    assert cut.facts["counts"] == whole.facts["counts"]
    for table in whole.facts["tables"]:
        mine, other = (pd.read_parquet(run.path / table) for run in (whole, cut))
        if table == "activations":  # each shard has its hook points one after another
            keys = ["hook_point", "sequence_id", "position"]
            mine, other = (each.sort_values(keys, ignore_index=True) for each in (mine, other))
        pd.testing.assert_frame_equal(mine, other, atol=1e-5)  # another shard is another batch
    assert not verify(cut.path).problems
