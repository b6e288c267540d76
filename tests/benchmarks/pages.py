"""How long reports take to be made and to be ready, and viewers to answer, of up to 60 million active features.

    python -m tests.benchmarks.pages [MILLIONS ...]

The runs are synthetic: sequences of 256 tokens, an SAE of 16,384 features of which 20 are active on a token, in the
tables that `feature-dataset` writes. Memory is the most that the process which makes the page held, less what the
libraries take; readiness is Chromium's, from opening the file until it can be read, and until all pictures are drawn.
Answers are those of `actkit view` to requests for features and texts at random and for the densest features, each asked
for once, from the request until the last byte: the median and the slowest.
"""

import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.schemas import SCHEMA_VERSION, arrow_schema

D_SAE, L0, LENGTH, A_PART = 16_384, 20, 256, 128
SAE = "synthetic/layer_12"
WORDS = [
    f" {first}{second}"
    for first in ("ba", "ko", "mi", "ru", "te", "lo", "sha")
    for second in ("n", "rd", "st", "ve", "l", "king", "m")
]
MAKE = """
import sys, time
from pathlib import Path
from actkit.report.write import write_report
from actkit.runs.run import open_run
import actkit.report.run_blocks, pyarrow.parquet
from actkit.report.write import plotly_packed
from actkit.pipeline.provenance import peak_memory_mb
plotly_packed()
before, began = peak_memory_mb(), time.perf_counter()
write_report([open_run(Path(sys.argv[1]))], Path(sys.argv[2]))
print(time.perf_counter() - began, peak_memory_mb() - before)
"""


def synthetic(path: Path, active: int) -> Path:
    """A run of about `active` active features."""
    generator = np.random.default_rng(0)
    n_tokens = active // L0
    n_sequences = max(1, n_tokens // LENGTH)
    popularity = 1 / np.arange(1, D_SAE + 1) ** 0.7
    chosen = np.cumsum(generator.permutation(popularity / popularity.sum()))
    words = np.array(WORDS)
    for part, first in enumerate(range(0, n_sequences, A_PART)):
        ids = np.arange(first, min(first + A_PART, n_sequences))
        picked = generator.integers(0, len(words), (len(ids), LENGTH))
        _write(path, "sequences", part, _sequences(ids, picked, words))
        _write(path, "tokens", part, _tokens(ids, picked, words))
        _write(path, "features", part, _features(ids, generator, chosen))
    for number, table in enumerate(feature_stats(path, SAE, D_SAE)):
        _write(path, "feature_stats", number, table)
    for number, groups in enumerate(feature_positions(path, SAE, D_SAE, path)):
        _write(path, "feature_positions", number, *groups.values())
    facts = _facts(path, n_sequences)
    (path / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return path


def _sequences(ids: Any, picked: Any, words: Any) -> pa.Table:
    texts = ["".join(words[row]) for row in picked]
    columns: dict[str, Any] = {"sequence_id": ids, "record_id": ids, "n_tokens": [LENGTH] * len(ids), "text": texts}
    columns |= {"start": [0] * len(ids), "char_offset": [0] * len(ids), "source": ["synthetic"] * len(ids)}
    return _table("sequences", columns, len(ids))


def _tokens(ids: Any, picked: Any, words: Any) -> pa.Table:
    flat = picked.reshape(-1)
    sizes = np.char.str_len(words)[picked]
    ends = np.cumsum(sizes, axis=1)
    columns = {
        "sequence_id": np.repeat(ids, LENGTH),
        "position": np.tile(np.arange(LENGTH), len(ids)),
        "token_id": flat.astype(np.int32),
        "token": words[flat],
        "char_start": (ends - sizes).reshape(-1),
        "char_end": ends.reshape(-1),
        "is_special": np.zeros(len(flat), dtype=np.bool_),
    }
    return _table("tokens", columns, len(flat))


def _features(ids: Any, generator: Any, chosen: Any) -> pa.Table:
    n = len(ids) * LENGTH
    drawn = np.searchsorted(chosen, generator.random((n, L0 + 8))).clip(0, D_SAE - 1)
    rows = [np.unique(row)[:L0] for row in drawn]
    lengths = np.array([len(row) for row in rows])
    values = generator.gamma(2.0, 3.0, int(lengths.sum())).astype(np.float32) + 0.01
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns = {
        "sequence_id": np.repeat(ids, LENGTH),
        "position": np.tile(np.arange(LENGTH), len(ids)),
        "sae": [SAE] * n,
        "feature_ids": pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(rows).astype(np.int32))),
        "feature_activations": pa.ListArray.from_arrays(offsets, pa.array(values)),
        "n_active": lengths.astype(np.int32),
    }
    return _table("features", columns, n)


def _table(name: str, columns: dict[str, Any], n: int) -> pa.Table:
    schema = arrow_schema(name)
    return pa.table([pa.array(columns.get(field.name, [None] * n), type=field.type) for field in schema], schema=schema)


def _write(path: Path, table: str, part: int, *groups: pa.Table) -> None:
    (path / table).mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path / table / f"part-{part:05d}.parquet", groups[0].schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(group, row_group_size=max(len(group), 1))


def _facts(path: Path, n_sequences: int) -> dict[str, Any]:
    tables = {}
    for name in ("sequences", "tokens", "features", "feature_positions", "feature_stats"):
        files = sorted((path / name).glob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        tables[name] = {"rows": rows, "parts": len(files), "bytes": sum(file.stat().st_size for file in files)}
    counts = dict.fromkeys(("rejected", "truncated", "special_in_text"), 0)
    counts |= {"read": n_sequences, "written": n_sequences, "sequences": n_sequences, "tokens": n_sequences * LENGTH}
    model = {"name": "synthetic", "revision": None, "dtype": "float32", "device": "cpu", "attn": "sdpa", "n_layers": 26}
    sae = {"name": SAE, "d_sae": D_SAE, "hook_point": "blocks.12.hook_resid_post"}
    facts = {"schema_version": SCHEMA_VERSION, "command": "feature-dataset", "model": model, "counts": counts}
    return {**facts, "hook_points": [sae["hook_point"]], "saes": [sae], "tables": tables, "options": {}, "notes": []}


def opened(page: Path) -> tuple[float, float]:
    """Seconds until the page is ready, and until its pictures are drawn."""
    from tests.report.browser import chromium, watched

    with chromium() as browser, watched(browser) as seen:
        began = time.perf_counter()
        seen.go(page.as_uri())
        ready = time.perf_counter() - began
        seen.drawn()
        assert not seen.problems, seen.problems
        return ready, time.perf_counter() - began


ASKED = 100
"""Features, and texts, that a viewer is asked for."""


def answered(run: Path) -> dict[str, str]:
    """Seconds until a viewer says its address, and milliseconds of its answers."""
    facts = json.loads((run / "run.json").read_text())
    generator, n = random.Random(0), facts["counts"]["sequences"]
    counts = pq.read_table(run / "feature_stats", columns=["n_active"])["n_active"].to_numpy()
    ids = [feature for feature in np.argsort(-counts, kind="stable").tolist() if counts[feature]]
    paths = {
        "feature": [f"/feature?run=0&sae=0&id={feature}" for feature in generator.sample(ids, min(ASKED, len(ids)))],
        "dense feature": [f"/feature?run=0&sae=0&id={number}" for number in ids[:20]],
        "text": [f"/sequence?run=0&id={number}" for number in generator.sample(range(n), min(ASKED, n))],
        "record": [f"/record?run=0&id={number}" for number in generator.sample(range(n), min(ASKED, n))],
    }
    began = time.perf_counter()
    call = [sys.executable, "-m", "actkit", "view", str(run), "--quiet"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as server, ended(server):
        assert server.stdout is not None
        address = urlsplit(server.stdout.readline().strip())
        said = {"opened in, s": f"{time.perf_counter() - began:.0f}"}
        _, cookie = _asked(address.netloc, f"/?{address.query}", "")
        for name, asked in {"page": ["/"], **paths}.items():
            took = [_asked(address.netloc, path, cookie)[0] for path in asked]
            said[f"{name}, ms"] = f"{statistics.median(took):.0f} ({max(took):.0f})"
    return said


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End a process, whatever happens."""
    try:
        yield
    finally:
        process.terminate()


def _asked(host: str, path: str, cookie: str) -> tuple[float, str]:
    """Milliseconds of one answer, and the cookie that came with it."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (200, 303), (path, answer.status)
    return 1000 * (time.perf_counter() - began), (answer.getheader("set-cookie") or "").split(";")[0]


def made(run: Path, page: Path) -> dict[str, str]:
    """What a report of a run takes, and how soon a browser shows it."""
    call = [sys.executable, "-c", MAKE, str(run), str(page)]
    seconds, memory = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    tables = sum(table["bytes"] for table in json.loads((run / "run.json").read_text())["tables"].values())
    ready, drawn = opened(page)
    return {
        "tables, MB": f"{tables / 1e6:.0f}",
        "page made in, s": f"{float(seconds):.0f}",
        "memory above the libraries, MB": f"{float(memory):.0f}",
        "page, MB": f"{page.stat().st_size / 1e6:.1f}",
        "ready, s": f"{ready:.1f}",
        "all drawn, s": f"{drawn:.0f}",
    }


def main(millions: list[str]) -> None:
    """Print a table of reports and one of viewers, a row a size."""
    reports, viewers = [], []
    for size in millions or ["0.1", "1", "16", "60"]:
        with tempfile.TemporaryDirectory() as folder:
            run = synthetic(Path(folder, "run"), round(float(size) * 1e6))
            reports.append({"active features": f"{size} M", **made(run, Path(folder, "page.html"))})
            viewers.append({"active features": f"{size} M", **answered(run)})
            print(reports[-1], viewers[-1], file=sys.stderr, flush=True)
    for rows in (reports, viewers):
        lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
