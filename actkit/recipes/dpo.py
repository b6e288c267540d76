"""`dpo`: preference pairs → activations of the tokens that both sides share, and of each side after they diverge.

1. Both conversations are rendered whole and tokenized; they diverge at the first token id that differs.
2. The tokens before it are one sequence, `shared`, computed and stored once; `chosen` and `rejected` continue it.
3. Positions are absolute: position p of `chosen` is the p-th token of the whole chosen rendering.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from actkit.analysis.layer_stats import LayerStats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.config import ExportFormat, PairPositions, ReadSpec, TokenSpec
from actkit.errors import RecordError
from actkit.pipeline.data import Ints, Record, TokenSequence
from actkit.pipeline.input.reader import left_of, records_about
from actkit.pipeline.recipe import Finished, Prepared, Recipe, Rules
from actkit.pipeline.tokens.tokenize import divergence
from actkit.recipes.conversations.fields import ContextFields, PairFields, names_of
from actkit.recipes.conversations.pair_records import pairs_in
from actkit.recipes.conversations.pairs import Pair, PairsSpec, read_pair
from actkit.recipes.prompt_response import PromptResponse, encode_messages, touching
from actkit.recipes.runner import Ingredients, run, with_features
from actkit.recipes.shared_prefix import beginning
from actkit.recipes.specs import DenseSpec
from actkit.runs.progress import OnProgress


@dataclass(frozen=True)
class DpoSpec:
    """The options of `dpo`."""

    command: ClassVar[str] = "dpo"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("h5", "npz", "safetensors")
    path: str = field(metadata={"reads": True, "option": "pairs"})
    positions: PairPositions = "all"
    input_format: str | None = None
    """The name of a shape; None detects it for each record."""
    chat: bool | None = None
    """None uses the chat template if the model has one."""
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    prompt_field: str | None = None
    answers: PairFields = field(default_factory=PairFields)
    context: ContextFields = field(default_factory=ContextFields)

    @property
    def pairs(self) -> PairsSpec:
        """Settings for reading the pairs."""
        names = names_of(self.prompt_field, self.context, self.answers)
        return PairsSpec(self.input_format, names, self.answers.make_pairs)


def run_dpo(spec: DpoSpec, dense: DenseSpec, on_progress: OnProgress = lambda _progress: None) -> Finished:
    """Run `dpo` and return the finished run. Errors: see `runner.run`, and InputError for input of no known format."""
    return run(spec, dense, recipe, on_progress)


def recipe(spec: DpoSpec, made: Ingredients) -> Recipe:
    """Make the recipe.

    Raises InputError when the first records have none of the known shapes, UsageError for an unknown shape.
    """
    asked = spec.pairs
    records = pairs_in(spec.path, asked, spec.read)
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)
    chat = spec.chat if spec.chat is not None else bool(tokenizer.chat_template)

    def prepare(record: Record) -> Prepared:
        pair = read_pair(record.value, asked)
        chosen, rejected = (
            encode_messages(tokenizer, side, chat, spec.tokens.bos, pair.plain_of(number), pair.template)
            for number, side in enumerate((pair.chosen, pair.rejected))
        )
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            if len(side.encoding) > limit:
                raise RecordError(name, f"longer than the context of {limit} tokens")
        apart = divergence(chosen.encoding.token_ids, rejected.encoding.token_ids)
        row = _pair_row(record.record_id, pair, chosen, rejected, apart)
        sequences = _sequences(record.record_id, chosen, rejected, apart, spec.positions)
        return Prepared(sequences, {"pairs": row}, {**pair.said, **touching(pair.plain_of(0), chat)})

    detected = {"chat": chat, **left_of(spec.path, spec.read)}
    about = records_about(spec.path, spec.read)
    rules = Rules(spec.tokens.bos, chat)
    plain = Recipe(
        spec.command, lambda: records, prepare, made.reducers, finish, detected, n_records=about, rules=rules
    )
    return with_features(plain, made)


def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables over a finished run: statistics per layer, differences per pair, and their summary."""
    layers, diffs = LayerStats(), []
    for table in pair_diffs(run, layers.add):
        diffs.append(table)
        yield "pair_diffs", table
    yield "layer_stats", layers.table()
    yield "pair_stats", pair_stats(diffs)


def _sequences(
    record_id: int, chosen: PromptResponse, rejected: PromptResponse, apart: int, positions: PairPositions
) -> list[TokenSequence]:
    continuing = [
        TokenSequence(
            record_id,
            side.encoding,
            _keep(apart, len(side.encoding), positions),
            name,
            parent=0 if apart else None,
            start=apart,
            response_start=side.response_start,
            boundary_merged=side.boundary_merged,
        )
        for name, side in (("chosen", chosen), ("rejected", rejected))
    ]
    if apart == 0:
        return continuing
    head = beginning(chosen.encoding, rejected.encoding, apart)
    starts = [side.response_start for side in (chosen, rejected) if side.response_start < apart]
    keep = np.arange(apart if positions == "all" else 0, dtype=np.int64)
    shared = TokenSequence(record_id, head, keep, "shared", response_start=min(starts, default=None))
    return [shared] if len(chosen.encoding) == len(rejected.encoding) == apart else [shared, *continuing]


def _keep(start: int, end: int, positions: PairPositions) -> Ints:
    return np.arange(start, min(start + 1, end) if positions == "divergence" else end, dtype=np.int64)


def _pair_row(
    record_id: int, pair: Pair, chosen: PromptResponse, rejected: PromptResponse, apart: int
) -> dict[str, Any]:
    lengths = len(chosen.encoding), len(rejected.encoding)
    return {
        "record_id": record_id,
        "status": _status(pair, lengths, apart),
        "chosen_divergence": apart if apart < lengths[0] else None,
        "rejected_divergence": apart if apart < lengths[1] else None,
        "chosen_length": lengths[0],
        "rejected_length": lengths[1],
        "chosen_response_start": chosen.response_start,
        "rejected_response_start": rejected.response_start,
        "prompt_sha256": _sha256(chosen.encoding.text[: chosen.answer_start]),
        "chosen_sha256": _sha256(pair.chosen[-1]["content"]),
        "rejected_sha256": _sha256(pair.rejected[-1]["content"]),
    }


def _status(pair: Pair, lengths: tuple[int, int], apart: int) -> str:
    if lengths == (apart, apart):
        return "identical"
    if pair.chosen[:-1] != pair.rejected[:-1]:
        return "prompts_differ"
    if apart in lengths:
        return "chosen_is_prefix" if lengths[0] == apart else "rejected_is_prefix"
    return "ok"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
