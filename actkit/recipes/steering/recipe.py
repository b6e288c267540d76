"""`steer`: test whether directions or features of a run cause behaviour, by steering the model and scoring answers.

1. Texts are the run's held-out ones; for a concept's stems, the unsteered model answers under both wordings.
2. Interventions are each direction or feature at each layer and strength, and controls of the same norm for each.
3. Every text is scored under its interventions, teacher-forced. The measure is how much more likely the positive answer
   becomes than the negative one.
4. Layer and strength are chosen on the validation texts and reported once on the test texts, with the effect of
   controls and the loss on neutral text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.steering.tables import steering_tables
from actkit.backends.actions import Action, interventions_of
from actkit.backends.saes.sae import Sae
from actkit.errors import RecordError
from actkit.pipeline.data import Record, TokenSequence
from actkit.pipeline.digests import digest_of
from actkit.pipeline.forward.steered import Steering
from actkit.pipeline.input.files import name_of
from actkit.pipeline.recipe import Prepared, Recipe, Rules
from actkit.pipeline.reducers.activations import TableSize, logprobs
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.prompt_response import PromptResponse, conversation, encode_messages, encode_plain
from actkit.recipes.saes import SaeReport
from actkit.recipes.shared_prefix import Branch, branches, key_of
from actkit.recipes.steering.spec import SteerSpec
from actkit.recipes.steering.texts import COST, TEST, VALIDATION, predicted, steered_at

PER_ROW = 24.0
"""Bytes of a row of `logprobs` on disk."""
SHARD_COST = 12_000
"""Sequences times interventions in a shard: some minutes of a small model on a CPU."""
FEWEST = 24
"""Fewest sequences in a shard, however many interventions there are: with fewer, batches would not be full."""


@dataclass(frozen=True)
class Ready:
    """All that the recipe needs besides the spec: texts, interventions, and settings of tokenization."""

    texts: Sequence[Mapping[str, Any]]
    actions: Sequence[Action]
    saes: Mapping[str, Sae]
    tokenizer: Tokenizer
    limit: int
    n_layers: int
    chat: bool
    form: str
    """A description of the texts, for `run.json`."""
    directions: Sequence[Mapping[str, Any]] = ()
    """The run's directions: layer, method, auroc_heldout."""
    report: SaeReport | None = None
    sae_found: Mapping[str, Any] = field(default_factory=dict)
    """The options sae and sae_release of the feedback run, by which its SAE was found."""
    stored: Mapping[int, TokenSequence] = field(default_factory=dict)
    """Labelled texts of a feedback run, by their sequence_id there."""
    generate: Callable[[int], list[dict[str, str]]] = lambda _number: []
    """Id of an intervention → answers to the first `show` prompts, without it and under it."""
    words: tuple[np.typing.NDArray[np.int64], np.typing.NDArray[np.int64]] | None = None


def recipe(spec: SteerSpec, ready: Ready) -> Recipe:
    """Make the recipe; a record is a text, or a prompt with its two answers."""
    interventions, source = interventions_of(ready.actions, ready.saes), name_of(spec.run)
    report: dict[str, Any] = {"directions": [dict(direction) for direction in ready.directions]}
    settings: dict[str, Any] = {"n_layers": ready.n_layers, "budget": spec.budget}

    def prepare(record: Record) -> Prepared:
        sequences = sequences_of(record, spec, ready)
        row = {"record_id": record.record_id, **{name: record.value.get(name) for name in COLUMNS}}
        return Prepared(sequences, {"steered_texts": row})

    def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
        rows = [action.row() for action in ready.actions]
        yield from steering_tables(run, rows, **settings, report=report)
        if spec.show and report["verdicts"]:
            report["generated"] = ready.generate(int(report["verdicts"][0]["intervention_id"]))

    return Recipe(
        "steer",
        lambda: (Record(number, source, None, text) for number, text in enumerate(ready.texts)),
        prepare,
        {"logprobs": logprobs([intervention.intervention_id for intervention in interventions])},
        finish,
        statistics={"steering_tables": settings},
        detected={
            "texts": ready.form,
            "chat": ready.chat,
            "interventions": digest_of(ready.actions),
            **({} if ready.report is None else ready.sae_found),
        },
        found=lambda: {"steer": report, **({} if ready.report is None else {"saes": ready.report()["saes"]})},
        kept_bytes=16 * len(interventions),
        stored={"logprobs": TableSize("sequence", len(interventions), PER_ROW * len(interventions))},
        n_records=len(ready.texts),
        steering=Steering(ready.actions, interventions, ids_by_kind(ready.actions), KIND[COST], ready.words),
        health={} if ready.report is None else ready.report.health,
        rules=Rules(spec.tokens.bos, None),
        exports=SteerSpec.exports,
    )


KIND = {TEST: 0, VALIDATION: 1, COST: 2}
"""Split → kind of text; each kind is run under its own interventions."""


def ids_by_kind(actions: Sequence[Action]) -> dict[int, list[int]]:
    """Kind of text → the ids of its interventions; test texts are run under all.

    Validation texts, which only serve to choose, have a fifth of the controls of each group and source, at least one.
    Neutral texts, which measure the cost, have no controls.
    """
    real = sorted({action.intervention_id for action in actions if not action.is_control})
    of_source: dict[tuple[int | None, str | None], list[int]] = {}
    for action in actions:
        if action.is_control:
            own = of_source.setdefault((action.control_group, action.source), [])
            own += [] if action.intervention_id in own else [action.intervention_id]
    few = [number for own in of_source.values() for number in own[: max(round(len(own) / 5), 1)]]
    return {KIND[VALIDATION]: sorted({*real, *few}), KIND[COST]: real}


COLUMNS = ("split", "stem", "template", "prompt", "positive", "negative", "text")


def sequences_of(record: Record, spec: SteerSpec, ready: Ready) -> list[TokenSequence]:
    """Make the sequences of one text: the text alone, or a prompt, which is run once, and its two answers.

    Raises RecordError for an answer without tokens, for two equal answers, and for a text that is too short or long.
    """
    value: Mapping[str, Any] = record.value
    if value.get("stored") is not None:
        return [_stored(record.record_id, ready.stored[value["stored"]], spec, ready)]
    if value.get("positive") is None:
        return [_alone(record.record_id, value, spec, ready)]
    sides = []
    for side in ("positive", "negative"):
        made = _answered(value, side, spec, ready)
        first, last = made.response or (1, len(made.encoding))
        keep = predicted(first, last)
        if not len(keep):
            raise RecordError(side, "no token whose likelihood could be read")
        sides.append(Branch(side, made, keep, side))
    if np.array_equal(sides[0].answered.encoding.token_ids, sides[1].answered.encoding.token_ids):
        raise RecordError("negative", "both answers are the same tokens")
    found = branches(record.record_id, sides, ready.limit, key_of(str(value["stem"])), value.get("template"))
    start = None if value.get("prompt") is None else min(side.answered.response_start for side in sides)
    kind = KIND[value["split"]]
    return [
        replace(sequence, steered=steered_at(sequence.encoding, start, spec.positions), kind=kind) for sequence in found
    ]


def _answered(value: Mapping[str, Any], side: str, spec: SteerSpec, ready: Ready) -> PromptResponse:
    answer = value[side]
    if value.get("prompt") is None:
        return encode_plain(ready.tokenizer, answer, None, spec.tokens.bos)
    before = value.get("messages")
    if ready.chat or before is not None:
        messages = conversation(value["prompt"] if before is None else before, answer)
        return encode_messages(ready.tokenizer, messages, ready.chat, spec.tokens.bos)
    return encode_plain(ready.tokenizer, value["prompt"], f" {answer.lstrip()}", spec.tokens.bos)


def _alone(record_id: int, value: Mapping[str, Any], spec: SteerSpec, ready: Ready) -> TokenSequence:
    made = encode_plain(ready.tokenizer, value["text"], None, spec.tokens.bos)
    encoding, cut = truncate(made.encoding, ready.limit)
    keep = predicted(1, len(encoding))
    if not len(keep):
        raise RecordError("text", "too short: no token follows the first")
    steered, split = steered_at(encoding, None, spec.positions), value["split"]
    return TokenSequence(record_id, encoding, keep, n_truncated=cut, label=split, steered=steered, kind=KIND[split])


def _stored(record_id: int, sequence: TokenSequence, spec: SteerSpec, ready: Ready) -> TokenSequence:
    """Make the sequence of a labelled text, with the tokens of the feedback run."""
    length = len(sequence.encoding)
    keep = predicted(sequence.response_start or 1, length)
    if ready.words is not None:
        keep = np.append(keep, length - 1)
    if not len(keep):
        raise RecordError("text", "too short: no token follows the first")
    steered = steered_at(sequence.encoding, sequence.response_start, spec.positions)
    return replace(sequence, record_id=record_id, keep=keep, steered=steered, parent=None, start=0, sequence_id=-1)
