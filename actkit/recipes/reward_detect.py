"""`reward-detect`: labelled texts, or preference pairs → which SAE features respond to positive feedback.

Each text is one sample: its features are pooled over its tokens. After a prompt only the answer's tokens are pooled,
and answers to one prompt make a group, which the statistics keep together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from actkit.analysis.feature_tests.feature_scores import ScoredSae, ScoreSettings, feature_tables
from actkit.config import ExportFormat, OutputSpec, Pool, ReadSpec, TokenSpec
from actkit.errors import UsageError
from actkit.export.reward_features import reward_features
from actkit.pipeline.data import Record
from actkit.pipeline.input.reader import left_of, look_ahead, read_records, records_about
from actkit.pipeline.input.records import Records
from actkit.pipeline.recipe import Finished, Pooling, Prepared, Recipe, Rules
from actkit.pipeline.reducers.features import KEPT_BYTES
from actkit.recipes.asked import options_of
from actkit.recipes.conversations.fields import ContextFields, PairFields, names_of
from actkit.recipes.conversations.named_fields import check_named, with_fields
from actkit.recipes.conversations.pair_records import LOOK_AHEAD, check_numbers, one_a_pair
from actkit.recipes.conversations.pairs import PairsSpec, check_form, detect, read_pair
from actkit.recipes.conversations.trees import from_trees
from actkit.recipes.feedback import SampleRendering, of_pair, of_text, parse_feedback
from actkit.recipes.from_run import Again, changed_options, flag_of, make_again, source_facts
from actkit.recipes.label_counts import check_both, labelled_lines, meant_in
from actkit.recipes.labels import LOOK_AHEAD as LABELS_LOOKED_AT
from actkit.recipes.labels import FeedbackFields, Labels, labels_in
from actkit.recipes.prompt_response import touching
from actkit.recipes.runner import Ingredients, run, with_pooled
from actkit.recipes.saes import scored
from actkit.recipes.specs import SparseSpec, checked, spec_of
from actkit.remote.url import FEATURE_PAGES
from actkit.runs.progress import OnProgress

EXAMPLES = Path(__file__).with_name("feedback_examples.jsonl")
EXAMPLE_SOURCE = "example data"
CHANGEABLE = ("q", "held_out", "correlation_threshold", "strength_threshold", "seed", "listed", "draws", "null_draws")
"""Options that may differ from the run that `--from` names."""
RENAMED = {"top_k": "listed", "activation_threshold": "strength_threshold"}
"""Options' names in runs of earlier versions → their names now."""


@dataclass(frozen=True)
class RewardDetectSpec:
    """The options of `reward-detect`."""

    command: ClassVar[str] = "reward-detect"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("json",)
    path: str | None = field(default=None, metadata={"reads": True, "option": "data", "none_is": "use_example_data"})
    """None takes the built-in example data."""
    fields: FeedbackFields = field(default_factory=FeedbackFields)
    chat: bool | None = None
    """None puts messages and pairs into the chat template if the model has one, and leaves plain texts as they are."""
    pool: Pool = "max"
    scores: ScoreSettings = field(default_factory=ScoreSettings)
    top_k: int = field(default=10, metadata={"option": "listed", "least": 1})
    """Features listed in `reward_features.json`."""
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    input_format: str | None = None
    """For preference pairs, the name of a shape; None detects it for each record."""
    answers: PairFields = field(default_factory=PairFields)
    """For preference pairs, the fields of the two answers."""
    context: ContextFields = field(default_factory=ContextFields)

    @property
    def pairs(self) -> PairsSpec:
        """Settings for reading preference pairs."""
        names = names_of(self.fields.prompt, self.context, self.answers)
        return PairsSpec(self.input_format, names, self.answers.make_pairs)


def run_reward_detect(
    spec: RewardDetectSpec, sparse: SparseSpec, on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Run `reward-detect` and return the finished run. Errors: see `runner.run` and `recipe`."""
    return run(spec, sparse, recipe, on_progress)


def recipe(spec: RewardDetectSpec, made: Ingredients) -> Recipe:
    """Make the recipe.

    Raises InputError for a file that is not there and for a named field that no record has; UsageError for fields or
    labels of labelled texts where the file holds preference pairs.
    """
    asked = spec.pairs
    check_form(spec.input_format)
    labels, records = _read(spec)
    about: dict[str, Any] = {"input_format": "preference pairs" if labels is None else "labelled texts"}
    about |= left_of(spec.path, spec.read)
    if labels is not None:
        first, records, are_all = look_ahead(records, LABELS_LOOKED_AT)
        meant = meant_in(labels, first)
        about |= {"labels": meant, "weights": spec.fields.score}
        if are_all and not spec.fields.columns:
            check_both(labels, first, meant["field"])
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)
    chat = bool(tokenizer.chat_template) if spec.chat is None else spec.chat
    how = SampleRendering(tokenizer, spec.tokens.bos, limit, chat, bool(spec.chat))
    report: dict[str, Any] = {}

    def prepare(record: Record) -> Prepared:
        if labels is None:
            pair = read_pair(record.value, asked)
            said = {**pair.said, **touching(pair.plain_of(0), chat)}
            return Prepared(of_pair(record.record_id, pair, how), said=said)
        feedback = parse_feedback(record.value, spec.fields, labels, asked.names)
        said = {**feedback.said.said, **touching(feedback.said.plain, how.plain_chat)}
        return Prepared([of_text(record.record_id, feedback, how)], said=said)

    def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
        yield from feature_tables(run, scored(made.saes), spec.scores, report)

    plain = Recipe(
        spec.command,
        lambda: records,
        prepare,
        made.reducers,
        finish,
        statistics={"feature_scores": asdict(spec.scores)},
        detected=about,
        found=lambda: {"scores": report},
        kept_bytes=KEPT_BYTES * len(made.saes),
        temporary=lambda _sequences, _positions: None,
        n_records=records_about(str(spec.path or EXAMPLES), spec.read),
        rules=Rules(spec.tokens.bos, False if spec.chat is False else None),
        pools=True,
        texts=lambda run, facts: {"reward_features.json": reward_features(run, facts, spec.top_k)},
    )
    return with_pooled(plain, made, Pooling(spec.pool))


def _read(spec: RewardDetectSpec) -> tuple[Labels | None, Records]:
    """Return the meaning of the labels (None for preference pairs) and the records."""
    paired, records = _records(spec)
    if not paired:
        named = (spec.fields.group, spec.fields.score, *spec.fields.columns, *spec.pairs.names.given())
        records = with_fields(records, named)
        return labels_in(records, spec.fields)
    if given := _given(spec.fields):
        raise UsageError(
            f"{given[0]} is about labelled texts, and these are preference pairs",
            "leave it out: chosen is positive, rejected negative, and a prompt's answers are a group",
        )
    return None, one_a_pair(records, spec.pairs)


def _records(spec: RewardDetectSpec) -> tuple[bool, Records]:
    """Whether the records are preference pairs, and the records."""
    records = labelled_lines(read_records(str(EXAMPLES if spec.path is None else spec.path), "jsonl", spec.read))
    if spec.path is None:
        return False, (replace(record, source=EXAMPLE_SOURCE) for record in records)
    if spec.fields.label is None:  # else each message of a tree is a labelled text
        records = from_trees(records)
    first, records, _ = look_ahead(records, LOOK_AHEAD)
    values = [record.value for record in first if isinstance(record, Record)]
    paired = spec.pairs.form is not None or any(detect(value, spec.pairs.names) for value in values)
    if paired:
        check_named(values, spec.pairs.names.given())
        check_numbers(values, spec.pairs.names)
    return paired, records


def _given(fields: FeedbackFields) -> list[str]:
    """List the given options that only labelled texts have."""
    given, usual = options_of(fields), options_of(FeedbackFields())
    return [flag_of(name) for name in given if name != "prompt_field" and given[name] != usual[name]]


def rank_again(
    source: Path, output: OutputSpec, changes: Mapping[str, Any], on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Make a run with the rows of `source`, whose ranking follows its options and these `changes` (option → value).

    Raises UsageError for an option that needs the model or the texts again; else see `make_again`.
    """
    facts = source_facts(source, "reward-detect")
    facts["options"] = {RENAMED.get(name, name): value for name, value in facts["options"].items()}
    changes = {RENAMED.get(name, name): value for name, value in changes.items()}
    was = facts["options"]["pool"]
    if changes.get("pool", was) != was:
        raise UsageError(
            f"--pool {changes['pool']} needs the model again: {source} has each text's {was} of a feature, and not its "
            "tokens' values",
            f"run the command without --from, with --pool {changes['pool']}",
        )
    own = spec_of(RewardDetectSpec, changes)
    options = changed_options(source, facts, changes, CHANGEABLE, output, own)
    settings = checked(spec_of(ScoreSettings, options))
    saes = [_scored(about) for about in facts["saes"]]
    report: dict[str, Any] = {}
    again = Again(
        ("feature_scores",),
        lambda run: feature_tables(run, saes, settings, report),
        {"feature_scores": asdict(settings)},
        lambda: {"scores": report},
        lambda run, made: {"reward_features.json": reward_features(run, made, options["listed"])},
    )
    return make_again(source, output, options, again, on_progress)


def _scored(about: Mapping[str, Any]) -> ScoredSae:
    """Make of an SAE's entry in `run.json` the form that the statistics need."""
    place = about.get("neuronpedia_id")

    def page(feature_id: int) -> str | None:
        return f"{FEATURE_PAGES}/{place}/{feature_id}" if place else None

    return ScoredSae(about["name"], about["d_sae"], about["hook_point"], page)
