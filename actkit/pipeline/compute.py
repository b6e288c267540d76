"""From a shard's sequences to its tables: plan, forward, reduce, order.

Where memory runs out, a batch is halved, and batches stay that small. A record of which a single row does not fit is
rejected and the shard computed again without it, so that nothing of it is left in any table or count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from actkit.backends import Model
from actkit.config import OutputSpec
from actkit.errors import ModelError, NonFiniteError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Batch, Kept, Rejected
from actkit.pipeline.forward import forward
from actkit.pipeline.health import State
from actkit.pipeline.memory import free, is_out_of_memory
from actkit.pipeline.plan import Budget, Plan
from actkit.pipeline.recipe import OnProgress, Progress, Recipe
from actkit.pipeline.reduce import Groups
from actkit.pipeline.rows import rejected_table, sequences_table, tokens_table
from actkit.pipeline.shards import Shard, checked
from actkit.pipeline.sink import ordered
from actkit.schemas import arrow_schema

ENCODED = ("features", "pooled_features")
"""Tables whose reducers run SAEs."""


@dataclass(frozen=True)
class Computing:
    """What computing a shard needs beside the shard."""

    recipe: Recipe
    model: Model
    hook_points: Sequence[HookPoint]
    budget: Budget
    output: OutputSpec
    progress: Progress
    on_progress: OnProgress

    def tables(self, shard: Shard) -> dict[str, Groups]:
        """Every table of one shard, rows in input order. Takes records that do not fit into memory out of it.

        Raises NonFiniteError for a result that is no number, naming the record, and ModelError where memory is short
        for a row although a longer one did fit.
        """
        while (reduced := self._reduced(shard)) is None:
            continue
        with self.progress.timed("order"):
            tables: dict[str, Groups] = {"rejected": {"rejected": rejected_table(shard.rejected)}}
            if shard.sequences:
                decode = self.model.description.tokenizer.batch_decode
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
        """
        reduced: dict[str, list[Groups]] = {table: [] for table in self.recipe.reducers}
        about = self.model.description
        plan = Plan(shard.sequences, self.budget, self.model.shares_prefixes, about.d_model)
        for batch in plan:
            before = self._counted()
            rows = self._rows(batch, shard)
            if rows is not None:
                for table, groups in rows.items():
                    reduced[table].append(groups)
                self.on_progress(self.progress)
                continue
            free()
            self._restore(before)
            if not self._split(batch, plan):
                self._reject(batch, shard)
                return None
        return reduced

    def _rows(self, batch: Batch, shard: Shard) -> dict[str, Groups] | None:
        """The rows of one batch for each table; None where memory ran out."""
        try:
            with self.progress.timed("forward"):
                kept = forward(self.model, batch, self.hook_points)
            with self.progress.timed("reduce"):
                return {table: self._table(table, kept) for table in self.recipe.reducers}
        except NonFiniteError as error:
            owner = next(each for each in shard.sequences if each.sequence_id == error.sequence_id)
            place = shard.records[owner.record_id].place
            raise NonFiniteError(f"{place}: {error.message}", error.hint, error.sequence_id) from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _table(self, table: str, kept: Kept) -> Groups:
        reducer = self.recipe.reducers[table]
        if table not in ENCODED:
            return reducer(kept)
        with self.progress.timed("encode", within=True):
            return reducer(kept)

    def _counted(self) -> dict[str, State]:
        return {name: health.state() for name, health in self.recipe.health.items()}

    def _restore(self, counted: Mapping[str, State]) -> None:
        for name, state in counted.items():
            self.recipe.health[name].restore(state)

    def _split(self, batch: Batch, plan: Plan) -> bool:
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
        shard.take_out(checked(rejected, self.output), self.progress)
