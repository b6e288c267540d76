"""Run `steer`: read the run to be steered, load its model, choose texts and interventions, and write the new run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actkit.analysis.feature_tests.labelled import hold_out, read_texts, without_twins
from actkit.backends import Description, describe, load
from actkit.backends.token_texts import token_texts
from actkit.config import BatchSpec, ModelSpec
from actkit.errors import InputError, RunError, UsageError
from actkit.hooks import HookPoint
from actkit.pipeline.dry_run import planned
from actkit.pipeline.extract import extract
from actkit.pipeline.forward.sinks import sink_norms
from actkit.pipeline.forward.steered import most_tokens
from actkit.pipeline.recipe import Finished, Job, Recipe
from actkit.pipeline.tokens.templates import DatedTokenizer, date_of
from actkit.recipes.asked import options_of
from actkit.recipes.saes import SaeReport, load_saes
from actkit.recipes.specs import FollowSpec, checked, spec_of
from actkit.recipes.steering.answers import answered, expected, generated, with_answers
from actkit.recipes.steering.directions import STRENGTHS, actions_on, directions_in
from actkit.recipes.steering.features import feature_actions, held_out_texts, scored_in
from actkit.recipes.steering.recipe import FEWEST, SHARD_COST, Ready, recipe
from actkit.recipes.steering.spec import SteerSpec, check
from actkit.recipes.steering.texts import TEST, Wordings, held_out_of, neutral_texts, own_answers, stored_texts
from actkit.runs.facts import config_text
from actkit.runs.progress import OnProgress, check_callable
from actkit.runs.reader import rows_of_table
from actkit.runs.removal import check_out
from actkit.runs.run import Run
from actkit.verify.recompute.run import sae_spec
from actkit.verify.recompute.while_running import Verifying


def run_steer(own: SteerSpec, common: FollowSpec, on_progress: OnProgress = lambda _progress: None) -> Finished:
    """Steer the model of a finished run with its directions or features; with `output.resume`, only the missing part.

    Errors in the options are raised before the model's weights are loaded. For other errors see `extract`, and those of
    reading the run.
    """
    check_callable(on_progress)
    own, common = checked(own), checked(common)
    check(own)
    output = common.output
    check_out(output.out, output.overwrite, output.resume)
    asked = options_of(own, common)
    own, description, ready, wordings, batch = _begun(own, common)
    acted_on = {HookPoint.of(action.hook_point) for action in ready.actions if action.hook_point is not None}
    points = tuple(sorted({*acted_on, HookPoint(description.n_layers - 1, "hook_resid_post")}))
    if output.plan_only:
        ready = replace(ready, texts=[*expected(wordings, own), *ready.texts])
        return planned(recipe(own, ready), description, points, batch, output, on_progress)
    model = load(description, points)
    norms = sink_norms(model, points)
    actions = [replace(action, sink_norm=norms.get(action.hook_point or "")) for action in ready.actions]
    texts = [*answered(wordings, own, model, ready.chat), *ready.texts]
    ready = replace(ready, texts=texts, actions=actions)
    made = recipe(own, replace(ready, generate=partial(generated, own, ready, model)))
    job = Job(made, model, points, output, batch, asked, {"config.yaml": config_text(own.command, asked)})
    return extract(job, on_progress, Verifying(job))


def recipe_again(
    own: SteerSpec, common: FollowSpec, answers: Sequence[tuple[str, str]]
) -> tuple[Recipe, Description, BatchSpec]:
    """Make the recipe again, with `answers` that the unsteered model gave before, in their order; see `run_steer`."""
    own, description, ready, wordings, batch = _begun(checked(own), checked(common))
    ready = replace(ready, texts=[*with_answers(wordings, answers[: len(wordings)]), *ready.texts])
    return recipe(own, ready), description, batch


def _begun(own: SteerSpec, common: FollowSpec) -> tuple[SteerSpec, Description, Ready, list[Wordings], BatchSpec]:
    """Read the run to be steered, before any weights. The returned spec begins texts (`bos`) as that run did."""
    source = Run(own.run)
    options = source.facts.get("options", {})
    description = describe(_model(source, common))
    date = date_of(options.get("date"))
    description = replace(description, tokenizer=DatedTokenizer(description.tokenizer, date))
    own = replace(own, tokens=replace(own.tokens, bos=options.get("bos") or own.tokens.bos))
    ready, wordings = _prepared(own, source, description)
    # Logits must fit into memory, and a shard should not take hours.
    given, sequences = common.batch, max(FEWEST, SHARD_COST // len(ready.actions))
    tokens = most_tokens(int(description.config.get_text_config().vocab_size), given.batch_tokens)
    batch = replace(given, batch_tokens=tokens, shard_sequences=min(given.shard_sequences, sequences))
    return own, description, ready, wordings, batch


def _prepared(spec: SteerSpec, source: Run, description: Description) -> tuple[Ready, list[Wordings]]:
    """Return the interventions and texts, and separately the stems whose answers are still to be generated."""
    tables = source.facts["tables"]
    chat = bool(source.facts.get("detected", {}).get("chat", bool(description.tokenizer.chat_template)))
    limit = spec.tokens.limit(description.context_length)
    ready = Ready([], [], {}, description.tokenizer, limit, description.n_layers, chat, "")
    if spec.features is not None or ("direction_scores" not in tables and "feature_scores" in tables):
        return _of_features(spec, source, ready, description), []
    if "direction_scores" not in tables:
        raise RunError(
            f"{spec.run} has neither directions nor feature scores",
            "steer is for finished runs of concept and reward-detect",
        )
    strengths = spec.each_strength(STRENGTHS if spec.done[0] in (None, "add") else (1.0,))
    found = directions_in(source.path, spec, description.n_layers)
    actions = actions_on(source.path, found, strengths, spec)
    several = len({action.intervention_id for action in actions if not action.is_control}) > 2
    wordings: list[Wordings] = []
    if spec.answers is not None:
        form, texts = "own answers", own_answers(spec.answers, spec.seed, several)
    else:
        form = "held-out stems"
        options = source.facts.get("options", {})
        wordings, texts = held_out_of(source.path, options, int(options.get("seed") or 0))
        if not several:  # with one intervention nothing is chosen, so validation texts are not needed
            wordings = [wording for wording in wordings if wording.split == TEST]
            texts = [text for text in texts if text["split"] == TEST]
    points = {action.hook_point for action in actions}
    columns = ["layer", "hook_point", "method", "auroc_heldout"]
    scores = rows_of_table(source.path, "direction_scores", columns)
    directions = [row for row in scores if row["hook_point"] in points]
    ready = replace(ready, texts=[*texts, *neutral_texts()], actions=actions, form=form, directions=directions)
    return ready, wordings


def _of_features(spec: SteerSpec, source: Run, ready: Ready, description: Description) -> Ready:
    """Prepare interventions on features, and the run's held-out labelled texts or the user's own answers."""
    options = source.facts.get("options", {})
    asked = {name: options.get(name) for name in ("sae", "sae_release")}
    scored = scored_in(source.path, spec.sae_name)
    found = sae_spec(scored.sae, asked["sae"] or (), asked["sae_release"])
    (sae,) = load_saes([found], description.spec.device)
    actions = feature_actions(scored, sae, spec)
    if spec.answers is not None:
        texts: Sequence[Mapping[str, Any]] = own_answers(spec.answers, spec.seed, choose=False)
        stored, form = {}, "own answers"
    else:
        share, seed = held_out_texts(source.facts)
        every = read_texts(source.path)
        kept, held = without_twins(every, hold_out(every, share, seed))
        if held is None:
            raise UsageError(f"{source.path} holds no texts out", "give texts of your own: --answers FILE")
        stored = stored_texts(source.path, kept.sequence_ids[held].tolist())
        names = dict(zip(kept.sequence_ids.tolist(), kept.groups.tolist(), strict=True))
        texts = [
            {"split": TEST, "stem": f"group {names[at]}", "text": sequence.encoding.text, "stored": at}
            for at, sequence in sorted(stored.items())
        ]
        form = "held-out texts"
    words = None if spec.words is None else _words(spec.words, description)
    if words is not None and spec.answers is not None:
        raise UsageError("--words and --answers were both given", "one says what comes after a text, the other instead")
    return replace(
        ready,
        texts=[*texts, *neutral_texts()],
        actions=actions,
        saes={sae.name: sae},
        report=SaeReport([sae], description),
        sae_found=asked,
        stored=stored,
        form=form,
        words=words,
    )


def _model(source: Run, common: FollowSpec) -> ModelSpec:
    """Return the spec of the run's model, to be loaded as in that run."""
    about = {name: value for name, value in source.facts["model"].items() if value is not None}
    revision = about.get("revision") or None
    if common.model is not None or str(revision).startswith("sha256:"):
        revision = None
    name = common.model or about["name"]
    return spec_of(ModelSpec, about, name=name, revision=revision, device=common.device)


def _words(text: str, description: Description) -> tuple[Any, Any]:
    """Return the token ids of the words in two files: of each word, its first token after a space."""
    names = text.split(",")
    if len(names) != 2:
        raise UsageError(f"--words {text}: two files are needed", "--words praise.txt,blame.txt, one word a line")
    found = []
    for name in names:
        try:
            lines = Path(name.strip()).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name}: cannot be read ({error})", "a text file with one word a line") from error
        words = [line.strip() for line in lines if line.strip()]
        if not words:
            raise InputError(f"{name}: it has no words", "one word a line")
        found.append(np.unique([_first_token(description.tokenizer, word) for word in words]))
    shared = np.intersect1d(found[0], found[1])
    if len(shared):
        token = token_texts(description.tokenizer, shared[:1].tolist())[0]
        raise InputError(f"{text}: words on both sides begin with the token {token!r}", "take words that begin apart")
    return found[0], found[1]


def _first_token(tokenizer: Any, word: str) -> int:
    """Return a word's first token after a space, skipping white space: Llama 2 may write the space as its own token."""
    ids: list[int] = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    texts = token_texts(tokenizer, ids)
    return next((token for token, text in zip(ids, texts, strict=True) if text.strip()), ids[0])
