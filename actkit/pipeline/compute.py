"""From a shard's sequences to its tables: plan, forward, reduce, order.

Where memory runs out, a batch is halved, and batches stay that small. A record of which a single row does not fit is
rejected and the shard computed again without it, so that nothing of it is left in any table or count.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from actkit.errors import ModelError, NonFiniteError
from actkit.pipeline.data import Batch, Kept, Rejected
from actkit.pipeline.forward.batches import BatchPlan, Budget
from actkit.pipeline.forward.cuda_overlap import OverlappedWorker, has_own_time
from actkit.pipeline.forward.out_of_memory import free, is_out_of_memory, trim
from actkit.pipeline.forward.run_batch import forward
from actkit.pipeline.forward.steered import forward_steered
from actkit.pipeline.job import Job
from actkit.pipeline.record_tables import rejected_table, sequences_table, tokens_table
from actkit.pipeline.shards import Shard, checked
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.writer import Groups, ordered
from actkit.schemas import arrow_schema

ENCODED = ("features", "pooled_features")
"""Tables whose reducers run SAEs."""


@dataclass
class Computing:
    """What computing a shard needs beside the shard."""

    job: Job
    budget: Budget
    progress: Progress
    on_progress: OnProgress
    side_by_side: bool = field(init=False)
    """Whether the rows of a batch are made while the device computes the next: two batches are in memory then."""

    def __post_init__(self) -> None:
        self.side_by_side = has_own_time(self.job.model.description.spec.device)

    def tables(self, shard: Shard) -> dict[str, Groups]:
        """Every table of one shard, rows in input order. Takes records that do not fit into memory out of it.

        Raises NonFiniteError for a result that is no number, naming the record, and ModelError where memory is short
        for a row although a longer one did fit.
        """
        while (reduced := self._reduced(shard)) is None:
            continue
        trim()
        with self.progress.timed("order"):
            tables: dict[str, Groups] = {"rejected": {"rejected": rejected_table(shard.rejected)}}
            if shard.sequences:
                decode = self.job.model.description.tokenizer.batch_decode
                tables |= {table: ordered(groups) for table, groups in reduced.items() if groups}
                tables["sequences"] = {"sequences": sequences_table(shard.sequences, shard.records)}
                tables["tokens"] = {"tokens": tokens_table(shard.sequences, decode)}
            for table, rows in shard.rows.items():
                tables[table] = {table: pa.Table.from_pylist(list(rows.values()), schema=arrow_schema(table))}
        self.progress.tokens += sum(len(one.own_ids) for one in shard.sequences)
        return tables

    def _reduced(self, shard: Shard) -> dict[str, list[Groups]] | None:
        """The rows of each table, batch by batch; None where a record was taken out.

        Batches come longest first, so a record is taken out before any other batch of the shard has been counted.
        Where memory runs out, two batches at a time is what is given up first.
        """
        reduced: dict[str, list[Groups]] = {table: [] for table in self.job.recipe.reducers}
        about = self.job.model.description
        plan = BatchPlan(shard.sequences, self.budget, self.job.model.shares_prefixes, about.d_model)
        before: Future[dict[str, Groups] | None] | None = None

        def took(rows: dict[str, Groups] | None) -> bool:
            if rows is not None:
                for table, groups in rows.items():
                    reduced[table].append(groups)
                plan.done()
                self.on_progress(self.progress)
            return rows is not None

        with OverlappedWorker(about.spec.device) as beside:
            while (batch := plan.next()) is not None or before is not None:
                kept = None if batch is None else self._kept(batch, shard)
                fitted = (before is None or took(self._result(before))) and (batch is None or kept is not None)
                before = None
                if fitted and kept is not None and self.side_by_side:
                    before = beside.submit(partial(self._rows, kept, shard))
                elif fitted and kept is not None:
                    fitted = took(self._rows(kept, shard))
                kept = None  # else it would stay in memory beside what the next batch keeps
                if fitted:
                    continue
                free()
                if self.side_by_side:
                    self.side_by_side = False
                    plan.put_back()
                elif batch is not None and not self._split(batch, plan):
                    self._reject(batch, shard)
                    return None
        return reduced

    def _kept(self, batch: Batch, shard: Shard) -> Kept | None:
        """What is kept of one batch; None where memory ran out."""
        steering = self.job.recipe.steering
        try:
            with self.progress.timed("forward"):
                if steering is not None:
                    return forward_steered(self.job.model, batch, shard.sequences, steering)
                return forward(self.job.model, batch, self.job.hook_points)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _rows(self, kept: Kept, shard: Shard) -> dict[str, Groups] | None:
        """The rows of one batch for each table; None, and nothing counted, where memory ran out."""
        counted = {name: health.state() for name, health in self.job.recipe.health.items()}
        try:
            with self.progress.timed("reduce"):
                return {table: self._table(table, kept) for table in self.job.recipe.reducers}
        except NonFiniteError as error:
            owner = next(each for each in shard.sequences if each.sequence_id == error.sequence_id)
            place = shard.records[owner.record_id].place
            raise NonFiniteError(f"{place}: {error.message}", error.hint, error.sequence_id) from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        for name, state in counted.items():
            self.job.recipe.health[name].restore(state)
        return None

    def _result(self, before: "Future[dict[str, Groups] | None]") -> dict[str, Groups] | None:
        with self.progress.timed("wait_for_rows"):
            return before.result()

    def _table(self, table: str, kept: Kept) -> Groups:
        reducer = self.job.recipe.reducers[table]
        if table not in ENCODED:
            return reducer(kept)
        with self.progress.timed("encode", within=True):
            return reducer(kept)

    def _split(self, batch: Batch, plan: BatchPlan) -> bool:
        """Have a batch run in smaller ones; False for a single text."""
        count, width = batch.input_ids.shape
        if not plan.split():
            return False
        note = f"out of memory with a batch of {count} × {width} tokens"
        self.progress.notes.append(f"{note}; going on with --batch-tokens {self.budget.tokens}")
        return True

    def _reject(self, batch: Batch, shard: Shard) -> None:
        """Take the record of a single row out of the shard."""
        n_tokens = batch.input_ids.shape[1]
        if n_tokens <= self.budget.fits:
            raise ModelError(
                f"out of memory with {n_tokens} tokens, although {self.budget.fits} did fit before",
                "is something else using the memory? free it, then go on with --resume",
            )
        first = int(batch.sequence_ids[0])
        record = shard.records[next(one.record_id for one in shard.sequences if one.sequence_id == first)]
        reason = f"out of memory with {n_tokens:,} tokens"
        rejected = Rejected(record.record_id, record.source, record.line, None, reason)
        shard.take_out(checked(rejected, self.job.output), self.progress)
