"""Reads and tokenizes the input of a finished run again, and compares the run's tables with it.

Without the input, or with another in its place, there is nothing to compare with, which is no fault of the run.
No weights of the model are loaded: columns that depend on them (`is_sink`, `split`) are left to other checks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

from actkit.backends import Description
from actkit.config import OutputSpec
from actkit.errors import ActkitError, first_line, in_short
from actkit.pipeline.input.files import STDIN
from actkit.pipeline.recipe import Recipe
from actkit.pipeline.record_tables import tables_of
from actkit.pipeline.shards.gather import gather_shards, room_of
from actkit.pipeline.shards.shard import Room, Shard
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.asked import files_of
from actkit.recipes.concepts import concepts
from actkit.recipes.runner import recipe_for
from actkit.recipes.specs import DenseSpec, FollowSpec, SparseSpec, spec_of
from actkit.recipes.steering.run import recipe_again
from actkit.recipes.steering.spec import SteerSpec
from actkit.runs.facts import facts_of
from actkit.runs.manifest import manifests
from actkit.runs.part import read_part
from actkit.runs.paths import RUN_FILE, part_name
from actkit.runs.progress import Progress
from actkit.runs.reader import rows_of_table
from actkit.verify.recompute.run import RecomputeSpec, asked_for_saes, model_of, sae_spec
from actkit.verify.tables.compare import compare, differing
from actkit.verify.tables.derived import FAULTS, made_alike
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.run import TAKEN_OUT

MADE_BY: Mapping[str, tuple[Any, Callable[..., Any], Any]] = {
    "capture": (capture.CaptureSpec, capture.recipe, DenseSpec),
    "concept": (concept.ConceptSpec, concept.recipe, DenseSpec),
    "dpo": (dpo.DpoSpec, dpo.recipe, DenseSpec),
    "feature-dataset": (feature_dataset.FeatureDatasetSpec, feature_dataset.recipe, SparseSpec),
    "reward-detect": (reward_detect.RewardDetectSpec, reward_detect.recipe, SparseSpec),
    "sae-extract": (sae_extract.SaeExtractSpec, sae_extract.recipe, SparseSpec),
}
"""Command → its spec, its recipe, and the spec of the options that it shares with others."""
OF_WEIGHTS = ("is_sink", "split")
"""Columns that are left to other checks; `n_kept` is too where tokens are left out as sinks."""
OF_FACTS = ("positions", "documents", "steer")
"""Entries of `run.json` that are known once all records are read."""


def check_input(run: Path, facts: Mapping[str, Any], spec: RecomputeSpec, findings: Findings) -> None:
    """Compare the tables of each shard with those that the input gives. A note says why, where that is impossible."""
    try:
        why = _not_again(facts) or (_steered if facts["command"] == "steer" else _compared)(run, facts, spec, findings)
    except ActkitError as error:
        why = in_short(error.message)
    except FAULTS as error:
        findings.wrong("derived", "input", f"cannot be read as run.json says ({first_line(error, 200)})")
        return
    if why is not None:
        findings.notes.append(f"the input was not read again: {why}")


def _not_again(facts: Mapping[str, Any]) -> str | None:
    """Say why a run's input cannot be read, or would not give the same tables; None where it would."""
    kind = SteerSpec if facts["command"] == "steer" else MADE_BY.get(facts["command"], (None,))[0]
    if kind is None or not made_alike(facts):
        return "the run is of another command or version"
    if any(reason.startswith(TAKEN_OUT) for reason in facts["rejected_reasons"]):
        return "records were rejected after they had been read"
    files = files_of(spec_of(kind, facts["options"]))
    elsewhere = [name for name in files if not (Path(name).exists() or name in concepts() or _is_local_pattern(name))]
    if STDIN in elsewhere:
        return "it came through standard input"
    return f"{in_short(elsewhere[0])} is not here" if elsewhere else None


def _is_local_pattern(name: str) -> bool:
    """Whether a source is a local pattern: reading it then finds its files without a download."""
    return has_magic(name) and "://" not in name


@dataclass(frozen=True)
class _Again:
    """The shards of a run that is read again."""

    run: Path
    recipe: Recipe
    about: Description
    room: Room
    output: OutputSpec
    has_sinks: bool

    @classmethod
    def of(cls, run: Path, facts: Mapping[str, Any], spec: RecomputeSpec) -> "_Again":
        kind, recipe, shared = MADE_BY[facts["command"]]
        options, asked = facts["options"], asked_for_saes(facts)
        paths = [*spec.saes, *(asked.get("sae") or ())]
        saes = [sae_spec(sae["name"], paths, asked.get("sae_release")) for sae in facts.get("saes", ())]
        model = model_of(facts, spec, spec.attn or facts["model"]["attn"])
        given: dict[str, Any] = {"model": model, "saes": saes, "output": spec_of(OutputSpec, options, out=run)}
        if shared is DenseSpec:  # where there are none, null is written
            given["hook_points"] = tuple(options.get("hook_point") or ())
        common = spec_of(shared, options, **given)
        made = recipe_for(spec_of(kind, options), common, recipe)
        kept_bytes = made.recipe.bytes_at(made.hook_points, made.description.d_model)
        return cls(
            run,
            made.recipe,
            made.description,
            room_of(kept_bytes, common.batch),
            common.output,
            bool(facts["counts"]["sinks"]),
        )

    def shards(self) -> Iterator[tuple[Shard, bool]]:
        """Yield each shard, and whether its input is unchanged."""
        ends = {shard.part: shard.end for shard in manifests(self.run)[0]}
        vocabulary = self.about.vocabulary
        for shard in gather_shards(
            self.recipe, self.room, self.output, Progress(), lambda _: None, vocabulary=vocabulary
        ):
            yield shard, ends.get(shard.part) == shard.end

    def compare(self, shard: Shard, findings: Findings) -> None:
        """Compare the tables of one shard."""
        for table, again in tables_of(shard, self.about.tokenizer).items():
            part = self.run / table / f"{part_name(shard.part)}.parquet"
            left_out = (*OF_WEIGHTS, "n_kept") if self.has_sinks else OF_WEIGHTS
            known = again.drop_columns([name for name in left_out if name in again.column_names])
            findings.count("derived", len(known))
            compare(part, read_part(part), known, findings)

    def compare_facts(self, facts: Mapping[str, Any], findings: Findings) -> None:
        """Compare the entries of `run.json` on the records, now that all have been read."""
        recipe = self.recipe
        found = {"unit": recipe.unit, "exports": list(recipe.exports), "detected": dict(recipe.detected)}
        found |= {name: value for name, value in recipe.found().items() if name in OF_FACTS}
        for name, value in found.items():
            for what in differing(facts.get(name), value, 0.0, name):
                findings.wrong("counts", RUN_FILE, what)


def _compared(run: Path, facts: Mapping[str, Any], spec: RecomputeSpec, findings: Findings) -> str | None:
    """Compare a run with its input; returns why the comparison ended early, or None."""
    reading = _Again.of(run, facts, spec)
    for shard, is_same in reading.shards():
        if not is_same:
            return "it is not what it was when the run was made"
        reading.compare(shard, findings)
    reading.compare_facts(facts, findings)
    return None


def _steered(run: Path, facts: Mapping[str, Any], spec: RecomputeSpec, findings: Findings) -> str | None:
    """Compare a run of `steer`, whose texts come from another run; the answers of the unsteered model are its own."""
    if facts["counts"]["rejected"]:
        return "records were rejected, whose answers are not kept"
    options, source = facts["options"], Path(facts["options"]["run"])
    about = facts_of(source)
    why = _not_again(about)
    if why is not None or not all(is_same for _, is_same in _Again.of(source, about, spec).shards()):
        return why or f"the input of {source} is not what it was"
    common = spec_of(FollowSpec, options, output=OutputSpec(run), model=spec.model, device=spec.device)
    stored = rows_of_table(run, "steered_texts", ["positive", "negative"])
    recipe, description, batch = recipe_again(
        spec_of(SteerSpec, options), common, [(row["positive"], row["negative"]) for row in stored]
    )
    if recipe.detected["interventions"] != facts["detected"]["interventions"]:
        return f"{source} is not the run that was steered"
    room = room_of(recipe.bytes_at((), description.d_model), batch)
    reading = _Again(run, recipe, description, room, common.output, has_sinks=False)
    for shard, is_same in reading.shards():
        if not is_same and options.get("answers") is not None:
            return f"{in_short(options['answers'])} is not what it was"
        reading.compare(shard, findings)
    reading.compare_facts(facts, findings)
    return None
