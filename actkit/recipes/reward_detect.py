"""`reward-detect`: labelled texts, or preference pairs → which SAE features respond to positive feedback.

Each text is one sample: its features are pooled over its tokens. After a prompt only the answer's tokens are pooled,
and answers to one prompt make a group, which the statistics keep together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, score_features
from actkit.config import ExportFormat, PairFormat, Pool, ReadSpec, TokenSpec
from actkit.errors import UsageError
from actkit.export.reward_features import reward_features
from actkit.pipeline.data import Record
from actkit.pipeline.input.reader import Records, look_ahead, read_records, records_about
from actkit.pipeline.recipe import Finished, Prepared, Recipe
from actkit.pipeline.reducers.features import KEPT_BYTES
from actkit.pipeline.reducers.pooled import pooled_activations, pooled_features
from actkit.pipeline.reducers.table_sizes import pooled_stored
from actkit.pipeline.rules import Pooling, Rules
from actkit.recipes.feedback import FeedbackFields, labels_in, parse_feedback
from actkit.recipes.labels import Labels
from actkit.recipes.named_fields import with_fields
from actkit.recipes.pooled_sequences import SampleRendering, of_pair, of_text
from actkit.recipes.preferences import detect
from actkit.recipes.runner import Ingredients, run
from actkit.recipes.specs import SparseSpec
from actkit.runs.progress import OnProgress

EXAMPLES = Path(__file__).with_name("feedback_examples.jsonl")
EXAMPLE_SOURCE = "example data"
LOOK_AHEAD = 100
"""Records looked at to tell preference pairs from labelled texts."""


@dataclass(frozen=True)
class RewardDetectSpec:
    """What `reward-detect` is asked for."""

    command: ClassVar[str] = "reward-detect"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("json",)
    path: str | None = field(default=None, metadata={"reads": True, "option": "data", "none_is": "use_example_data"})
    """None takes the built-in example data."""
    fields: FeedbackFields = field(default_factory=FeedbackFields)
    chat: bool | None = None
    """None puts messages and pairs into the chat template if the model has one, and leaves plain texts as they are."""
    pool: Pool = "max"
    scores: ScoreSettings = field(default_factory=ScoreSettings)
    top_k: int = 10
    """Features listed in `reward_features.json`."""
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)


def run_reward_detect(
    spec: RewardDetectSpec, sparse: SparseSpec, on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Run `reward-detect` and return the finished run. Errors: see `runner.run` and `recipe`."""
    return run(spec, sparse, recipe, on_progress)


def recipe(spec: RewardDetectSpec, made: Ingredients) -> Recipe:
    """The recipe.

    Raises InputError for a file that is not there and for a field that was named and is nowhere; UsageError for
    fields or labels of labelled texts where the file holds preference pairs.
    """
    form, labels, records = _read(spec)
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)
    saes, found = made.saes, made.report
    chat = bool(tokenizer.chat_template) if spec.chat is None else spec.chat
    how = SampleRendering(tokenizer, spec.tokens.bos, limit, chat, bool(spec.chat))
    report: dict[str, Any] = {}

    def prepare(record: Record) -> Prepared:
        if labels is None:
            assert form is not None
            return Prepared(of_pair(record, form, how))
        return Prepared([of_text(record.record_id, parse_feedback(record.value, spec.fields, labels), how)])

    def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
        asked = [ScoredSae(sae.name, sae.d_sae, str(sae.hook_point), sae.feature_url) for sae in saes]
        table, about = score_features(run, asked, spec.scores)
        report.update(about)
        yield "feature_scores", table

    points = sorted({sae.hook_point for sae in saes})
    return Recipe(
        spec.command,
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
        n_records=records_about(str(spec.path or EXAMPLES), spec.read),
        health=found.health,
        rules=Rules(spec.tokens.bos, False if spec.chat is False else None, pooling=Pooling(spec.pool)),
        pools=True,
        texts=lambda run, facts: {"reward_features.json": reward_features(run, facts, spec.top_k)},
    )


def _read(spec: RewardDetectSpec) -> tuple[PairFormat | None, Labels | None, Records]:
    """Which preference pairs the records are, or else which of their labels are positive; and the records."""
    form, records = _records(spec)
    if form is None:
        used_if_there = (spec.fields.group, spec.fields.score, _own_prompt(spec.fields))
        records = with_fields(records, [name for name in used_if_there if name is not None])
        labels, records = labels_in(records, spec.fields, refuse_grades=True)
        return None, labels, records
    if given := _given(spec.fields):
        raise UsageError(
            f"{given[0]} is about labelled texts, and these are preference pairs ({form})",
            "leave it out: chosen is positive, rejected negative, and a prompt's answers are a group",
        )
    return form, None, records


def _records(spec: RewardDetectSpec) -> tuple[PairFormat | None, Records]:
    """The records, and which preference pairs they are; None for labelled texts."""
    records = read_records(str(EXAMPLES if spec.path is None else spec.path), "jsonl", spec.read)
    if spec.path is None:
        return None, (replace(one, source=EXAMPLE_SOURCE) for one in records)
    first, records = look_ahead(records, LOOK_AHEAD)
    forms = [detect(one.value) for one in first if isinstance(one, Record)]
    return next((form for form in forms if form is not None), None), records


def _own_prompt(fields: FeedbackFields) -> str | None:
    """The prompt's field, where it is another than the usual one, which need not be there."""
    return fields.prompt if fields.prompt != FeedbackFields.prompt else None


def _given(fields: FeedbackFields) -> list[str]:
    """The options by which something was said of labelled texts."""
    usual = FeedbackFields()
    said = [name for name in vars(usual) if getattr(fields, name) != getattr(usual, name)]
    return [f"--{name}" if name in ("positive", "negative") else f"--{name}-field" for name in said]
