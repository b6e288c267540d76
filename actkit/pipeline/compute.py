"""`Computing` turns a shard's sequences into its tables: plan, forward, reduce, order.

Where memory runs out, a batch is halved, and later batches stay that small. A record with a row that does not fit alone
is rejected. The shard is then computed again without the record, so that no table and no count includes it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import ModelError, NonFiniteError, RecordError
from actkit.pipeline.data import Batch, Ints, Kept, Record, TokenSequence
from actkit.pipeline.forward.batches import BatchPlan, Budget
from actkit.pipeline.forward.cuda_overlap import OverlappedWorker, has_own_time
from actkit.pipeline.forward.out_of_memory import free, is_out_of_memory, trim
from actkit.pipeline.forward.run_batch import forward
from actkit.pipeline.forward.sinks import are_sinks
from actkit.pipeline.forward.steered import forward_steered
from actkit.pipeline.non_finite import holder_of
from actkit.pipeline.recipe import Job
from actkit.pipeline.record_tables import Sinks, tables_of
from actkit.pipeline.shards.shard import Shard, checked
from actkit.runs.progress import OnProgress, Progress
from actkit.runs.writer import Groups, ordered

ENCODED = ("features", "pooled_features")
"""Tables whose reducers run SAEs."""
NOTHING_TO_POOL = "no token to pool but special ones and attention sinks"


@dataclass(frozen=True)
class BatchRows:
    """The result of one batch: rows of each table, and the positions that are attention sinks."""

    tables: Mapping[str, Groups]
    sinks: Ints
    """[k, 2]: sequence_id and position."""


@dataclass
class Computing:
    """Computes the shards of one job; `tables` gives all tables of a shard."""

    job: Job
    budget: Budget
    progress: Progress
    on_progress: OnProgress
    sink_norms: Mapping[str, float] = field(default_factory=dict)
    """Hook point → the norm above which a token is an attention sink."""
    side_by_side: bool = field(init=False)
    """Whether rows of a batch are made while the device computes the next batch; then both are in memory."""

    def __post_init__(self) -> None:
        self.side_by_side = has_own_time(self.job.model.description.spec.device)

    def tables(self, shard: Shard) -> dict[str, Groups]:
        """Compute every table of one shard, rows in input order. Rejects records that do not fit into memory.

        Raises NonFiniteError, naming the record, for NaN or infinity, and ModelError where a row does not fit into
        memory although one as long did before.
        """
        progress = self.progress
        progress.shard = (shard.n_records, shard.n_tokens)
        try:
            while (found := self._reduced(shard)) is None:
                continue
        except NonFiniteError as error:
            raise self._located(error, shard) from error
        trim()
        with self.progress.timed("order"):
            reduced, sinks = found
            known = Sinks.of(shard.sequences, sinks) if self.sink_norms else None
            gone = self._take_out_unpooled(shard, known) if known and self.job.recipe.pools else []
            said = tables_of(shard, self.job.model.description.tokenizer, known)
            tables: dict[str, Groups] = {"rejected": {"rejected": said.pop("rejected")}}
            if shard.sequences:
                tables |= {table: _without(ordered(groups), gone) for table, groups in reduced.items() if groups}
                self.progress.sinks += known.count(shard.sequences) if known else 0
            tables |= {table: {table: rows} for table, rows in said.items()}
        progress.tokens += shard.n_tokens
        progress.computed += shard.n_records
        progress.shard, progress.share = (0, 0), 0.0
        return tables

    def _take_out_unpooled(self, shard: Shard, sinks: Sinks) -> list[int]:
        """Reject records without a position to pool; return the ids of their sequences, whose rows must be removed."""
        empty = [sequence for sequence in shard.sequences if len(sequence.keep) and not sinks.plain(sequence).any()]
        records = dict.fromkeys(sequence.record_id for sequence in empty)
        gone = [sequence.sequence_id for sequence in shard.sequences if sequence.record_id in records]
        for record_id in records:
            self._take_out(shard.records[record_id], NOTHING_TO_POOL, shard)
        return gone

    def _take_out(self, record: Record, reason: str, shard: Shard) -> None:
        shard.take_out(checked(record.rejected(RecordError(None, reason)), self.job.output), self.progress)

    def _reduced(self, shard: Shard) -> tuple[dict[str, list[Groups]], Ints] | None:
        """Compute the rows of each table, batch by batch, and the sinks [k, 2]; None where a record was rejected.

        Batches come longest first, so a record is rejected before any other batch of the shard has been counted.
        Where memory runs out, rows are first no longer made in parallel with the next batch; then batches are halved.
        """
        reduced: dict[str, list[Groups]] = {table: [] for table in self.job.recipe.reducers}
        about = self.job.model.description
        shares = self.job.model.shares_prefixes
        plan = BatchPlan(shard.sequences, self.budget, shares, about.d_model, about.spec.device)
        before: Future[BatchRows | None] | None = None
        sinks = [np.zeros((0, 2), dtype=np.int64)]

        def took(rows: BatchRows | None) -> bool:
            if rows is not None:
                for table, groups in rows.tables.items():
                    reduced[table].append(groups)
                sinks.append(rows.sinks)
                plan.done()
                self.progress.share = plan.share
                self.on_progress(self.progress)
            return rows is not None

        with OverlappedWorker(about.spec.device) as beside:
            while (batch := plan.next()) is not None or before is not None:
                kept = None if batch is None else self._kept(batch, shard, plan)
                fitted = (before is None or took(self._result(before))) and (batch is None or kept is not None)
                before = None
                if fitted and kept is not None and self.side_by_side:
                    before = beside.submit(partial(self._rows, kept))
                elif fitted and kept is not None:
                    fitted = took(self._rows(kept))
                kept = None  # else it would stay in memory together with the next batch's
                if fitted:
                    continue
                free()
                if self.side_by_side:
                    self.side_by_side = False
                    plan.put_back()
                elif batch is not None and not self._split(batch, plan):
                    self._reject(batch, shard)
                    return None
        return reduced, np.concatenate(sinks)

    def _kept(self, batch: Batch, shard: Shard, plan: BatchPlan) -> Kept | None:
        """Run one batch; None where memory ran out."""
        steering = self.job.recipe.steering

        def told(share: float) -> None:
            self.progress.share = plan.share + share * plan.running
            self.on_progress(self.progress)

        try:
            with self.progress.timed("forward"):
                if steering is not None:
                    return forward_steered(self.job.model, batch, shard.sequences, steering, told)
                return forward(self.job.model, batch, self.job.hook_points)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _rows(self, kept: Kept) -> BatchRows | None:
        """Make the rows of one batch for each table; None, and nothing counted, where memory ran out."""
        counted = {name: health.counts.copy() for name, health in self.job.recipe.health.items()}
        try:
            with self.progress.timed("reduce"):
                is_sink = are_sinks(kept.activations, self.sink_norms, len(kept.positions))
                kept = replace(kept, is_sink=is_sink)
                sinks = np.stack([kept.sequence_ids[is_sink], kept.positions[is_sink]], axis=1)
                return BatchRows({table: self._table(table, kept) for table in self.job.recipe.reducers}, sinks)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        for name, counts in counted.items():
            self.job.recipe.health[name].counts = counts
        return None

    def _located(self, error: NonFiniteError, shard: Shard) -> NonFiniteError:
        """Name the record in the error; to find it, run alone the texts that may have shared its row."""

        def alone(sequence: TokenSequence) -> NonFiniteError | None:
            plan = BatchPlan([sequence], Budget(self.budget.tokens), False, self.job.model.description.d_model)
            try:
                if (batch := plan.next()) and (kept := self._kept(batch, shard, plan)):
                    self._rows(kept)
            except NonFiniteError as found:
                return found
            return None

        if shard.record_of(error.sequence_id) is None:
            return error
        found = holder_of(error, shard.sequences, alone)
        if (record := shard.record_of(found.sequence_id)) is not None:
            found.message = f"{record.place}: {found.message}"
        return found

    def _result(self, before: "Future[BatchRows | None]") -> BatchRows | None:
        with self.progress.timed("wait_for_rows"):
            return before.result()

    def _table(self, table: str, kept: Kept) -> Groups:
        with self.progress.timed("encode", within=True) if table in ENCODED else nullcontext():
            return self.job.recipe.reducers[table](kept)

    def _split(self, batch: Batch, plan: BatchPlan) -> bool:
        """Divide a batch into smaller ones and note it; False where it cannot be divided."""
        count, width = batch.input_ids.shape
        if not plan.split():
            return False
        note = f"out of memory with a batch of {count} × {width} tokens"
        self.progress.notes.append(f"{note}; going on with --batch-tokens {self.budget.tokens}")
        return True

    def _reject(self, batch: Batch, shard: Shard) -> None:
        """Reject the record of a single row. Raises ModelError if as long a row did fit, or if shards share it."""
        n_tokens = batch.input_ids.shape[1]
        if n_tokens <= self.budget.fits:
            raise ModelError(
                f"out of memory with {n_tokens} tokens, although {self.budget.fits} did fit before",
                "is something else using the memory? free it, then go on with --resume",
            )
        record = shard.record_of(int(batch.sequence_ids[0]))
        assert record is not None
        reason = f"out of memory with {n_tokens:,} tokens"
        if record.record_id in shard.shares:
            raise ModelError(
                f"{record.place}: {reason}, of a record that stands in several shards",
                "run fewer tokens at once: --context-size; or on another --device",
            )
        self._take_out(record, reason, shard)


def _without(groups: Groups, gone: Sequence[int]) -> Groups:
    """Return the rows without those of the sequences in `gone`."""
    if not gone:
        return groups
    ids = pa.array(gone, type=pa.int64())
    return {
        name: table.filter(pc.invert(pc.is_in(table["sequence_id"], value_set=ids))) for name, table in groups.items()
    }
