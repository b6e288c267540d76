"""Estimate a run without loading its model: records, tokens, shards, bytes a table, memory, the first example."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from actkit.backends import Description, weight_bytes
from actkit.backends.kernel_choice import about_bfloat16
from actkit.config import BatchSpec, OutputSpec
from actkit.hooks import HookPoint
from actkit.pipeline.dry_run.tally import Example, PlannedTable, ShardTally
from actkit.pipeline.recipe import Finished, Recipe, nothing_kept
from actkit.pipeline.shards.gather import gather_shards, room_of
from actkit.runs.progress import OnProgress, Progress

LIBRARIES = 600 * 2**20
"""Bytes that torch, transformers and pyarrow take by themselves."""
SHARDS_HELD = 5
"""Shards' worth of kept activations in memory at once; see `BatchSpec.shard_mb`."""
WORTH = 1.2
"""Times as fast that bfloat16 must be to be spoken of."""
BLOCK_WIDTH = 24
"""Numbers a token that a block holds at once, in widths of the residual stream: its MLP, queries, keys, values."""


@dataclass(frozen=True)
class DryRun:
    """The estimate of a run."""

    command: str
    unit: str
    """The word for a record: record or pair."""
    model: Mapping[str, str]
    hook_points: tuple[str, ...]
    counts: Mapping[str, int]
    """Records read, written, rejected, truncated; sequences, tokens, kept (positions of which something is stored),
    shards."""
    rejected_reasons: Mapping[str, int]
    tables: Mapping[str, PlannedTable]
    """Without those that are computed over the others at the end, which are small."""
    memory: Mapping[str, int]
    """About, in bytes: model, saes, batch, shards, libraries."""
    temporary_bytes: int | None
    """About what temporary files take beside them at the end; None where it depends on what fires."""
    free_bytes: int
    """Free where the run would be."""
    example: Example | None
    faster: str | None = None
    """A faster setting, and its cost."""

    @property
    def bytes(self) -> int:
        """Bytes of all tables whose size is known."""
        return sum(table.bytes or 0 for table in self.tables.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what would go wrong: too little memory, too little disk."""
        most = self.bytes + (self.temporary_bytes or 0)
        if most <= self.free_bytes:
            return ()
        with_them = " with its temporary files" if self.temporary_bytes else ""
        return (f"the run takes about {most:,} bytes{with_them}, but {self.free_bytes:,} are free where it would be",)


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
    room = room_of(recipe.bytes_at(hook_points, description.d_model), batch)
    seen = ShardTally()
    shards = gather_shards(recipe, room, output, progress, on_progress, vocabulary=description.vocabulary)
    for shard in shards:
        seen.add(shard, description)
        progress.tokens += sum(len(sequence.own_ids) for sequence in shard.sequences)
        on_progress(progress)
    if not progress.written:
        raise nothing_kept(progress)
    plan = DryRun(
        recipe.command,
        recipe.unit,
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
        recipe.temporary(seen.sequences, seen.kept),
        shutil.disk_usage(_existing(output.out)).free,
        seen.example,
        _faster(description),
    )
    return Finished(output.out, {**asdict(plan), "bytes": plan.bytes, "warnings": list(plan.warnings)}, is_plan=True)


def _memory(
    recipe: Recipe, description: Description, hook_points: tuple[HookPoint, ...], batch: BatchSpec, kept: int
) -> dict[str, int]:
    width = 4 if description.spec.dtype == "float32" else 2
    per_token = description.d_model * (len(hook_points) + BLOCK_WIDTH) * width
    return {
        "model": weight_bytes(description, hook_points),
        "saes": sum(2 * health.sae.d_in * health.sae.d_sae * 4 for health in recipe.health.values()),
        "batch": batch.batch_tokens * per_token,
        "shards": SHARDS_HELD * min(batch.shard_mb * 2**20, kept * recipe.bytes_at(hook_points, description.d_model)),
        "libraries": LIBRARIES,
    }


def _about(description: Description) -> dict[str, str]:
    spec = description.spec
    about = {"name": spec.name, "device": spec.device, "dtype": spec.dtype}
    return about if spec.quantize is None else {**about, "quantize": spec.quantize}


def _faster(description: Description) -> str | None:
    """The gain from bfloat16 and its cost, on a CPU where it is faster; None elsewhere."""
    is_slower = (description.spec.device, description.spec.dtype) == ("cpu", "float32")
    return about_bfloat16(WORTH) if is_slower else None


def _existing(path: Path) -> Path:
    """The nearest directory that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
