"""Memory: a run of many shards is exported within a bound that its size does not move."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.schemas import TABLES, arrow_schema, vector_type

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc"),
]
MOST_MB = 450
"""Above the libraries. JSONL of features holds 372 MB for two shards and 401 to 409 for five."""
D_MODEL, HOOK_POINTS = 1024, ("blocks.3.hook_resid_post", "blocks.7.hook_resid_post")
PAIRS, SHARED, OWN = 32, 128, 64
"""Of a shard; with two hook points of 1024 numbers, 64 MB."""
SAE, TOP_K, CHUNK = "made/up", 64, 512
# ru_maxrss would begin at what the process that starts this one holds, so it says nothing here.
SCRIPT = """
import sys, json
from pathlib import Path
import h5py, pyarrow.parquet, torch
from actkit.export.formats import export
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before = peak()
export(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
print(json.dumps([before, peak()]))
"""


def written(run: Path, table: str, part: int, groups: list[dict[str, Any]], vector: Any = None) -> None:
    """One part, a row group for each of `groups`; columns that are not given are null."""
    schema = arrow_schema(table, vector)
    (run / table).mkdir(parents=True, exist_ok=True)
    compression = "none" if table == "activations" else "zstd"
    with pq.ParquetWriter(run / table / f"part-{part:05d}.parquet", schema, compression=compression) as writer:
        for columns in groups:
            n = len(next(iter(columns.values())))
            every = {name: columns.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names}
            writer.write_table(pa.table(every, schema=schema), row_group_size=n)


def described(run: Path, command: str, to: str, n_records: int, sequences: int, features: int) -> Path:
    facts = {
        "command": command,
        "model": {"name": "made up", "revision": None, "n_layers": 12, "architecture": "LlamaForCausalLM"},
        "options": {},
        "exports": [to],
        "rules": {"top_k": None},
        "positions": "all",
        "counts": {"read": n_records, "written": n_records, "rejected": 0},
        "saes": [{"name": SAE, "hook_point": HOOK_POINTS[0], "d_sae": 16384, "neuronpedia_id": None}],
        "tables": {"sequences": {"rows": sequences}, "features": {"rows": features}},
    }
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return run


def sequences_and_tokens(run: Path, part: int, ids: Any, starts: Any, ends: Any, records: Any, sides: Any) -> Any:
    """Writes both tables; returns the sequence and the position of every token."""
    own = ends - starts
    owners = np.repeat(ids, own)
    positions = np.concatenate([np.arange(*span) for span in zip(starts, ends, strict=True)])
    text = ["a" * int(end) for end in ends]
    columns = {"sequence_id": ids, "record_id": records, "n_tokens": ends, "response_start": ends - 4, "text": text}
    zeros = np.zeros(len(ids), dtype=np.int64)
    columns |= {"side": sides, "source": ["made-up.jsonl"] * len(ids), "chunk": zeros, "char_offset": zeros}
    written(run, "sequences", part, [columns])
    tokens = {"sequence_id": owners, "position": positions, "token_id": (positions % 5000).astype(np.int32)}
    tokens |= {
        "token": [f"t{position % 5000}" for position in positions],
        "char_start": positions,
        "char_end": positions + 1,
    }
    written(run, "tokens", part, [{**tokens, "is_special": np.zeros(len(owners), dtype=bool)}])
    return owners, positions


def dense_run(run: Path, command: str, to: str, n_parts: int) -> Path:
    """`n_parts` shards of 64 MB of activations: pairs, or as many prompts."""
    random = np.random.default_rng(0)
    pair = command == "dpo"
    for part in range(n_parts):
        sides = ("shared", "chosen", "rejected") if pair else (None,)
        per = len(sides)
        count = PAIRS if pair else PAIRS * (SHARED + 2 * OWN) // 128
        ids = np.arange(part * count * per, (part + 1) * count * per)
        records = np.repeat(np.arange(part * count, (part + 1) * count), per)
        starts = np.tile([0, SHARED, SHARED] if pair else [0], count)
        ends = np.tile([SHARED, SHARED + OWN, SHARED + OWN] if pair else [128], count)
        owners, positions = sequences_and_tokens(run, part, ids, starts, ends, records, list(sides) * count)
        groups = []
        for number, name in enumerate(HOOK_POINTS):
            values = random.standard_normal(len(owners) * D_MODEL, dtype=np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), D_MODEL)
            same = {"layer": np.full(len(owners), 3 + 4 * number, dtype=np.int32), "hook_point": [name] * len(owners)}
            groups.append({"sequence_id": owners, "position": positions, **same, "activation": vectors})
        written(run, "activations", part, groups, vector_type(D_MODEL, "float32"))
        if pair:
            whole = np.full(count, SHARED + OWN)
            apart = {f"{side}_divergence": np.full(count, SHARED) for side in ("chosen", "rejected")}
            lengths = {f"{side}_length": whole for side in ("chosen", "rejected")}
            about = {"record_id": records[::per], "status": ["ok"] * count, **apart, **lengths}
            assert set(about) <= {column.name for column in TABLES["pairs"]}
            written(run, "pairs", part, [about])
    return described(run, command, to, n_parts * PAIRS, 0, 0)


def sparse_run(run: Path, command: str, to: str, n_parts: int, n_sequences: int = 256) -> Path:
    """`n_parts` shards of about 64 MB of features."""
    random = np.random.default_rng(0)
    n = n_sequences * CHUNK
    for part in range(n_parts):
        ids = np.arange(part * n_sequences, (part + 1) * n_sequences)
        ends = np.full(n_sequences, CHUNK)
        owners, positions = sequences_and_tokens(run, part, ids, ends * 0, ends, ids, [None] * n_sequences)
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * TOP_K)
        chosen = pa.ListArray.from_arrays(offsets, pa.array(random.integers(0, 16384, n * TOP_K, dtype=np.int32)))
        strengths = pa.ListArray.from_arrays(offsets, pa.array(random.random(n * TOP_K, dtype=np.float32)))
        columns = {"sequence_id": owners, "position": positions, "sae": [SAE] * n, "feature_ids": chosen}
        columns |= {"feature_activations": strengths, "n_active": np.full(n, TOP_K, dtype=np.int32)}
        written(run, "features", part, [columns])
    return described(run, command, to, n_parts * n_sequences, n_parts * n_sequences, n_parts * n)


def peak_above_libraries(run: Path, to: str, out: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run), to, str(out)], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    before, peak = json.loads(done.stdout)
    return float(peak - before)


def size_mb(run: Path, table: str) -> float:
    return sum(path.stat().st_size for path in (run / table).iterdir()) / 1e6


@pytest.mark.parametrize(
    ("command", "to"), [("dpo", "h5"), ("dpo", "npz"), ("dpo", "safetensors"), ("capture", "pt"), ("capture", "npz")]
)
def test_a_gigabyte_of_activations(command: str, to: str, tmp_path: Path) -> None:
    run = dense_run(tmp_path / "run", command, to, 16)
    assert size_mb(run, "activations") > 1000
    above = peak_above_libraries(run, to, tmp_path / f"x.{to}")
    assert (tmp_path / f"x.{to}").stat().st_size > 1e9
    assert above < MOST_MB, f"{above:.0f} MB"


@pytest.mark.parametrize(("command", "to"), [("feature-dataset", "jsonl"), ("sae-extract", "json")])
def test_features_shard_by_shard(command: str, to: str, tmp_path: Path) -> None:
    """A quarter of a gigabyte, which becomes more than one as text; more would take minutes."""
    run = sparse_run(tmp_path / "run", command, to, 5)
    assert size_mb(run, "features") > 200
    above = peak_above_libraries(run, to, tmp_path / f"x.{to}")
    assert (tmp_path / f"x.{to}").stat().st_size > 1e9
    assert above < MOST_MB, f"{above:.0f} MB"
