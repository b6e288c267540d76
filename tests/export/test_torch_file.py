"""Arrays that are written piece by piece, in three formats: what a library reads back is what numpy had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from actkit.errors import RunError
from actkit.export.arrays import Array, arrays_of, write_npz, write_safetensors, written
from actkit.export.job import ExportJob
from actkit.export.torch_file import ALIGNED, save
from actkit.export.vectors import Held, contents, even, kept_rows
from actkit.runs.reader import rows_of, span
from actkit.schemas import arrow_schema

FACTS: dict[str, Any] = {
    "command": "capture",
    "model": {"name": "tiny", "revision": None, "n_layers": 4},
    "tables": {"activations": {}},
}


def array(name: str, values: Any, step: int = 2) -> Array:
    """An array that comes in pieces of so many rows."""

    def pieces() -> Iterator[Any]:
        yield from (values[at : at + step] for at in range(0, len(values), step)) if values.ndim else iter([values])

    return Array(name, values.dtype, values.shape, pieces)


RNG = np.random.default_rng(0)
MADE = {
    "a": RNG.normal(size=(5, 3)).astype(np.float32),
    "half": RNG.normal(size=(4, 2, 3)).astype(np.float16),
    "ids": np.arange(7, dtype=np.int64),
    "nothing": np.zeros((0, 3), dtype=np.float32),
}


def job(folder: Path, **about: Any) -> ExportJob:
    return ExportJob(folder, {**FACTS, **about}, folder / "out")


def test_a_dictionary_of_tensors_is_what_torch_saves(tmp_path: Path) -> None:
    arrays = [array(name, values) for name, values in MADE.items()]
    document = {
        "layers": {3: arrays[0], "half": arrays[1]},
        "ids": arrays[2],
        "nothing": arrays[3],
        "says": ["ü", None, 2.5],
    }
    shares: list[float] = []
    save(document, arrays, ExportJob(tmp_path, FACTS, tmp_path / "out", shares.append))
    found = torch.load(tmp_path / "out", weights_only=True)
    assert found["says"] == ["ü", None, 2.5] and set(found) == set(document)
    for tensor, name in (
        (found["layers"][3], "a"),
        (found["layers"]["half"], "half"),
        (found["ids"], "ids"),
        (found["nothing"], "nothing"),
    ):
        assert tensor.is_contiguous() and np.array_equal(tensor.numpy(), MADE[name])
        assert tensor.numpy().dtype == MADE[name].dtype
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_storages_begin_where_they_can_be_mapped_and_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    import zipfile

    arrays = [array(name, values) for name, values in MADE.items()]
    save({each.name: each for each in arrays}, arrays, job(tmp_path))
    first = (tmp_path / "out").read_bytes()
    with zipfile.ZipFile(tmp_path / "out") as archive:
        for number, values in enumerate(MADE.values()):
            entry = archive.getinfo(f"archive/data/{number}")
            data = values.tobytes()
            head = first[entry.header_offset + 26 : entry.header_offset + 30]
            begin = entry.header_offset + 30 + int.from_bytes(head[:2], "little") + int.from_bytes(head[2:], "little")
            assert begin % ALIGNED == 0 and first[begin : begin + len(data)] == data
    mapped = torch.load(tmp_path / "out", weights_only=True, mmap=True)
    assert np.array_equal(mapped["a"].numpy(), MADE["a"])
    save({each.name: each for each in arrays}, arrays, job(tmp_path))
    assert (tmp_path / "out").read_bytes() == first


def test_pieces_are_little_endian_whatever_they_were() -> None:
    values = np.arange(3, dtype=">i8")
    ((own, pieces),) = written([array("x", values)], ExportJob(Path(), FACTS, Path()))
    assert own.nbytes == 24 and b"".join(pieces) == np.arange(3, dtype="<i8").tobytes()


POINTS = ("blocks.2.hook_resid_post", "blocks.0.hook_resid_post")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two shards and one without rows, each hook point a row group; vectors of float16."""
    (tmp_path / "activations").mkdir()
    schema = arrow_schema("activations", pa.list_(pa.float16(), 3))
    for part, ids in enumerate(([0, 0, 2], [], [5])):
        with pq.ParquetWriter(tmp_path / "activations" / f"part-{part:05d}.parquet", schema) as writer:
            for number, point in enumerate(POINTS):
                columns = {
                    "sequence_id": ids,
                    "position": list(range(len(ids))),
                    "layer": [int(point.split(".")[1])] * len(ids),
                    "hook_point": [point] * len(ids),
                    "activation": [[part + number, at, 0.5] for at in range(len(ids))],
                }
                arrays = [
                    pa.array(np.array(columns[f.name], dtype=np.float16).tolist(), f.type)
                    if f.name == "activation"
                    else pa.array(columns[f.name], f.type)
                    for f in schema
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return tmp_path


def test_hook_points_by_layer_with_their_rows(run: Path) -> None:
    half = np.dtype(np.float16)
    assert contents(run) == [Held(POINTS[1], 0, 4, 3, half), Held(POINTS[0], 2, 4, 3, half)] == even(job(run))
    part = run / "activations" / "part-00000.parquet"
    (rows,) = rows_of(part, POINTS[0], as_stored=True)
    assert rows.sequence_ids.tolist() == [0, 0, 2] and rows.activations.dtype == np.float16
    assert rows.activations[span(rows.sequence_ids, 0)].tolist() == [[0.0, 0.0, 0.5], [0.0, 1.0, 0.5]]
    assert next(rows_of(part, POINTS[0])).activations.dtype == np.float32
    assert list(rows_of(run / "activations" / "part-00001.parquet", as_stored=True)) == []
    assert [each.tolist() for each in kept_rows(part)] == [[0, 0, 2], [0, 1, 2]]
    assert [each.tolist() for each in kept_rows(run / "activations" / "part-00001.parquet")] == [[], []]
    assert span(np.array([1, 1, 4]), 1) == slice(0, 2) and span(np.array([1, 1, 4]), 3) == slice(2, 2)


@pytest.mark.parametrize("to", ["npz", "safetensors"])
def test_a_run_as_arrays(run: Path, to: str) -> None:
    (write_npz if to == "npz" else write_safetensors)(job(run))
    found = dict(np.load(run / "out").items()) if to == "npz" else load_file(run / "out")
    assert set(found) == {"sequence_ids", "positions", *POINTS}
    assert found["sequence_ids"].tolist() == [0, 0, 2, 5] and found["positions"].tolist() == [0, 1, 2, 0]
    assert found[POINTS[1]].tolist() == [[1.0, 0.0, 0.5], [1.0, 1.0, 0.5], [1.0, 2.0, 0.5], [3.0, 0.0, 0.5]]
    assert found[POINTS[0]].dtype == np.float16


def test_vectors_that_differ_in_length_are_left_out_with_a_note(run: Path) -> None:
    schema = arrow_schema("activations", pa.list_(pa.float32()))
    rows = [[1.0], [1.0, 2.0]]
    columns = {
        "sequence_id": [0, 0],
        "position": [0, 1],
        "layer": [1, 1],
        "hook_point": ["blocks.1.attn.hook_pattern"] * 2,
        "activation": rows,
    }
    for path in (run / "activations").iterdir():
        path.unlink()
    pq.write_table(pa.table(columns, schema=schema), run / "activations" / "part-00000.parquet")
    notes: list[str] = []
    with pytest.raises(RunError, match="has no activations that fit an array"):
        even(ExportJob(run, FACTS, run / "out", note=notes.append))
    assert notes == ["blocks.1.attn.hook_pattern: left out, its vectors differ in length"]


def test_hook_points_of_different_numbers_of_rows_are_refused(run: Path) -> None:
    part = run / "activations" / "part-00002.parquet"
    with pq.ParquetFile(part) as file:
        groups = [file.read_row_group(0), file.read_row_group(1).slice(0, 0)]
    pq.write_table(pa.concat_tables(groups), part)
    with pytest.raises(RunError, match="hook points have different numbers of rows"):
        arrays_of(job(run))
