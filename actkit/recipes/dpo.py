"""`dpo`: preference pairs → activations of what the two sides share and of where they part.

1. Both conversations are rendered whole and tokenized; they diverge at the first token id that differs.
2. The tokens before it are one sequence, `shared`, computed and stored once; `chosen` and `rejected` continue it.
3. Positions are absolute: position p of `chosen` is the p-th token of the whole chosen rendering.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.layer_stats import layer_stats
from actkit.analysis.pair_diffs import pair_diffs, pair_stats
from actkit.config import PairPositions, TokenSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.chat import encode_chat
from actkit.pipeline.data import Encoding, Ints, Record, TokenSequence
from actkit.pipeline.recipe import Finished, OnProgress, Prepared, Recipe
from actkit.pipeline.reduce import Reducer
from actkit.pipeline.source import Records, read_records
from actkit.pipeline.tokenize import Tokenizer, divergence, encode_pieces, first_token_of, truncate
from actkit.recipes.dense import DenseSpec
from actkit.recipes.dense import run as dense_run
from actkit.recipes.preferences import FORMATS, Format, Message, Pair, detect, parse

LOOK_AHEAD = 100
"""Records looked at before the format is given up on."""
PLAIN_TURNS = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: ", "system": "\n\nSystem: ", "tool": "\n\nTool: "}
"""How conversations are written for a model without chat template: as in the hh data, which so stay as they are."""


@dataclass(frozen=True)
class DpoSpec:
    """What `dpo` is asked for."""

    path: str
    positions: PairPositions = "all"
    input_format: Format | None = None
    """None looks at the first records."""
    chat: bool | None = None
    """None uses the chat template if the model has one."""
    tokens: TokenSpec = field(default_factory=TokenSpec)


@dataclass(frozen=True)
class Side:
    """One whole conversation as tokens."""

    encoding: Encoding
    answer_start: int
    """The first character of the answer in the rendered text."""
    response_start: int
    boundary_merged: bool


def run(
    spec: DpoSpec,
    dense: DenseSpec,
    options: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run `dpo` and return the finished run. Errors: see `extract`, and InputError for input of no known format."""
    return dense_run(dense, partial(recipe, spec), options or {}, files or {}, on_progress)


def recipe(spec: DpoSpec, tokenizer: Tokenizer, context_length: int | None, reducer: Reducer) -> Recipe:
    """The recipe. Raises InputError when the first records are in none of the known formats."""
    first = read_records(spec.path, default_format="jsonl")
    looked_at = list(itertools.islice(first, LOOK_AHEAD))
    form = spec.input_format or _detect(looked_at, spec.path)
    limit = spec.tokens.limit(context_length)
    chat = spec.chat if spec.chat is not None else bool(tokenizer.chat_template)

    def records() -> Records:
        # What was looked at is handed on, since standard input cannot be read twice.
        yield from looked_at
        yield from first

    def prepare(record: Record) -> Prepared:
        pair = parse(record.value, form)
        chosen, rejected = (_encode(tokenizer, side, pair, chat, spec.tokens) for side in (pair.chosen, pair.rejected))
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            if limit is not None and len(side.encoding) > limit:
                raise RecordError(name, f"longer than the context of {limit} tokens")
        apart = divergence(chosen.encoding.token_ids, rejected.encoding.token_ids)
        row = _pair_row(record.record_id, pair, chosen, rejected, apart)
        return Prepared(_sequences(record.record_id, chosen, rejected, apart, spec.positions), {"pairs": row})

    detected = {"input_format": form, "chat": chat}
    return Recipe("dpo", records, prepare, {"activations": reducer}, finish, detected)


def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
    """The tables over a finished run: statistics per layer, differences per pair, and their summary."""
    yield "layer_stats", layer_stats(run)
    diffs = []
    for table in pair_diffs(run):
        diffs.append(table)
        yield "pair_diffs", table
    yield "pair_stats", pair_stats(diffs)


def _detect(looked_at: list[Any], path: str) -> Format:
    for record in looked_at:
        form = detect(record.value) if isinstance(record, Record) else None
        if form is not None:
            return form
    reasons = [record for record in looked_at if not isinstance(record, Record)]
    why = f" ({reasons[0].place}: {reasons[0].reason})" if reasons else ""
    keys = next(
        (sorted(one.value)[:8] for one in looked_at if isinstance(one, Record) and isinstance(one.value, dict)), None
    )
    seen = f"; the first record has the fields {', '.join(keys)}" if keys else why
    raise InputError(
        f"{path}: no preference pairs in its first {len(looked_at)} records{seen}",
        f"a record needs chosen and rejected; --input-format forces one of {', '.join(FORMATS)}",
    )


def _encode(tokenizer: Tokenizer, messages: tuple[Message, ...], pair: Pair, chat: bool, tokens: TokenSpec) -> Side:
    if chat:
        encoding, spans = encode_chat(tokenizer, messages, add_generation_prompt=False)
    else:
        pieces: list[tuple[str | None, str]] = []
        for message in messages:
            pieces += [] if pair.verbatim else [(None, PLAIN_TURNS[message["role"]])]
            pieces.append((message["role"], message["content"]))
        encoding, spans = encode_pieces(tokenizer, pieces, tokens.bos)
    start, merged = first_token_of(encoding, spans[-1][0])
    return Side(encoding, spans[-1][0], start, merged)


def _sequences(
    record_id: int, chosen: Side, rejected: Side, apart: int, positions: PairPositions
) -> list[TokenSequence]:
    if apart == 0:
        return [
            TokenSequence(
                record_id,
                side.encoding,
                _keep(0, len(side.encoding), positions),
                name,
                response_start=side.response_start,
                boundary_merged=side.boundary_merged,
            )
            for name, side in (("chosen", chosen), ("rejected", rejected))
        ]
    head, _ = truncate(chosen.encoding, apart)
    head = replace(head, text=head.text[: int(head.char_end[-1])])
    starts = [side.response_start for side in (chosen, rejected) if side.response_start < apart]
    keep = np.arange(apart if positions == "all" else 0, dtype=np.int64)
    shared = TokenSequence(record_id, head, keep, "shared", response_start=min(starts, default=None))
    if len(chosen.encoding) == len(rejected.encoding) == apart:
        return [shared]
    return [
        shared,
        *(
            TokenSequence(
                record_id,
                side.encoding,
                _keep(apart, len(side.encoding), positions),
                name,
                parent=0,
                start=apart,
                response_start=side.response_start,
                boundary_merged=side.boundary_merged,
            )
            for name, side in (("chosen", chosen), ("rejected", rejected))
        ),
    ]


def _keep(start: int, end: int, positions: PairPositions) -> Ints:
    return np.arange(start, min(start + 1, end) if positions == "divergence" else end, dtype=np.int64)


def _pair_row(record_id: int, pair: Pair, chosen: Side, rejected: Side, apart: int) -> dict[str, Any]:
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
