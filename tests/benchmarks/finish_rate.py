"""How many features of tokens a second go into the tables over a finished run of `feature-dataset`.

    python -m tests.benchmarks.finish_rate [--tokens 131072] [--top-k 50] [--width 16384] [--chunk 1048576] [--fan 512]

Shards of 32,768 tokens are made from a seed, each token with `--top-k` of `--width` features, few of them frequent and
most of them rare; then `feature_stats` and `feature_positions` are made of them and written. Processor seconds are
counted. With chunks of fewer entries there are as many of them as many more tokens would make; of more chunks than
`--fan`, entries are put in order in two steps.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actkit.analysis import entries_by_feature, ranges_of_chunks
from actkit.analysis.feature_positions import feature_positions
from actkit.analysis.feature_stats import feature_stats
from actkit.runs.paths import part_name
from actkit.runs.writer import start_run
from actkit.schemas import arrow_schema

SHARD, TEXT = 32768, 1024
"""Tokens of a shard, and of a text."""


def write_shard(run: Path, part: int, top_k: int, width: int) -> None:
    """The tables `sequences`, `tokens` and `features` of one shard."""
    draw = np.random.default_rng(part)
    sequences = np.arange(SHARD // TEXT) + part * (SHARD // TEXT)
    of_token, position = np.repeat(sequences, TEXT), np.tile(np.arange(TEXT), len(sequences))
    # Ids by a power of a uniform number: the first hundredth of the features are active on a tenth of all.
    ids = np.minimum((draw.random((SHARD, top_k)) ** 2 * width).astype(np.int32), width - 1)
    values = -np.sort(-draw.exponential(1.0, (SHARD, top_k)).astype(np.float32), axis=1)
    offsets = pa.array(np.arange(SHARD + 1, dtype=np.int32) * top_k)
    columns = {
        "sequences": {
            "sequence_id": sequences,
            "text": [f"{number:07d} " * (TEXT // 2) for number in sequences],
            "char_offset": np.zeros(len(sequences)),
        },
        "tokens": {
            "sequence_id": of_token,
            "position": position,
            "char_start": position * 4,
            "char_end": position * 4 + 4,
            "is_special": position == 0,
            "is_sink": np.zeros(SHARD, dtype=np.bool_),
        },
        "features": {
            "sequence_id": of_token,
            "position": position,
            "sae": ["made"] * SHARD,
            "feature_ids": pa.ListArray.from_arrays(offsets, pa.array(ids.reshape(-1))),
            "feature_activations": pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1))),
        },
    }
    for table, found in columns.items():
        schema = arrow_schema(table)
        rows = pa.table({name: pa.array(column).cast(schema.field(name).type) for name, column in found.items()})
        (run / table).mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, run / table / f"{part_name(part)}.parquet", compression="zstd", use_dictionary=["sae"])


def main() -> None:
    """Make the shards, then the tables, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4 * SHARD)
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--width", type=int, default=16384)
    parser.add_argument("--chunk", type=int, default=entries_by_feature.CHUNK)
    parser.add_argument("--fan", type=int, default=ranges_of_chunks.FAN)
    asked = parser.parse_args()
    ranges_of_chunks.FAN = asked.fan
    entries_by_feature.CHUNK = entries_by_feature.RANGE = asked.chunk
    with tempfile.TemporaryDirectory() as name:
        run, shards = Path(name), max(asked.tokens // SHARD, 1)
        for part in range(shards):
            write_shard(run, part, asked.top_k, asked.width)
        made = start_run(run / "made", {})
        began = time.process_time()
        for part, rows in enumerate(feature_stats(run, "made", asked.width, scratch=run)):
            made.write("feature_stats", {"made": rows}, part)
        middle = time.process_time()
        for part, groups in enumerate(feature_positions(run, "made", asked.width, run)):
            made.write("feature_positions", groups, part)
        ended = time.process_time()
        features = sum(path.stat().st_size for path in (run / "features").iterdir())
    entries = shards * SHARD * asked.top_k
    positions = made.tables()["feature_positions"]["bytes"]
    sys.stdout.write(
        f"{entries:,} entries of {shards} shards, {features / entries:.1f} bytes each in features, "
        f"{positions / entries:.1f} in feature_positions: feature_stats {middle - began:.1f} s, "
        f"feature_positions {ended - middle:.1f} s\n"
    )


if __name__ == "__main__":
    main()
