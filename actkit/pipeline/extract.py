"""The one loop: records in, a run directory out. A `Recipe` has all that is particular to a command.

1. Read records. The recipe makes token sequences of each, or rejects the record with a reason.
2. Gather records into shards, bounded by sequences and by bytes of kept activations.
3. Plan a shard's batches, run them, reduce the kept activations to rows, put the rows into input order.
4. Write the shard, its manifest last, while the next one is computed.
5. Check that the counts reconcile, compute the recipe's tables over the finished shards, name the run.

A continued run begins at step 1 too, and skips the records of its finished shards.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from actkit.pipeline.compute import Computing
from actkit.pipeline.disk_space import watching
from actkit.pipeline.forward.cuda_overlap import has_own_time
from actkit.pipeline.forward.out_of_memory import trim
from actkit.pipeline.forward.sinks import sink_norms
from actkit.pipeline.provenance import file_metadata, run_facts
from actkit.pipeline.recipe import Finished, Job, nothing_kept
from actkit.pipeline.resume.fingerprint import fingerprint
from actkit.pipeline.resume.session import Session, begun, complete, count_again, reconcile
from actkit.pipeline.shards.ahead import ahead
from actkit.pipeline.shards.gather import gather_shards, room_of
from actkit.pipeline.shards.shard import Shard
from actkit.runs.manifest import InputPosition, Manifest, State, save
from actkit.runs.paths import SHARDS, TASK_FILE, whole_of
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.tasks import task_text
from actkit.runs.writer import Groups, RunDirectory


class ShardCheck(Protocol):
    """Checks finished shards while the run goes on: `--verify N`."""

    @property
    def is_due(self) -> bool:
        """Whether the next finished shard is to be checked."""

    @property
    def facts(self) -> dict[str, Any]:
        """The result of the checks for `run.json`; empty where no check was requested."""

    def check(self, run: Path, part: int, progress: Progress) -> None:
        """Check one finished shard. Raises RunError where it is wrong."""


def extract(job: Job, on_progress: OnProgress = lambda _progress: None, check: ShardCheck | None = None) -> Finished:
    """Run a job over its records and write the run directory; with `output.resume`, only the missing part.

    `check` gets the finished shards.

    Raises RunError when no record was kept, when another process writes the same run, when the run to be continued was
    begun differently, or when its input has changed. Raises InputError when the input cannot be read (or, if bad
    records are fatal, at the first one), NonFiniteError when the model computes NaN or infinity, and WriteError when
    the disk is full. Whatever ends the run early, finished shards stay in `<out>.partial`.
    """
    recipe, output, same = job.recipe, job.output, fingerprint(job)
    facts = complete(output, same)
    if facts is not None:
        return Finished(whole_of(output.out, output.task), facts, was_complete=True)
    on_progress = watching(output, recipe.n_records, on_progress)
    with begun(job, file_metadata(job), same) as run:
        directory, progress = run.directory, run.progress
        for name, text in job.files.items():
            directory.write_text(name, text)
        known = [number for number in (recipe.n_records, output.max_records) if number is not None]
        progress.total, progress.computed = min(known, default=None), progress.read
        on_progress(progress)
        shards_of_all, end = _run_shards(run, job, on_progress, check)
        if run.done or output.task is not None:
            count_again(run, recipe)
        if output.task is not None:
            directory.write_text(TASK_FILE, task_text(output.task, shards_of_all, end))
            return Finished(directory.partial, run_facts(job, run, same), task=output.task)
        if progress.written == 0:
            raise nothing_kept(progress)
        with progress.timed("finish"):
            reconcile(directory.partial, progress)
            trim()
            directory.write_over(recipe.finish(directory.partial), after=trim)
        facts = run_facts(job, run, same)
        facts |= {"verify": check.facts} if check and check.facts else {}
        for name, text in recipe.texts(directory.partial, facts).items():
            directory.write_text(name, text)
        return Finished(directory.finish(facts, run.replaces), facts)


def _run_shards(run: Session, job: Job, on_progress: OnProgress, check: ShardCheck | None) -> tuple[int, InputPosition]:
    """Compute and write the missing shards; in a task, only the task's own.

    Returns the number of shards of the whole run, and the position at which its input ends.
    """
    recipe, model, batch, task = job.recipe, job.model, job.batch, job.output.task
    progress = run.progress
    room = room_of(recipe.bytes_at(job.hook_points, model.description.d_model), batch)

    def gather(counts: Progress, told: OnProgress) -> Iterator[Shard]:
        return gather_shards(recipe, room, job.output, counts, told, run.done, model.description.vocabulary)

    if has_own_time(model.description.spec.device):
        shards = ahead(lambda counts: gather(counts, lambda _progress: None), progress)
    else:
        shards = gather(progress, on_progress)
    norms = {} if job.recipe.steering else sink_norms(job.model, job.hook_points)
    computing = Computing(job, run.budget, progress, on_progress, norms)
    ends = dict(run.done)
    for part in sorted(run.done):
        if check and check.is_due:
            check.check(run.directory.partial, part, progress)
    with ThreadPoolExecutor(max_workers=1) as writer:
        behind: Future[None] | None = None
        # The writer counts apart, and this thread adds up: it copies `progress` while a shard is written.
        before, writing = progress.within.get("write", 0.0), Progress()
        counted = deepcopy(progress)
        for shard in shards:
            part, ends[shard.part] = shard.part, shard.end
            if task is not None and not task.has(part):  # another task's: it is counted there
                progress.computed += shard.n_records
                counted = deepcopy(progress)
                continue
            trim()
            tables = computing.tables(shard)
            progress.within["write"] = before + writing.seconds.get("write", 0.0)
            # Counting goes on while this shard is written, so its manifest gets copies.
            states = {name: health.end_shard() for name, health in recipe.health.items()}
            own = replace(progress.since(counted), read=shard.end.read - shard.first)
            counted = deepcopy(progress)
            about = Manifest(part, {}, None, own, shard.end, batch.batch_tokens, run.budget.tokens)
            # One shard is written while the next is computed; never more, so that memory stays bounded.
            _wait_for(behind, progress)
            behind = writer.submit(_write, run.directory, tables, about, states, writing)
            del tables, states  # else they would stay in memory until the next shard's are there
            if check and check.is_due:
                _wait_for(behind, progress)
                check.check(run.directory.partial, part, progress)
        _wait_for(behind, progress)
        progress.within["write"] = before + writing.seconds.get("write", 0.0)
    last = max(ends, default=-1)
    return last + 1, ends.get(last, InputPosition())


def _write(
    directory: RunDirectory,
    tables: Mapping[str, Groups],
    manifest: Manifest,
    states: Mapping[str, State],
    writing: Progress,
) -> None:
    with writing.timed("write"):
        written = {table: directory.write(table, groups, manifest.part) for table, groups in tables.items()}
        shard = f"{SHARDS}/{manifest.name}.json"
        directory.files[shard] = save(directory.partial, replace(manifest, tables=written), states)


def _wait_for(behind: "Future[None] | None", progress: Progress) -> None:
    if behind is not None:
        with progress.timed("wait_for_writer"):
            behind.result()
