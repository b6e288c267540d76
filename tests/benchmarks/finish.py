"""What the end of a run takes where it has very many shards: seconds, files opened, memory.

    python -m tests.benchmarks.finish [--shards 2500 5000 10000 20000] [--out TABLE.md]

1. `actkit feature-dataset` runs on short texts with `tiny`, a text a shard, in a process of its own. Some texts come
   again and again; of one that was computed before, the rows are those of then, under their own numbers, so that next
   to nothing is spent on the model. Files are not synced. All else is as in any run.
2. The run is stopped when its last shard is there, and goes on with `--resume`, which reads and checks every file. Then
   comes its end. Of both the processor seconds, the files opened and the high-water mark of memory are taken.
3. The last column says how many times as much the last line takes as the first: as many as it has shards, where the
   cost is linear.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.errors import RunError

WORDS = Path(__file__).parent.parent / "data" / "pairs.jsonl"
TEXTS = 64
"""Texts that are different."""
SHIFTED = ("sequence_id", "record_id")


def write_texts(path: Path, count: int) -> None:
    """A file of `count` short texts, TEXTS of them different."""
    words = [
        word for line in WORDS.read_text(encoding="utf-8").splitlines() for word in json.loads(line)["chosen"].split()
    ]
    draw = random.Random(0)
    texts = [" ".join(draw.choices(words, k=24)) for _ in range(TEXTS)]
    path.write_text("".join(json.dumps({"text": texts[n % TEXTS]}) + "\n" for n in range(count)), encoding="utf-8")


def rows_of_then(real: Callable[..., Any]) -> Callable[..., Any]:
    """`Computing.tables`, which computes each text once."""
    known: dict[str, tuple[Mapping[str, Any], int]] = {}

    def tables(self: Any, shard: Any) -> Any:
        (sequence,) = shard.sequences
        text = sequence.encoding.text
        if text not in known:
            known[text] = real(self, shard), sequence.sequence_id
            return known[text][0]
        found, first = known[text]
        self.progress.tokens += len(sequence.encoding) - sequence.start
        self.progress.computed += 1
        by = sequence.sequence_id - first
        return {table: {name: _shifted(rows, by) for name, rows in groups.items()} for table, groups in found.items()}

    return tables


def _shifted(rows: pa.Table, by: int) -> pa.Table:
    for at, name in enumerate(rows.column_names):
        if name in SHIFTED:
            moved = pa.array(rows[name].to_numpy() + by, rows.schema.field(name).type)
            rows = rows.set_column(at, rows.schema.field(name), moved)
    return rows


class Opened:
    """How many files this process opens: Python's own, and Parquet files."""

    def __init__(self) -> None:
        import pyarrow.parquet as pq

        self.count = 0
        for name in ("read_table", "ParquetFile", "read_schema", "ParquetWriter"):
            setattr(pq, name, self._counting(getattr(pq, name)))
        sys.addaudithook(self._hook)

    def _hook(self, event: str, _: Any) -> None:
        self.count += event == "open"

    def _counting(self, real: Any) -> Any:
        if isinstance(real, type):
            count = self

            class Counted(real):  # type: ignore[misc]
                def __init__(self, where: Any, *args: Any, **more: Any) -> None:
                    count.count += isinstance(where, (str, Path))
                    super().__init__(where, *args, **more)

            return Counted

        def counted(where: Any, *args: Any, **more: Any) -> Any:
            self.count += 1
            return real(where, *args, **more)

        return counted


def measured(count: int, folder: Path) -> dict[str, float]:
    """Run it in this process, and say what its end took."""
    opened = Opened()
    from actkit.cli.app import main
    from actkit.pipeline import compute, extract

    os.fsync = lambda _descriptor: None
    compute.Computing.tables = rows_of_then(compute.Computing.tables)  # type: ignore[method-assign]
    marks: list[tuple[float, int, float]] = []
    real = extract.reconcile

    def reconcile(*args: Any) -> None:
        marks.append(_now(opened))
        if len(marks) == 1:
            raise RunError("every shard is there")
        real(*args)

    extract.reconcile = reconcile  # type: ignore[attr-defined]
    write_texts(folder / "texts.jsonl", count)
    line = ["feature-dataset", str(folder / "texts.jsonl"), "--target-layer", "2", "--shard-sequences", "1", "-q"]
    line += ["--verify", "0", "-o", str(folder / "run")]
    began = _now(opened)
    with suppress(SystemExit):
        main(line)
    again = _now(opened)
    try:
        main([*line, "--resume"])
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise
    (first, start), end = marks, _now(opened)
    return {
        "shards": count,
        "computing and writing them, s": first[0] - began[0],
        "--resume where all are there, s": start[0] - again[0],
        "--resume, files opened": start[1] - again[1],
        "the end, s": end[0] - start[0],
        "the end, files opened": end[1] - start[1],
        "most memory before the end, MB": start[2],
        "most memory, MB": end[2],
    }


def _now(opened: Opened) -> tuple[float, int, float]:
    return time.process_time(), opened.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(found: list[Mapping[str, float]]) -> str:
    """A Markdown table: a column a number of shards, and the last over the first."""
    names = [name for name in found[0] if name != "shards"]
    counts = (f"{row['shards']:,.0f}" for row in found)
    lines = [f"| shards | {' | '.join(counts)} | last / first |"]
    lines.append(f"|---|{'---|' * (len(found) + 1)}")
    for name in names:
        ratio = found[-1][name] / max(found[0][name], 1e-9)
        values = (f"{row[name]:,.1f}" if name.endswith(" s") else f"{row[name]:,.0f}" for row in found)
        lines.append(f"| {name} | {' | '.join(values)} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure each number of shards in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[2500, 5000, 10000, 20000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder is not None:
        result = measured(asked.shards[0], asked.folder)
        (asked.folder / "found.json").write_text(json.dumps(result), encoding="utf-8")
        return
    found: list[Mapping[str, float]] = []
    for count in asked.shards:
        with tempfile.TemporaryDirectory() as name:
            again = [sys.executable, "-m", "tests.benchmarks.finish", "--shards", str(count), "--in", name]
            subprocess.run(again, check=True, stdout=subprocess.DEVNULL)
            found.append(json.loads((Path(name) / "found.json").read_text(encoding="utf-8")))
        sys.stderr.write(table(found))
    if asked.out is not None:
        asked.out.write_text(table(found), encoding="utf-8")
    sys.stdout.write(table(found))


if __name__ == "__main__":
    main()
