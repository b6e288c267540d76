"""The one loop: records in, a run directory out. What is particular to a command comes in as a `Recipe`.

1. Read records; have the recipe make token sequences of each; reject, with a reason, those that it cannot use.
2. Gather records into shards, bounded by sequences and by bytes of kept activations.
3. Plan a shard's batches, run them, reduce what is kept to rows, put the rows into input order.
4. Write the shard while the next one is computed.
5. Compute the recipe's tables over the finished shards, check that the counts reconcile, name the run.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from actkit.backends import Model
from actkit.config import BatchSpec, OutputSpec
from actkit.errors import NonFiniteError, RunError
from actkit.hooks import HookPoint
from actkit.pipeline.forward import forward
from actkit.pipeline.plan import plan
from actkit.pipeline.provenance import file_metadata, run_facts
from actkit.pipeline.recipe import Finished, OnProgress, Progress, Recipe
from actkit.pipeline.reduce import Groups
from actkit.pipeline.rows import rejected_table, sequences_table, tokens_table
from actkit.pipeline.shards import Shard, gather_shards
from actkit.pipeline.sink import RunDirectory, ordered, start_run
from actkit.schemas import arrow_schema


def extract(
    recipe: Recipe,
    model: Model,
    hook_points: Sequence[HookPoint],
    batch: BatchSpec,
    output: OutputSpec,
    options: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run `recipe` over its records and write the run directory.

    `options` go into `run.json` as they are; `files` (name → text) are written beside the tables.

    Raises RunError when nothing was kept, InputError when the input cannot be read (or, if bad records are fatal, at
    the first one), NonFiniteError when the model computes something that is not a number. What was written until then
    stays in `<out>.partial`.
    """
    began = time.time()
    progress = Progress()
    directory = start_run(output.out, output.overwrite, file_metadata(recipe.command, model, hook_points))
    try:
        for name, text in (files or {}).items():
            directory.write_text(name, text)
        _run_shards(recipe, model, hook_points, batch, output, directory, progress, on_progress)
        if progress.written == 0:
            why = _reasons(progress)
            raise RunError(f"nothing was kept of {progress.read} records{why}", "see the input formats in --help")
        with progress.timed("finish"):
            for name, table in recipe.finish(directory.partial):
                directory.write(name, {name: table}, part=directory.parts.get(name, 0))
        facts = run_facts(recipe, model, hook_points, options, progress, directory, began)
        for name, text in recipe.texts(directory.partial, facts).items():
            directory.write_text(name, text)
        return Finished(directory.finish(facts, output.overwrite), facts)
    except BaseException:
        directory.discard_if_empty()
        raise


def _run_shards(
    recipe: Recipe,
    model: Model,
    hook_points: Sequence[HookPoint],
    batch: BatchSpec,
    output: OutputSpec,
    directory: RunDirectory,
    progress: Progress,
    on_progress: OnProgress,
) -> None:
    most_kept = max(batch.shard_mb * 2**20 // (len(hook_points) * model.description.d_model * 4), 1)
    shards = gather_shards(recipe, batch.shard_sequences, most_kept, output, progress, on_progress)
    with ThreadPoolExecutor(max_workers=1) as writer:
        behind: Future[None] | None = None
        for part, shard in enumerate(shards):
            tables = _compute(shard, recipe, model, hook_points, batch, progress, on_progress)
            # One shard is written while the next is computed; never more, so that memory stays bounded.
            _wait_for(behind, progress)
            behind = writer.submit(_write, directory, part, tables)
        _wait_for(behind, progress)


def _compute(
    shard: Shard,
    recipe: Recipe,
    model: Model,
    hook_points: Sequence[HookPoint],
    batch: BatchSpec,
    progress: Progress,
    on_progress: OnProgress,
) -> dict[str, Groups]:
    """Every table of one shard, rows in input order."""
    reduced: dict[str, list[Groups]] = {table: [] for table in recipe.reducers}
    for one in plan(shard.sequences, batch.batch_tokens, model.shares_prefixes):
        with progress.timed("forward"):
            kept = forward(model, one, hook_points)
        with progress.timed("reduce"):
            for table, reducer in recipe.reducers.items():
                try:
                    reduced[table].append(reducer(kept))
                except NonFiniteError as error:
                    owner = next(each for each in shard.sequences if each.sequence_id == error.sequence_id)
                    place = shard.records[owner.record_id].place
                    raise NonFiniteError(f"{place}: {error.message}", error.hint, error.sequence_id) from error
        on_progress(progress)
    with progress.timed("order"):
        tables: dict[str, Groups] = {"rejected": {"rejected": rejected_table(shard.rejected)}}
        if shard.sequences:
            tables |= {table: ordered(groups) for table, groups in reduced.items() if groups}
            tables["sequences"] = {"sequences": sequences_table(shard.sequences, shard.records)}
            tables["tokens"] = {"tokens": tokens_table(shard.sequences, model.description.tokenizer.batch_decode)}
        for table, rows in shard.rows.items():
            tables[table] = {table: pa.Table.from_pylist(list(rows), schema=arrow_schema(table))}
    progress.tokens += sum(len(one.own_ids) for one in shard.sequences)
    return tables


def _write(directory: RunDirectory, part: int, tables: Mapping[str, Groups]) -> None:
    for table, groups in tables.items():
        # Vectors hardly compress (about 8 % with zstd), and writing them plainly is faster.
        directory.write(table, groups, part, compression="none" if table == "activations" else "zstd")


def _wait_for(behind: "Future[None] | None", progress: Progress) -> None:
    if behind is not None:
        with progress.timed("wait_for_writer"):
            behind.result()


def _reasons(progress: Progress) -> str:
    most = sorted(progress.reasons.items(), key=lambda item: -item[1])[:3]
    return ": " + "; ".join(f"{count} × {reason}" for reason, count in most) if most else ""
