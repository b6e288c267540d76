"""How fast vectors are written to Parquet and read again, layout by layout.

    python -m tests.benchmarks.layouts [--texts 200] [--rounds 3]

1. Texts are made from a seed out of the words of tests/data; `tiny` gives their residuals, one layer's as one array.
2. Each layout takes turns: the array is written as one row group, and read again as one array of that shape.
3. The medians over the rounds are printed, in megabytes (10^6 bytes) of the array a second, and the file's size. Files
   are read right after they were written, so from the page cache. What is read is checked against what was written.
4. Beside them stands `run.activations`, which reads the run's own files.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import actkit

WORDS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
KINDS = ("fixed-size list", "fixed-size binary")
CODECS: dict[str, dict[str, Any]] = {
    "none": {"compression": "none"},
    "zstd-1": {"compression": "zstd", "compression_level": 1},
    "byte-stream-split, zstd-1": {
        "compression": "zstd",
        "compression_level": 1,
        "use_byte_stream_split": True,
    },
}


HOOK_POINT = "blocks.2.hook_resid_post"


def finished_run(texts: int, folder: Path) -> actkit.Run:
    """A run of `tiny` that stores one layer."""
    words = " ".join(json.loads(line)["chosen"] for line in WORDS.read_text(encoding="utf-8").splitlines()).split()
    draw = random.Random(0)
    prompts = tuple(" ".join(draw.choices(words, k=200)) for _ in range(texts))
    dense = actkit.DenseSpec(actkit.ModelSpec("tiny", device="cpu"), actkit.OutputSpec(folder / "run"), layers="2")
    return actkit.open_run(actkit.run_capture(actkit.CaptureSpec(prompts), dense).path)


def seconds_of(call: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def column(vectors: Any, kind: str) -> pa.Array:
    """The vectors as an Arrow column, without a copy."""
    if kind == "fixed-size list":
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    wide = pa.binary(vectors.shape[1] * vectors.itemsize)
    return pa.Array.from_buffers(wide, len(vectors), [None, pa.py_buffer(vectors)])


def read(path: Path, dtype: Any) -> Any:
    """The vectors of a file, whichever layout it has."""
    with pq.ParquetFile(path) as file:
        found = file.read_row_group(0)["activation"].combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = found.chunk(0)
    if pa.types.is_fixed_size_list(found.type):
        return found.flatten().to_numpy().reshape(len(found), -1)
    return np.frombuffer(found.buffers()[1], dtype=dtype).reshape(len(found), -1)


def measured(vectors: Any, kind: str, options: dict[str, Any], path: Path) -> tuple[float, float]:
    """Seconds to write, and seconds to read."""
    start = time.perf_counter()
    table = pa.table({"activation": column(vectors, kind)})
    pq.write_table(table, path, use_dictionary=False, row_group_size=len(vectors), **options)
    written = time.perf_counter()
    found = read(path, vectors.dtype)
    done = time.perf_counter()
    assert np.array_equal(found, vectors)
    return written - start, done - written


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run, path = finished_run(options.texts, Path(name)), Path(name) / "x.parquet"
        vectors = run.activations(HOOK_POINT)
        arrays = {str(dtype): vectors.astype(dtype) for dtype in ("float32", "float16")}
        ways = [(dtype, kind, codec) for dtype in arrays for kind in KINDS for codec in CODECS]
        seconds: dict[tuple[str, ...], list[tuple[float, float]]] = {way: [] for way in ways}
        sizes = {}
        own: list[float] = []
        for _ in range(options.rounds):
            own.append(seconds_of(lambda: run.activations(HOOK_POINT)))
            for way in ways:
                seconds[way].append(measured(arrays[way[0]], way[1], CODECS[way[2]], path))
                sizes[way] = path.stat().st_size
    print(f"{len(vectors):,} vectors of {vectors.shape[1]}, {vectors.nbytes / 1e6:.0f} MB as float32\n")
    print("| number | layout | codec | write MB/s | read MB/s | size, share of the array |")
    print("|---|---|---|---|---|---|")
    for way, spent in seconds.items():
        size = arrays[way[0]].nbytes
        rates = (size / 1e6 / statistics.median(each) for each in zip(*spent, strict=True))
        print(f"| {' | '.join(way)} | {' | '.join(f'{rate:,.0f}' for rate in rates)} | {sizes[way] / size:.2f} |")
    print(f"\n`run.activations` of the run itself: {vectors.nbytes / 1e6 / statistics.median(own):,.0f} MB/s")


if __name__ == "__main__":
    main()
