"""What is written here beside a library that does nearly the same: seconds, memory, and whether the results are equal.

    python -m tests.benchmarks.libraries [--rounds 3] [--share 1.0]

1. Each way of each task is a process of its own, which makes the same input from a seed, and then is measured: seconds
   of the work alone, and how far the process's peak memory rose above what it held before.
2. Ways take turns, `--rounds` times; the least of each figure is taken. `--share 0.25` takes a quarter of each input.
3. A way says what it found, in a few numbers; where two ways of a task differ, this ends with an error.

`ijson` is no dependency; where it is not installed, its row is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.pipeline.provenance import peak_memory_mb

Way = Callable[[Path, float], tuple[Callable[[], Any], Callable[[Any], list[float]]]]
"""Makes the input, and returns the work and what is to be said of its result."""


def _part(folder: Path, share: float) -> Path:
    path, width = folder / "part.parquet", 768
    rows = int(60_000 * share)
    vectors = np.random.default_rng(0).normal(size=rows * width).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors), width)
    pq.write_table(pa.table({"activation": lists}), path, compression="none", use_dictionary=False, row_group_size=rows)
    return path


def _ends(values: Any) -> list[float]:
    return [float(len(values)), float(values[0]), float(values[-1])]


def pages(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`runs.fast_vectors`."""
    from actkit.runs.fast_vectors import vectors

    path = _part(folder, share)
    return lambda: vectors(path, pq.read_metadata(path), 0, "activation"), _ends


def pages_pyarrow(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """The same column by pyarrow."""
    path = _part(folder, share)

    def read() -> Any:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(0, columns=["activation"])["activation"].combine_chunks().flatten().to_numpy()

    return read, _ends


def _arrays(share: float) -> list[Any]:
    from actkit.export.arrays import Array

    n, width = int(60_000 * share), 768

    def pieces(layer: int) -> Any:
        random = np.random.default_rng(layer)
        for first in range(0, n, 4096):
            yield random.random((min(4096, n - first), width), dtype=np.float32)

    return [
        Array(str(number), np.dtype(np.float32), (n, width), lambda number=number: pieces(number))  # type: ignore[misc]
        for number in (0, 1)
    ]


def _loaded(path: Path) -> list[float]:
    import torch

    found = torch.load(path, weights_only=True, mmap=True)
    return [float(column[-1, -1]) for column in found.values()] + [float(len(column)) for column in found.values()]


def tensors(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`export.torch_file`."""
    from actkit.export.job import ExportJob
    from actkit.export.torch_file import save

    arrays, path = _arrays(share), folder / "x.pt"

    def work() -> Path:
        save({array.name: array for array in arrays}, arrays, ExportJob(folder, {}, path))
        return path

    return work, _loaded


def tensors_torch(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`torch.save` of tensors over memory-mapped files, which are written first."""
    import torch

    arrays, path = _arrays(share), folder / "x.pt"

    def work() -> Path:
        made = {}
        for array in arrays:
            mapped = np.memmap(folder / array.name, array.dtype, "w+", shape=array.shape)
            done = 0
            for piece in array.pieces():
                mapped[done : done + len(piece)] = piece
                done += len(piece)
            made[array.name] = torch.from_numpy(mapped)
        torch.save(made, path)
        return path

    return work, _loaded


def _texts(share: float) -> tuple[int, int, Callable[[], Any]]:
    n_rows, n_columns, per_row = int(20_000 * share), 16_384, 400

    def parts() -> Any:
        random = np.random.default_rng(0)
        for first in range(0, n_rows, 1000):
            rows = np.repeat(np.arange(first, min(first + 1000, n_rows)), per_row)
            ids = np.tile(np.arange(per_row) * 40, len(rows) // per_row) + random.integers(0, 40, len(rows))
            yield rows, ids, random.random(len(rows), dtype=np.float32) + 0.1

    return n_rows, n_columns, parts


def columns(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`feature_tests.column_file`, over `analysis.columns` and `analysis.scratch_file`."""
    from actkit.analysis.feature_tests.column_file import ColumnFile

    n_rows, n_columns, parts = _texts(share)

    def work() -> list[float]:
        with closing(ColumnFile(parts, n_rows, n_columns, folder)) as file:
            return [float(np.sum(block.values, dtype=np.float64)) for _, block in file.blocks()]

    return work, lambda sums: [round(sum(sums), 2)]


def columns_scipy(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """scipy.sparse: coordinates on `np.memmap`, then `tocsc`."""
    from scipy.sparse import coo_matrix

    n_rows, n_columns, parts = _texts(share)

    def work() -> Any:
        nnz = sum(len(rows) for rows, _, _ in parts())
        made = [
            np.memmap(folder / name, kind, "w+", shape=(nnz,))
            for name, kind in zip("rcv", ("i4", "i4", "f4"), strict=True)
        ]
        done = 0
        for part in parts():
            for target, values in zip(made, part, strict=True):
                target[done : done + len(values)] = values
            done += len(part[0])
        found = coo_matrix((made[2], (made[0], made[1])), shape=(n_rows, n_columns)).tocsc()
        return [float(found.data.sum(dtype=np.float64))]

    return work, lambda sums: [round(sum(sums), 2)]


def _array(folder: Path, share: float) -> Path:
    path = folder / "records.json"
    record = {"prompt": "Why is the sky blue? " * 20, "response": "Because é… " * 30, "n": 1.5, "tags": ["a", "b"]}
    with path.open("w", encoding="utf-8") as file:
        file.write("[" + ",\n".join(json.dumps({**record, "id": n}) for n in range(int(40_000 * share))) + "]")
    return path


def values(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`pipeline.input.json_stream`."""
    from actkit.pipeline.input.reader import read_records

    path = str(_array(folder, share))
    return lambda: sum(record.value["id"] for record in read_records(path)), lambda total: [float(total)]  # type: ignore[union-attr]


def values_ijson(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """ijson, its fastest backend."""
    import ijson

    path = _array(folder, share)

    def work() -> int:
        with path.open("rb") as file:
            return sum(row["id"] for row in ijson.items(file, "item", use_float=True))

    return work, lambda total: [float(total)]


def locks(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`runs.lock`."""
    from actkit.runs.lock import locked

    def work() -> int:
        for _ in range(n := int(1000 * share)):
            with locked(folder):
                pass
        return n

    return work, lambda n: [float(n)]


def locks_filelock(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """filelock."""
    from filelock import FileLock

    def work() -> int:
        for _ in range(n := int(1000 * share)):
            with FileLock(folder / "lock"):
                pass
        return n

    return work, lambda n: [float(n)]


def _pairs(share: float) -> tuple[Any, int]:
    random = np.random.default_rng(0)
    return random.normal(size=(2, 96, 576)) + np.array([[[0.2]], [[-0.2]]]), max(int(100 * share), 2)


def regressions(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """`concepts.logistic_direction`: the refits of one layer, sides exchanged at random."""
    from actkit.analysis.concepts.logistic_direction import exchanged
    from actkit.analysis.concepts.paired import Paired

    sides, count = _pairs(share)
    kept = np.random.default_rng(1).random((96, count)) < 0.5
    pairs = Paired(sides[0], sides[1], np.arange(96), np.zeros(96, dtype=np.int64))
    return lambda: exchanged(pairs, lambda here: kept[here], count, 1e-2), _directions


def regressions_sklearn(folder: Path, share: float) -> tuple[Callable[[], Any], Callable[[Any], list[float]]]:
    """scikit-learn's LogisticRegression, one refit at a time."""
    from sklearn.linear_model import LogisticRegression

    sides, count = _pairs(share)
    kept = np.random.default_rng(1).random((96, count)) < 0.5
    both = np.concatenate([sides[0], sides[1]])
    spread = both.std(0)
    x = (both - both.mean(0)) / spread

    def work() -> Any:
        found = []
        for refit in kept.T:
            y = np.concatenate([refit, ~refit])
            model = LogisticRegression(C=1e-2, tol=1e-8, max_iter=1000).fit(x, y)
            found.append(model.coef_[0] / spread)
        return np.array(found)

    return work, _directions


def _directions(weights: Any) -> list[float]:
    units = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return [round(float(number), 2) for number in units[:2, :3].ravel()]


TASKS: dict[str, tuple[Way, Way]] = {
    "60,000 vectors out of Parquet": (pages, pages_pyarrow),
    "a .pt file of 370 MB": (tensors, tensors_torch),
    "8 million nonzeros by column": (columns, columns_scipy),
    "a JSON array of 40,000 records": (values, values_ijson),
    "1,000 times a lock": (locks, locks_filelock),
    "100 logistic regressions": (regressions, regressions_sklearn),
}


def measured(way: str, share: float) -> None:
    """One way, in this process: prints its figures as JSON."""
    both = {task.__name__: task for pair in TASKS.values() for task in pair}
    with tempfile.TemporaryDirectory(prefix="actkit-bench-") as name:
        work, about = both[way](Path(name), share)
        before = peak_memory_mb() or 0.0
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        print(json.dumps([seconds, (peak_memory_mb() or 0.0) - before, about(result)]))


def compared(task: str, rounds: int, share: float) -> list[tuple[str, float, float]]:
    """Each way of a task: what it is, least seconds, least MB. Raises ValueError where their results differ."""
    least: dict[str, list[float]] = {}
    said: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way in TASKS[task]:
            call = [sys.executable, "-m", "tests.benchmarks.libraries", "--way", way.__name__, "--share", str(share)]
            done = subprocess.run(
                call, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            if done.returncode and "No module named 'ijson'" in done.stderr:
                continue
            if done.returncode:
                raise ValueError(f"{way.__name__}: {done.stderr[-2000:]}")
            seconds, mb, said[way.__name__] = json.loads(done.stdout)
            old = least.get(way.__name__, [seconds, mb])
            least[way.__name__] = [min(seconds, old[0]), min(mb, old[1])]
    if any(not np.allclose(numbers, next(iter(said.values())), rtol=1e-6) for numbers in said.values()):
        raise ValueError(f"{task}: the ways differ: {said}")
    names = {way.__name__: " ".join((way.__doc__ or "").split()).rstrip(".") for way in TASKS[task]}
    return [(names[way], *least[way]) for way in least]  # type: ignore[misc]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--way")
    asked = parser.parse_args()
    if asked.way:
        measured(asked.way, asked.share)
        return
    print("| task | way | seconds | MB more |\n|---|---|---|---|")
    for task in TASKS:
        for way, seconds, mb in compared(task, asked.rounds, asked.share):
            print(f"| {task} | {way} | {seconds:.2f} | {mb:.0f} |", flush=True)


if __name__ == "__main__":
    main()
