"""`actkit verify --recompute`: load the model and SAEs that `run.json` names, and compute records of the run again."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actkit.backends import Description, describe
from actkit.backends.hooked import TREE_MODELS, HuggingFaceModel
from actkit.backends.names import is_directory
from actkit.backends.reference import load_plain
from actkit.backends.saes import sae_lens as sae_backend
from actkit.backends.saes.sae import Sae
from actkit.bundled import NAME
from actkit.config import Attention, ModelSpec, SaeSpec
from actkit.errors import ActkitError
from actkit.pipeline.digests import canonical
from actkit.pipeline.recipe import Rules
from actkit.pipeline.reducers.sae_health import Health
from actkit.verify.recompute.differences import Recomputed
from actkit.verify.recompute.health import HealthAgain
from actkit.verify.recompute.records import NO_MODULE, Recomputing
from actkit.verify.recompute.sinks import norms_again, other_norms
from actkit.verify.recompute.steered import interventions_in, stored_actions
from actkit.verify.recompute.weights import LoadedWeights, check_of_weights
from actkit.verify.tables.derived import OF_WEIGHTS, made_alike
from actkit.verify.tables.findings import Findings

BRIDGE = "BridgedModel"
"""The backend that runs a model with eager attention, whatever `run.json` says under `attn`."""


HOW_LOADED = ("metadata", "found_in", "revision")
"""Entries about an SAE that depend on how it is loaded, or that are compared entry by entry."""
NAMED = ("sae_release", "sae_id")
"""Entries that repeat the options; they are compared only where the run named a release."""


@dataclass(frozen=True)
class RecomputeSpec:
    """Options of the recomputation: how many records, and where the model and SAEs are."""

    n: int
    seed: int = 0
    attn: Attention | None = None
    """None is the run's own; another one has a larger tolerance (`OTHER_ATTENTION`)."""
    device: str = "auto"
    model: str | None = None
    """Another place of the model than the run's, such as a directory."""
    saes: Sequence[str] = ()
    """Directories of SAEs that are elsewhere than in the run."""
    trust_remote_code: bool = False
    allow_pickle: bool = False
    """`trust_remote_code` and `allow_pickle` need a person's consent, so they are not taken from the run."""


def recompute(
    run: Path,
    facts: Mapping[str, Any],
    spec: RecomputeSpec,
    findings: Findings,
    on_record: Callable[[int], None] = lambda _done: None,
) -> tuple[Recomputed, dict[str, Any]]:
    """Compute records of a finished run again, and its tables that come of weights; `facts` is the run's `run.json`.

    Returns the comparison of the records, and the same as plain values with the settings of the computation. Adds
    problems of tables to `findings`. Raises ModelError where the model cannot be loaded; for an SAE that is a problem.
    """
    began = time.time()
    about = facts["model"]
    attn: Attention = "eager" if about["backend"] == BRIDGE else about["attn"]
    description = describe(model_of(facts, spec, spec.attn or attn))
    saes, lacking = _saes(facts, spec, description.spec.device)
    plain, same_attention = load_plain(description), description.spec.attn == attn
    store_dtype = facts.get("options", {}).get("store_dtype", "float32")
    actions, alike = stored_actions(run), made_alike(facts)
    known = interventions_in(actions, saes)
    again = Recomputing.by(Rules.of(facts), store_dtype, description, plain, saes, known, same_attention, alike)
    norms = norms_again(plain, description, facts["hook_points"]) if alike else None
    if norms is not None and not actions:
        of_all = saes if spec.n >= facts["counts"]["written"] else {}
        again = replace(again, norms=norms, health=HealthAgain({name: Health(sae) for name, sae in of_all.items()}))
    found = again.run(run, spec.n, spec.seed, on_record=on_record)
    found.not_recomputed |= lacking
    if found.sequences == facts["counts"]["sequences"]:  # a record in several shards may be drawn in part
        found.others += again.health.differing(facts, again.tolerance.features)
    found.others += [] if norms is None else other_norms(actions, norms, again.tolerance.vectors)
    found.others += [*_other_model(about, description), *_other_saes(facts, saes, spec), *_not_held(found)]
    if alike:
        check_of_weights(run, facts, LoadedWeights(saes, lacking, plain.module, description.tokenizer), findings)
    how = {"dtype": description.spec.dtype, "attn": description.spec.attn, "device": description.spec.device}
    return found, {"seed": spec.seed, **how, **found.facts(), "seconds": round(time.time() - began, 3)}


def check_weights(run: Path, facts: Mapping[str, Any], spec: RecomputeSpec, findings: Findings) -> None:
    """Compute the tables that come of weights again; a model or an SAE that cannot be loaded is a problem."""
    needed = [name for name in OF_WEIGHTS if name in facts["tables"]]
    if not needed or not made_alike(facts):
        return
    description = module = None
    lacking: dict[str, str] = {}
    try:
        if "feature_logits" in needed:
            description = describe(model_of(facts, spec, spec.attn or "auto"))
            module = load_plain(description).module
    except ActkitError as error:
        lacking["the model"] = error.message
    saes, without = _saes(facts, spec, "cpu" if description is None else description.spec.device)
    lacking |= without
    for name, why in lacking.items():
        findings.wrong("derived", name, f"cannot be loaded, and {', '.join(needed)} not compared with it ({why})")
    tokenizer = None if description is None else description.tokenizer
    check_of_weights(run, facts, LoadedWeights(saes, lacking, module, tokenizer), findings)


def _not_held(found: Recomputed) -> list[str]:
    """Stored numbers that were not compared; those that only a bridge computes count where nothing was compared."""
    missing = [
        f"{name} was not computed again: {why}" for name, why in found.not_recomputed.items() if why != NO_MODULE
    ]
    if not missing and found.not_recomputed and not found.vectors and not found.features:
        return [f"nothing was computed again: {', '.join(found.not_recomputed)} is no module's input or output"]
    return missing


def model_of(facts: Mapping[str, Any], spec: RecomputeSpec, attn: Attention) -> ModelSpec:
    """How to load the run's model as the run did; of a model of the hub, the same commit."""
    about = facts["model"]
    name, revision = spec.model or about["name"], about["revision"] or facts.get("options", {}).get("revision")
    # A local directory has no revisions, whether the run read the model there or the caller names it.
    if name == NAME or is_directory(name) or str(revision).startswith("sha256:"):
        revision = None
    return ModelSpec(
        name,
        revision,
        spec.device,
        about["dtype"],
        attn,
        spec.trust_remote_code,
        allow_pickle=spec.allow_pickle,
        device_map=about["device_map"],
        quantize=about["quantize"],
    )


def _other_model(about: Mapping[str, Any], description: Description) -> list[str]:
    model_type = description.config.get_text_config().model_type
    found = {
        "architecture": description.architecture,
        "model_type": model_type,
        "n_layers": description.n_layers,
        "d_model": description.d_model,
        "context_length": description.context_length,
        # This depends on the backend too, not only on the model.
        "shares_prefixes": about["backend"] == HuggingFaceModel.__name__ and model_type in TREE_MODELS,
    }
    apart = [
        f"run.json says that model.{name} is {about[name]!r:.60}, and the model that it is {value!r:.60}"
        for name, value in found.items()
        if name in about and about[name] != value
    ]
    kinds = {str(revision).startswith("sha256:") for revision in (about["revision"], description.revision)}
    if about["revision"] in (None, description.revision) or len(kinds) > 1:  # a commit is no digest of files
        return apart
    return [f"{description.spec.name} is not the model that was run: its files are others", *apart]


def _other_saes(facts: Mapping[str, Any], saes: Mapping[str, Sae], spec: RecomputeSpec) -> list[str]:
    """Entries of `run.json` about SAEs that differ from the files; none under another SAELens: it may read others."""
    of_another = facts.get("versions", {}).get("sae-lens") != version("sae-lens")
    apart, asked = [], asked_for_saes(facts)
    for about in facts.get("saes", ()) if not of_another else ():
        loaded = saes.get(about["name"])
        found = {} if loaded is None else json.loads(canonical(loaded.about()))
        by_name = not spec.saes and about["name"].startswith(f"{asked.get('sae_release')}/")
        left_out = HOW_LOADED if by_name else (*HOW_LOADED, *NAMED)
        pairs = [("", about, found), ("metadata.", about["metadata"], found.get("metadata", {}))]
        for within, stated, true in pairs:
            apart += [
                f"run.json says that {within}{name} of {about['name']} is {stated[name]!r:.60}, its files {value!r:.60}"
                for name, value in true.items()
                if name not in left_out and name in stated and stated[name] != value
            ]
    return apart


def asked_for_saes(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that name the SAEs, or those that were detected in the run that is steered."""
    return {**facts.get("detected", {}), **facts.get("options", {})}


def _saes(facts: Mapping[str, Any], spec: RecomputeSpec, device: str) -> tuple[dict[str, Sae], dict[str, str]]:
    """Load the run's SAEs; return them by name, and for each other name why it could not be loaded."""
    found: dict[str, Sae] = {}
    lacking: dict[str, str] = {}
    asked = asked_for_saes(facts)
    paths = [*spec.saes, *(asked.get("sae") or ())]
    for name in (sae["name"] for sae in facts.get("saes", ())):
        try:
            found[name] = sae_backend.load(sae_spec(name, paths, asked.get("sae_release")), device)
        except ActkitError as error:
            lacking[name] = error.message
    return found, lacking


def sae_spec(name: str, paths: Sequence[str], release: str | None) -> SaeSpec:
    """Where to load the SAE of this name from: one of the directories, or a release and the id after it."""
    path = next((path for path in paths if Path(path).name == name), None)
    if path is not None:
        return SaeSpec(path=path)
    if release is not None and name.startswith(f"{release}/"):
        return SaeSpec(release, name.removeprefix(f"{release}/"))
    return sae_backend.named(name) or SaeSpec(name)
