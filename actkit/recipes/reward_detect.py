"""`reward-detect`: labelled texts, or preference pairs → which SAE features respond to positive feedback.

Each text is one sample: its features are pooled over its tokens. After a prompt only the answer's tokens are pooled,
and answers to one prompt make a group, which the statistics keep together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.analysis.feature_scores import ScoredSae, ScoreSettings, score_features
from actkit.backends import Description
from actkit.backends.sae import Sae
from actkit.config import PairFormat, Pool, TokenSpec
from actkit.errors import RecordError, RunError, UsageError
from actkit.export.reward_features import reward_features
from actkit.pipeline.data import Ints, Record, TokenSequence
from actkit.pipeline.features import KEPT_BYTES
from actkit.pipeline.pool import pooled_activations, pooled_features
from actkit.pipeline.recipe import Finished, OnProgress, Prepared, Recipe
from actkit.pipeline.room import records_about
from actkit.pipeline.source import Records, look_ahead, read_records
from actkit.pipeline.table_sizes import pooled_stored
from actkit.pipeline.tokenize import Tokenizer, truncate
from actkit.recipes.answered import Answered, conversation, encode_messages, encode_plain
from actkit.recipes.branches import Branch, branches, key_of
from actkit.recipes.feedback import Feedback, FeedbackFields, check_labels, labels_in, parse_feedback
from actkit.recipes.named_fields import with_fields
from actkit.recipes.preferences import Message, detect, parse
from actkit.recipes.saes import Found, as_trained
from actkit.recipes.sparse import SparseSpec
from actkit.recipes.sparse import run as sparse_run

EXAMPLES = Path(__file__).with_name("feedback_examples.jsonl")
EXAMPLE_SOURCE = "example data"
LOOK_AHEAD = 100
"""Records looked at to tell preference pairs from labelled texts."""


@dataclass(frozen=True)
class RewardDetectSpec:
    """What `reward-detect` is asked for."""

    path: str | None = None
    """None takes the built-in example data."""
    fields: FeedbackFields = field(default_factory=FeedbackFields)
    chat: bool | None = None
    """None puts messages and pairs into the chat template if the model has one, and leaves plain texts as they are."""
    pool: Pool = "max"
    scores: ScoreSettings = field(default_factory=ScoreSettings)
    top_k: int = 10
    """Features listed in `reward_features.json`."""
    tokens: TokenSpec = field(default_factory=TokenSpec)


def run(
    spec: RewardDetectSpec,
    sparse: SparseSpec,
    options: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda _progress: None,
) -> Finished:
    """Run `reward-detect` and return the finished run. Errors: see `extract`, and those of loading SAEs."""

    def make(description: Description, saes: Sequence[Sae], found: Found) -> Recipe:
        tokens = as_trained(spec.tokens, saes, description.tokenizer)
        limit = tokens.limit(description.context_length)
        return recipe(replace(spec, tokens=tokens), description.tokenizer, limit, saes, found)

    return sparse_run(sparse, make, options or {}, files or {}, on_progress)


def recipe(
    spec: RewardDetectSpec, tokenizer: Tokenizer, limit: int | None, saes: Sequence[Sae], found: Found
) -> Recipe:
    """The recipe.

    Raises InputError for a file that is not there and for a field that was named and is nowhere; UsageError for
    fields or labels of labelled texts where the file holds preference pairs.
    """
    form, records = _records(spec)
    labels = None
    if form is None:
        used_if_there = (spec.fields.group, spec.fields.score, _own_prompt(spec.fields))
        records = with_fields(records, [name for name in used_if_there if name is not None])
        labels, records = labels_in(records, spec.fields, refuse_grades=True)
    elif given := _given(spec.fields):
        raise UsageError(
            f"{given[0]} is about labelled texts, and these are preference pairs ({form})",
            "leave it out: chosen is positive, rejected negative, and a prompt's answers are a group",
        )
    chat = bool(tokenizer.chat_template) if spec.chat is None else spec.chat
    report: dict[str, Any] = {}

    def prepare(record: Record) -> Prepared:
        if labels is None:
            assert form is not None
            return Prepared(_pair(record, form, chat, spec, tokenizer, limit))
        feedback = parse_feedback(record.value, spec.fields, labels)
        return Prepared([_text(record.record_id, feedback, chat, spec, tokenizer, limit)])

    def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
        asked = [ScoredSae(sae.name, sae.d_sae, str(sae.hook_point), sae.feature_url) for sae in saes]
        try:
            table, about = score_features(run, asked, spec.scores)
        except ValueError as error:
            raise RunError(
                f"there is nothing to compare: {error}", "check the labels, or name them: --positive L --negative L"
            ) from error
        report.update(about)
        yield "feature_scores", table

    points = sorted({sae.hook_point for sae in saes})
    return Recipe(
        "reward-detect",
        lambda: records,
        prepare,
        {
            "pooled_features": pooled_features(saes, spec.pool, found.health),
            "pooled_activations": pooled_activations(points, spec.pool),
        },
        finish,
        detected={"input_format": form or "labelled texts"},
        found=lambda: {"scores": report, **found()},
        kept_bytes=KEPT_BYTES * len(saes),
        stored=pooled_stored(saes),
        n_records=records_about(str(spec.path or EXAMPLES)),
        health=found.health,
        texts=lambda run, facts: {"reward_features.json": reward_features(run, facts, spec.top_k)},
    )


def _records(spec: RewardDetectSpec) -> tuple[PairFormat | None, Records]:
    """The records, and which preference pairs they are; None for labelled texts."""
    records = read_records(str(EXAMPLES if spec.path is None else spec.path), default_format="jsonl")
    if spec.path is None:
        return None, (replace(one, source=EXAMPLE_SOURCE) for one in records)
    first, records = look_ahead(records, LOOK_AHEAD)
    forms = [detect(one.value) for one in first if isinstance(one, Record)]
    return next((form for form in forms if form is not None), None), records


def _text(
    record_id: int, feedback: Feedback, chat: bool, spec: RewardDetectSpec, tokenizer: Tokenizer, limit: int | None
) -> TokenSequence:
    group, asked = feedback.group, feedback.prompt
    if feedback.messages is not None:
        answered = encode_messages(tokenizer, feedback.messages, chat, spec.tokens.bos)
        asked = _written(feedback.messages[:-1])
    else:
        assert feedback.text is not None
        answered = _plain(feedback.text, feedback.prompt, spec, tokenizer)
    if group is None and asked:
        group = key_of(asked)
    encoding, cut = truncate(answered.encoding, limit if limit is not None else len(answered.encoding))
    return TokenSequence(
        record_id,
        encoding,
        _pooled(answered, len(encoding), limit),
        response_start=answered.response[0] if answered.response else None,
        n_truncated=cut,
        group=group,
        label=feedback.label,
        score=feedback.score,
        boundary_merged=answered.boundary_merged,
    )


def _plain(text: str, prompt: str | None, spec: RewardDetectSpec, tokenizer: Tokenizer) -> Answered:
    if prompt is not None:
        if spec.chat:
            return encode_messages(tokenizer, conversation(prompt, text), chat=True)
        return encode_plain(tokenizer, prompt, text, spec.tokens.bos)
    if not spec.chat:
        return encode_plain(tokenizer, text, None, spec.tokens.bos)
    asked = encode_messages(tokenizer, conversation(text, None), chat=True)
    own = np.flatnonzero([role == "user" for role in asked.encoding.role])
    return replace(asked, response=(int(own[0]), int(own[-1]) + 1))  # of the template's text nothing is pooled


def _pair(
    record: Record, form: PairFormat, chat: bool, spec: RewardDetectSpec, tokenizer: Tokenizer, limit: int | None
) -> list[TokenSequence]:
    """A prompt, run once, and the two answers that continue it."""
    pair = parse(record.value, form)
    sides = []
    for name, label in (("chosen", "positive"), ("rejected", "negative")):
        answered = encode_messages(tokenizer, getattr(pair, name), chat, spec.tokens.bos, pair.verbatim)
        sides.append(Branch(name, answered, _pooled(answered, len(answered.encoding), limit), label))
    return branches(record.record_id, sides, limit, key_of(_written(pair.chosen[:-1])))


def _pooled(answered: Answered, length: int, limit: int | None) -> Ints:
    """The positions that are pooled: the answer's, or all without a prompt; special tokens are skipped later."""
    first, last = answered.response or (0, length)
    keep = np.arange(first, min(last, length), dtype=np.int64)
    if answered.response and first >= length:
        raise RecordError("prompt", f"the prompt alone is longer than {limit} tokens")
    if answered.encoding.is_special[keep].all():
        raise RecordError("text", "no token but special ones")
    return keep


def _written(messages: Sequence[Message]) -> str:
    return "\n".join(f"{one['role']}: {one['content']}" for one in messages)


def check_fields(fields: FeedbackFields) -> None:
    """Raise UsageError when a label is said to be both positive and negative, or only one of them is said."""
    check_labels(fields)


def _own_prompt(fields: FeedbackFields) -> str | None:
    """The prompt's field, where it is another than the usual one, which need not be there."""
    return fields.prompt if fields.prompt != FeedbackFields.prompt else None


def _given(fields: FeedbackFields) -> list[str]:
    """The options by which something was said of labelled texts."""
    usual = FeedbackFields()
    said = [name for name in vars(usual) if getattr(fields, name) != getattr(usual, name)]
    return [f"--{name}" if name in ("positive", "negative") else f"--{name}-field" for name in said]
