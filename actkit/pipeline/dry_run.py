"""`--plan`: read and tokenize the input, run no model, write nothing, and estimate the run.

Counts are exact, and so are rows and bytes of activations. The first shard gives the bytes a row of `sequences`,
`tokens` and other tables about the input. Sizes that depend on which features fire are unknown.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.backends import Description, weight_bytes
from actkit.backends.kernel_choice import about_bfloat16
from actkit.backends.token_texts import token_texts
from actkit.config import BatchSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.data import TokenSequence
from actkit.pipeline.recipe import Finished, Recipe, nothing_kept
from actkit.pipeline.record_tables import tables_of
from actkit.pipeline.shards.gather import gather_shards, room_of
from actkit.pipeline.shards.shard import Shard
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.writer import DICTIONARY

LIBRARIES = 600 * 2**20
"""Bytes that torch, transformers and pyarrow take by themselves."""
SHARDS_HELD = 5
"""Shards' worth of kept activations in memory at once; see `BatchSpec.shard_mb`."""
WORTH = 1.2
"""How many times as fast bfloat16 must be for the plan to name it."""
BLOCK_WIDTH = 24
"""Numbers a token that a block holds at once, in widths of the residual stream: its MLP, queries, keys, values."""


def planned(
    recipe: Recipe,
    description: Description,
    hook_points: tuple[HookPoint, ...],
    batch: BatchSpec,
    output: OutputSpec,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Estimate the run; `facts` are the plan. Raises RunError when no record is usable, and the errors of reading."""
    progress, tally = Progress(), ShardTally()
    kept_bytes = recipe.bytes_at(hook_points, description.d_model)
    room = room_of(kept_bytes, batch)
    for shard in gather_shards(recipe, room, output, progress, on_progress, vocabulary=description.vocabulary):
        tally.add(shard, description)
        progress.tokens += shard.n_tokens
        on_progress(progress)
    if not progress.written:
        raise nothing_kept(progress)
    tables = tally.tables(recipe, progress)
    known = sum(table["bytes"] or 0 for table in tables.values())
    temporary = recipe.temporary(tally.sequences, tally.kept)
    numbers_a_token = description.d_model * (len(hook_points) + BLOCK_WIDTH)
    free = shutil.disk_usage(_existing(output.out)).free
    facts = {
        "command": recipe.command,
        "unit": recipe.unit,
        "model": _about(description),
        "hook_points": [str(point) for point in hook_points],
        "counts": {
            "read": progress.read,
            "written": progress.written,
            "rejected": progress.rejected,
            "truncated": progress.truncated,
            "sequences": tally.sequences,
            "tokens": progress.tokens,
            "kept": tally.kept,  # positions that are read
            "shards": tally.shards,
        },
        "rejected_reasons": progress.reasons,
        "tables": tables,  # without the tables that `Recipe.finish` computes, which are small
        "memory": {  # about, in bytes
            "model": weight_bytes(description, hook_points),
            "saes": sum(2 * health.sae.d_in * health.sae.d_sae * 4 for health in recipe.health.values()),
            "batch": batch.batch_tokens * numbers_a_token * (4 if description.spec.dtype == "float32" else 2),
            "shards": SHARDS_HELD * min(batch.shard_mb * 2**20, tally.kept * kept_bytes),
            "libraries": LIBRARIES,
        },
        "temporary_bytes": temporary,  # None where it depends on which features fire
        "free_bytes": free,
        "example": tally.example,
        "faster": _faster(description),
        "bytes": known,
        "warnings": _warnings(known, temporary or 0, free),
    }
    return Finished(output.out, facts, is_plan=True)


@dataclass
class ShardTally:
    """Counts of the shards so far."""

    shards: int = 0
    sequences: int = 0
    kept: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes_a_row: dict[str, float] = field(default_factory=dict)
    example: dict[str, Any] | None = None

    def add(self, shard: Shard, description: Description) -> None:
        """Count one more shard; the first shard with a sequence also gives the bytes a row and the example."""
        self.shards += 1
        self.sequences += len(shard.sequences)
        self.kept += sum(len(sequence.keep) for sequence in shard.sequences)
        for table, rows in shard.rows.items():
            self.rows[table] = self.rows.get(table, 0) + len(rows)
        if shard.sequences and self.example is None:
            made = tables_of(shard, description.tokenizer)
            self.bytes_a_row = {table: _written(rows) / len(rows) for table, rows in made.items() if len(rows)}
            self.example = _example(shard, description)

    def tables(self, recipe: Recipe, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return the expected rows and bytes of each table; bytes are None where they depend on which features fire.

        `at_most` says that fewer bytes are likely.
        """
        rows = {"sequences": self.sequences, "tokens": progress.tokens, **self.rows, "rejected": progress.rejected}
        sizes: dict[str, dict[str, Any]] = {
            table: {"rows": n, "bytes": round(n * self.bytes_a_row.get(table, 0.0)), "at_most": False}
            for table, n in rows.items()
        }
        for table, stored in recipe.stored.items():
            n = self.kept if stored.per == "position" else self.sequences
            size = None if stored.bytes is None else round(n * stored.bytes)
            sizes[table] = {"rows": n * stored.rows, "bytes": size, "at_most": stored.at_most}
        return sizes


def _written(table: pa.Table) -> int:
    """Return the size in bytes of a table written as a part of a run is; it is written to memory."""
    sink = pa.BufferOutputStream()
    dictionary = [name for name in table.schema.names if name in DICTIONARY]
    pq.write_table(table, sink, compression="zstd", use_dictionary=dictionary)
    return int(sink.getvalue().size)


def _example(shard: Shard, description: Description) -> dict[str, Any] | None:
    """Describe the first sequence that no other continues and that has read positions, as the model would see it.

    Its positions include those of the sequences that it continues.
    """
    by_id = {sequence.sequence_id: sequence for sequence in shard.sequences}
    continued = {sequence.parent for sequence in shard.sequences}
    for sequence in shard.sequences:
        path: list[TokenSequence] = [sequence]
        while path[-1].parent is not None:
            path.append(by_id[path[-1].parent])
        keep = sorted(position for each in path for position in each.keep.tolist())
        if sequence.sequence_id not in continued and keep:
            ids = sequence.encoding.token_ids.tolist()
            return {
                "place": shard.records[sequence.record_id].place,
                "side": sequence.side,
                "text": sequence.encoding.text,
                "token_ids": ids,
                "tokens": token_texts(description.tokenizer, ids),
                "positions": keep,
                "response_start": sequence.response_start,
            }
    return None


def _warnings(tables: int, temporary: int, free: int) -> list[str]:
    """Warn of a disk that is too small for the run's tables and temporary files; sizes are in bytes."""
    if tables + temporary <= free:
        return []
    with_them = " with its temporary files" if temporary else ""
    return [f"the run takes about {tables + temporary:,} bytes{with_them}, but {free:,} are free where it would be"]


def _about(description: Description) -> Mapping[str, str]:
    spec = description.spec
    about = {"name": spec.name, "device": spec.device, "dtype": spec.dtype}
    return about if spec.quantize is None else {**about, "quantize": spec.quantize}


def _faster(description: Description) -> str | None:
    """Describe the gain from bfloat16 and its cost, on a CPU where it is faster; None elsewhere."""
    is_slower = (description.spec.device, description.spec.dtype) == ("cpu", "float32")
    return about_bfloat16(WORTH) if is_slower else None


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it, that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())
