"""`concept`: contrast pairs → activations of both sides, a direction a layer, and held-out evidence for it.

The common beginning of a pair's texts is run once. Pairs of one stem stay together: in the split into training,
validation and test pairs, and in every test.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from actkit.analysis.concepts.concept import concept_split, concept_tables
from actkit.analysis.concepts.contrast import sides_bytes
from actkit.analysis.concepts.projections import direction_features, projections
from actkit.analysis.feature_tests.feature_scores import ScoreSettings, score_features
from actkit.backends.saes.sae import Sae
from actkit.config import ContrastPositions, ExportFormat, ModelSpec, OutputSpec, ReadSpec, TokenSpec
from actkit.errors import RecordError, UsageError
from actkit.hooks import parse_hook_points
from actkit.pipeline.data import Ints, Record
from actkit.pipeline.input.reader import left_of, records_about
from actkit.pipeline.recipe import Finished, NothingKeptError, Pooling, Prepared, Recipe, Rules
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.concepts import Template, concepts
from actkit.recipes.contrast_shapes import STATEMENTS
from actkit.recipes.contrasts import contrasts_in, from_stems, parse_contrast
from actkit.recipes.conversations.fields import ContextFields, names_of
from actkit.recipes.conversations.prompts import Conversation
from actkit.recipes.from_run import Again, changed_options, make_again, source_facts
from actkit.recipes.prompt_response import PromptResponse, encode_messages, encode_plain, touching
from actkit.recipes.runner import Ingredients, run, with_pooled
from actkit.recipes.saes import load_saes, scored
from actkit.recipes.shared_prefix import Branch, branches, key_of
from actkit.recipes.specs import DenseSpec, spec_of
from actkit.recipes.statements import explained
from actkit.runs.progress import OnProgress
from actkit.runs.reader import hook_points_of
from actkit.verify.recompute.run import sae_spec

CHANGEABLE = ("layers", "hook_point", "seed", "directions")
"""Options that may differ from the run that `--from` names."""
MADE = tuple("contrasts pair_stats directions direction_scores projections feature_scores direction_features".split())


@dataclass(frozen=True)
class ConceptSpec:
    """The options of `concept`."""

    command: ClassVar[str] = "concept"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("pt", "npz", "safetensors", "gguf", "steering-vectors", "persona")
    what: str | None = field(default=None, metadata={"reads": True})
    """A built-in concept, or a file of pairs."""
    template: Template | None = None
    """A wording of the user's own, in place of `what`: the stems of a file fill it."""
    stems: str | None = field(default=None, metadata={"reads": True})
    chat: bool | None = None
    """None uses the chat template if the model has one, but not for statements: plain text separates true from false
    better than a user's message (held-out AUROC .94 and .79 of statements about cities)."""
    positions: ContrastPositions = "last"
    tokens: TokenSpec = field(default_factory=TokenSpec)
    read: ReadSpec = field(default_factory=ReadSpec)
    seed: int = field(default=0, metadata={"least": 0})
    """Seed of the split, the shuffles, the random directions, and the tests of features where there are SAEs."""
    prompt_field: str | None = None
    """Field of the question that both sides answer; None looks for the usual names, as do the fields of `context`."""
    context: ContextFields = field(default_factory=ContextFields)
    directions: bool = True
    """Whether directions are fitted and tested; without them the run holds both sides and their differences."""


def run_concept(spec: ConceptSpec, dense: DenseSpec, on_progress: OnProgress = lambda _progress: None) -> Finished:
    """Run `concept` and return the finished run. Errors: see `runner.run` and `contrasts_in`."""
    try:
        return run(spec, dense, recipe, on_progress)
    except NothingKeptError as error:
        raise explained(error) from error


def recipe(spec: ConceptSpec, made: Ingredients) -> Recipe:
    """Make the recipe. Raises UsageError for an unknown concept, InputError for a file without usable pairs."""
    names = names_of(spec.prompt_field, spec.context)
    if spec.template is not None and spec.stems is not None:
        form, records = "own template", from_stems(spec.template, spec.stems, spec.read)
    else:
        form, records = contrasts_in(spec.what or "", spec.read, names)
    tokenizer, limit = made.tokenizer, spec.tokens.limit(made.context_length)
    saes = made.saes
    chat = bool(tokenizer.chat_template) and form != STATEMENTS if spec.chat is None else spec.chat
    report: dict[str, Any] = {}

    def prepare(record: Record) -> Prepared:
        contrast = parse_contrast(record.value, names)
        sides = []
        for name in ("positive", "negative"):
            answered = _encode(getattr(contrast, name), chat, spec, tokenizer)
            sides.append(Branch(name, answered, _positions(answered, spec.positions), name))
        first, second = (side.answered.encoding.token_ids for side in sides)
        if np.array_equal(first, second):
            raise RecordError("negative", "both sides are the same tokens")
        own = branches(record.record_id, sides, limit, key_of(_plainly(contrast.stem)), contrast.template)
        return Prepared(own, said={**contrast.positive.said, **touching(contrast.positive.plain, chat)})

    def finish(run: Path) -> Iterator[tuple[str, pa.Table]]:
        yield from concept_run_tables(run, spec, saes, report)

    plain = Recipe(
        spec.command,
        lambda: records,
        prepare,
        made.reducers,
        finish,
        statistics=concept_statistics(spec, bool(saes)),
        detected={"input_format": form, "chat": chat, **left_of(spec.stems or spec.what, spec.read)},
        found=lambda: {"concept": report},
        temporary=lambda sequences, _positions: None if saes else sides_bytes(sequences, made.d_model),
        n_records=_about(spec, form),
        unit="pair",
        rules=Rules(spec.tokens.bos, chat),
        pools=spec.positions == "response-mean",
    )
    return with_pooled(plain, made, _pooling(spec.positions))


def _about(spec: ConceptSpec, form: str) -> int | None:
    """About how many pairs there are; None for statements, of which some may find no partner."""
    if spec.stems is not None:
        return records_about(spec.stems, spec.read)
    known = concepts().get((spec.what or "").lower())
    if known is not None:
        return len(known.stems) * len(known.templates)
    return None if form == STATEMENTS else records_about(spec.what or "", spec.read)


def concept_statistics(spec: ConceptSpec, with_features: bool) -> dict[str, Mapping[str, Any]]:
    """Function that `concept_run_tables` calls → its settings."""
    about = {"last_only": spec.positions == "all", "seed": spec.seed, "with_directions": spec.directions}
    scores = {"feature_scores": asdict(ScoreSettings(seed=spec.seed))} if with_features else {}
    return {"concept_tables": about, **scores}


def concept_run_tables(
    run: Path, spec: ConceptSpec, saes: Sequence[Sae], report: dict[str, Any]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables over the finished shards; `report` gets the results of the whole run."""
    for table in concept_split(run, spec.seed):
        yield "sequences", table
    yield from concept_tables(run, **concept_statistics(spec, bool(saes))["concept_tables"], report=report)
    # Without `all` the run has one position of a text, which says nothing of its tokens.
    if spec.positions == "all" and spec.directions:
        for table in projections(run, report["chosen"]):
            yield "projections", table
    if saes:
        table, report["features"] = score_features(run, scored(saes), ScoreSettings(seed=spec.seed))
        yield "feature_scores", table
        yield "direction_features", direction_features(run, saes)


def _pooling(positions: ContrastPositions) -> Pooling:
    """Pool features as directions are fitted: over the mean of the answer, or at the last position.

    A special token is pooled too, since it may be the last one of a chat.
    """
    return Pooling("mean") if positions == "response-mean" else Pooling("last", special=True)


def _encode(side: Conversation, chat: bool, spec: ConceptSpec, tokenizer: Tokenizer) -> PromptResponse:
    if side.plain is not None and side.plain[0] is not None and not chat:
        return encode_plain(tokenizer, side.plain[0], side.plain[1], spec.tokens.bos)
    return encode_messages(tokenizer, side.messages, chat, spec.tokens.bos, told=side.template)


def _plainly(stem: str) -> str:
    """Normalize a stem: no differences of case, of white space, and of forms of a character (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", stem).casefold().split())


def _positions(answered: PromptResponse, positions: ContrastPositions) -> Ints:
    """Return the positions that are kept: those of the answer, or of the whole text where there is no answer.

    `all` ends with the answer's last position. The text that a template puts after it belongs to neither side, and
    directions are fitted at the last position that is kept.
    """
    first, last = answered.response or (0, answered.encoding.text_end)
    if positions == "response-mean":
        if answered.response is None:
            raise RecordError(None, "no answer, so --positions response-mean has nothing to read")
        return np.arange(first, last, dtype=np.int64)
    return np.arange(last, dtype=np.int64) if positions == "all" else np.array([last - 1])


def choose_again(
    source: Path, output: OutputSpec, changes: Mapping[str, Any], on_progress: OnProgress = lambda _progress: None
) -> Finished:
    """Make a run with the rows of `source`, whose directions follow its options and these `changes` (option → value).

    Layers are some of the source's. Its SAEs, if any, are loaded to find the features nearest to a direction.

    Raises UsageError for an option that needs the model or the texts again, and for layers that the source does not
    have; else see `make_again` and `load_saes`.
    """
    facts = source_facts(source, "concept")
    dense = spec_of(DenseSpec, changes, model=ModelSpec(), output=output)
    options = changed_options(source, facts, changes, CHANGEABLE, output, spec_of(ConceptSpec, changes), dense)
    saes = _saes(facts)
    spec = ConceptSpec(positions=options["positions"], seed=options["seed"], directions=options["directions"])
    report: dict[str, Any] = {}
    again = Again(
        MADE,
        lambda run: concept_run_tables(run, spec, saes, report),
        concept_statistics(spec, bool(saes)),
        lambda: {"concept": report},
    )
    if {"layers", "hook_point"} & changes.keys():
        again = replace(again, **_chosen_points(source, facts, options, saes))
    return make_again(source, output, options, again, on_progress)


def _chosen_points(
    source: Path, facts: Mapping[str, Any], options: Mapping[str, Any], saes: Sequence[Sae]
) -> dict[str, Any]:
    """Return the chosen hook points, as fields of `Again`. Raises UsageError where the run lacks one."""
    stored = hook_points_of(source)
    points = parse_hook_points(
        options["hook_point"] or ["hook_resid_post"], options["layers"], facts["model"]["n_layers"]
    )
    missing = [str(point) for point in points if str(point) not in stored]
    if missing:
        raise UsageError(
            f"{source} has no activations of {', '.join(missing)}, and --from runs no model",
            f"it has {', '.join(stored)}; for other layers run the command without --from",
        )
    every = sorted({*points, *(sae.hook_point for sae in saes)})
    return {"points": {str(point) for point in points}, "facts": {"hook_points": [str(point) for point in every]}}


def _saes(facts: Mapping[str, Any]) -> list[Sae]:
    options = facts["options"]
    names = [about["name"] for about in facts.get("saes", ())]
    return load_saes([sae_spec(name, options.get("sae") or (), options.get("sae_release")) for name in names], "cpu")
