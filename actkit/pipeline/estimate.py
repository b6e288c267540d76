"""What a run would be: records, tokens, shards, bytes a table, memory, the first example; the model is not loaded."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.backends import Description, weight_bytes
from actkit.config import BatchSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.data import TokenSequence
from actkit.pipeline.recipe import Finished, OnProgress, Progress, Recipe, nothing_kept
from actkit.pipeline.rows import rejected_table, sequences_table, tokens_table
from actkit.pipeline.shards import Shard, gather_shards, most_kept
from actkit.pipeline.sink import DICTIONARY
from actkit.schemas import arrow_schema

LIBRARIES = 600 * 2**20
"""Bytes that torch, transformers and pyarrow take by themselves."""
SHARDS_HELD = 5
"""Shards' worth of kept activations in memory at once; see `BatchSpec.shard_mb`."""
BLOCK_WIDTH = 24
"""Numbers a token that a block holds at once, in widths of the residual stream: its MLP, queries, keys, values."""


@dataclass(frozen=True)
class TableSize:
    """How large a table would be."""

    rows: int
    bytes: int | None
    """About; None where it depends on what fires."""
    at_most: bool = False
    """Whether fewer bytes are likely."""


@dataclass(frozen=True)
class Example:
    """The first whole sequence of the first usable record, as the model would see it."""

    place: str
    side: str | None
    text: str
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    positions: tuple[int, ...]
    """Read positions."""
    response_start: int | None


@dataclass(frozen=True)
class Plan:
    """What a run would be."""

    command: str
    model: Mapping[str, str]
    hook_points: tuple[str, ...]
    counts: Mapping[str, int]
    """Records read, written, rejected, truncated; sequences, tokens, kept (positions of which something is stored),
    shards."""
    rejected_reasons: Mapping[str, int]
    tables: Mapping[str, TableSize]
    """Without those that are computed over the others at the end, which are small."""
    memory: Mapping[str, int]
    """About, in bytes: model, saes, batch, shards, libraries."""
    free_bytes: int
    """Free where the run would be."""
    example: Example | None

    @property
    def bytes(self) -> int:
        """What all tables of known size take."""
        return sum(one.bytes or 0 for one in self.tables.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What would go wrong."""
        if self.bytes <= self.free_bytes:
            return ()
        return (f"the run takes about {self.bytes:,} bytes, but {self.free_bytes:,} are free where it would be",)


def planned(
    recipe: Recipe,
    description: Description,
    hook_points: tuple[HookPoint, ...],
    batch: BatchSpec,
    output: OutputSpec,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Read and tokenize everything, run and write nothing; the facts are the plan's.

    Counts are exact, and so are rows and bytes of activations; sizes of other tables go by the first shard's, or are
    unknown where they depend on what fires. Raises what reading raises, and RunError when no record could be used.
    """
    progress = Progress()
    most = most_kept(recipe.kept_bytes or len(hook_points) * description.d_model * 4, batch)
    seen = _Seen()
    for shard in gather_shards(recipe, batch.shard_sequences, most, output, progress, on_progress):
        seen.add(shard, description)
        progress.tokens += sum(len(one.own_ids) for one in shard.sequences)
        on_progress(progress)
    if not progress.written:
        raise nothing_kept(progress)
    plan = Plan(
        recipe.command,
        _about(description),
        tuple(str(point) for point in hook_points),
        {
            "read": progress.read,
            "written": progress.written,
            "rejected": progress.rejected,
            "truncated": progress.truncated,
            "sequences": seen.sequences,
            "tokens": progress.tokens,
            "kept": seen.kept,
            "shards": seen.shards,
        },
        progress.reasons,
        seen.tables(recipe, progress),
        _memory(recipe, description, hook_points, batch, seen.kept),
        shutil.disk_usage(_existing(output.out)).free,
        seen.example,
    )
    return Finished(output.out, {**asdict(plan), "bytes": plan.bytes, "warnings": list(plan.warnings)}, is_plan=True)


@dataclass
class _Seen:
    """What the shards had, so far."""

    shards: int = 0
    sequences: int = 0
    kept: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes_a_row: dict[str, float] = field(default_factory=dict)
    example: Example | None = None

    def add(self, shard: Shard, description: Description) -> None:
        self.shards += 1
        self.sequences += len(shard.sequences)
        self.kept += sum(len(one.keep) for one in shard.sequences)
        for table, rows in shard.rows.items():
            self.rows[table] = self.rows.get(table, 0) + len(rows)
        if shard.sequences and self.example is None:
            self.bytes_a_row = _bytes_a_row(shard, description)
            self.example = _example(shard, description)

    def tables(self, recipe: Recipe, progress: Progress) -> dict[str, TableSize]:
        rows = {"sequences": self.sequences, "tokens": progress.tokens, **self.rows, "rejected": progress.rejected}
        sizes = {table: TableSize(n, round(n * self.bytes_a_row.get(table, 0.0))) for table, n in rows.items()}
        for table, stored in recipe.stored.items():
            n = self.kept if stored.per == "position" else self.sequences
            size = None if stored.bytes is None else round(n * stored.bytes)
            sizes[table] = TableSize(n * stored.rows, size, stored.at_most)
        return sizes


def _bytes_a_row(shard: Shard, description: Description) -> dict[str, float]:
    """Bytes a row of the tables that describe what was run, by writing those of one shard to memory."""
    made = {
        "sequences": sequences_table(shard.sequences, shard.records),
        "tokens": tokens_table(shard.sequences, description.tokenizer.batch_decode),
        "rejected": rejected_table(shard.rejected),
        **{table: pa.Table.from_pylist(list(rows.values()), arrow_schema(table)) for table, rows in shard.rows.items()},
    }
    return {table: _written(rows) / len(rows) for table, rows in made.items() if len(rows)}


def _written(table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=[name for name in table.schema.names if name in DICTIONARY]
    )
    return int(sink.getvalue().size)


def _example(shard: Shard, description: Description) -> Example | None:
    """The first whole sequence of which something is read, with what is read of those that it continues."""
    by_id = {one.sequence_id: one for one in shard.sequences}
    continued = {one.parent for one in shard.sequences}
    for one in shard.sequences:
        path: list[TokenSequence] = [one]
        while path[-1].parent is not None:
            path.append(by_id[path[-1].parent])
        keep = sorted(position for each in path for position in each.keep.tolist())
        if one.sequence_id not in continued and keep:
            ids = one.encoding.token_ids.tolist()
            tokens = description.tokenizer.batch_decode([[number] for number in ids])
            place = shard.records[one.record_id].place
            about = (place, one.side, one.encoding.text, tuple(ids), tuple(tokens), tuple(keep), one.response_start)
            return Example(*about)
    return None


def _memory(
    recipe: Recipe, description: Description, hook_points: tuple[HookPoint, ...], batch: BatchSpec, kept: int
) -> dict[str, int]:
    kept_bytes = recipe.kept_bytes or len(hook_points) * description.d_model * 4
    width = 4 if description.spec.dtype == "float32" else 2
    per_token = description.d_model * (len(hook_points) + BLOCK_WIDTH) * width
    return {
        "model": weight_bytes(description, hook_points),
        "saes": sum(2 * one.sae.d_in * one.sae.d_sae * 4 for one in recipe.health.values()),
        "batch": batch.batch_tokens * per_token,
        "shards": SHARDS_HELD * min(batch.shard_mb * 2**20, kept * kept_bytes),
        "libraries": LIBRARIES,
    }


def _about(description: Description) -> dict[str, str]:
    spec = description.spec
    about = {"name": spec.name, "device": spec.device, "dtype": spec.dtype}
    return about if spec.quantize is None else {**about, "quantize": spec.quantize}


def _existing(path: Path) -> Path:
    """The nearest directory that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
