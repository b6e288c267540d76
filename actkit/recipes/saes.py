"""Load the SAEs of a recipe before its model, check that both fit, and report on them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from actkit.analysis.feature_tests.feature_scores import ScoredSae
from actkit.backends import Description, placement, repository
from actkit.backends.kernel_choice import FASTER_IN_BFLOAT16, bfloat16_speed
from actkit.backends.names import is_directory, names_in
from actkit.backends.saes import sae_lens as sae_backend
from actkit.backends.saes.sae import Sae
from actkit.bundled import TINY
from actkit.config import SaeDtype, SaeSpec, TokenSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import D_MODEL_WIDE
from actkit.numerals import percent, signed
from actkit.pipeline.reducers.sae_health import Health
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.recipes.sae_choice import by_layer

FEW_TOKENS = 100
"""With fewer tokens, an SAE's health on the data says little, and no warning is given."""


def load_saes(specs: Sequence[SaeSpec], device: str, dtype: SaeDtype = "float32") -> list[Sae]:
    """Load SAEs; of a release given alone, the SAE of the layer.

    Where it is faster, `dtype` bfloat16 finds their active features.

    Raises UsageError where layer or hook point contradict an SAE, or an SAE is given twice; else see the backend.
    """
    on = str(placement.resolve_device(device)) if specs else device
    finds = dtype if specs and dtype != "float32" and _has_faster_bfloat16(on) else "float32"
    saes = [sae_backend.load(by_layer(spec), on, finds) for spec in specs]
    for sae, spec in zip(saes, specs, strict=True):
        _check_meant(sae, spec)
    names = [sae.name for sae in saes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        name = sorted(twice)[0]
        if len({spec.path for sae, spec in zip(saes, specs, strict=True) if sae.name == name}) > 1:
            raise UsageError(
                f"two SAEs are called {name}, and tables would not tell them apart",
                "rename one of the directories: the last part of its path is an SAE's name",
            )
        raise UsageError(f"{name} was given twice", "name each SAE once")
    return saes


def scored(saes: Sequence[Sae]) -> list[ScoredSae]:
    """Describe the SAEs as the tests of features need them."""
    return [ScoredSae(sae.name, sae.d_sae, str(sae.hook_point), sae.feature_url) for sae in saes]


class SaeReport:
    """Collects facts about the SAEs while a run goes on; called at the end, it returns them for `run.json`.

    Raises ModelError for an SAE that cannot read this model.
    """

    def __init__(self, saes: Sequence[Sae], description: Description, dtype: SaeDtype = "float32") -> None:
        for sae in saes:
            _check_fits(sae, description)
        self.health = {sae.name: Health(sae) for sae in saes}
        self.warnings = [text for sae in saes for text in _doubts(sae, description)] + _beginnings(saes)
        self.warnings += [_not_in(dtype, sae, description.spec.device) for sae in saes if sae.dtype != dtype]

    def __call__(self) -> Mapping[str, Any]:
        """Return the SAEs' entries, their health on this data, and warnings."""
        saes = [health.sae for health in self.health.values()]
        rows = [dict(health.summary()) for health in self.health.values()]
        unwell = [text for row, sae in zip(rows, saes, strict=True) for text in _symptoms(row, sae)]
        return {"saes": [sae.about() for sae in saes], "health": rows, "warnings": [*self.warnings, *unwell]}


def as_trained(tokens: TokenSpec, saes: Sequence[Sae], tokenizer: Tokenizer) -> TokenSpec:
    """Let plain text begin as the SAEs' training contexts did, unless `--bos` says otherwise or the SAEs differ."""
    began = {sae.prepend_bos for sae in saes}
    if tokens.bos != "auto" or len(began) != 1:
        return tokens
    if began == {False}:
        return replace(tokens, bos="never")
    return replace(tokens, bos="always") if tokenizer.bos_token_id is not None else tokens


def _has_faster_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are faster on this device. A CPU is measured, once; Apple's GPU lacks some."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "cpu" and (bfloat16_speed() or 0.0) >= FASTER_IN_BFLOAT16)


def _not_in(dtype: SaeDtype, sae: Sae, device: str) -> str:
    """Say why an SAE's features are found in float32 although another dtype is asked for."""
    if _has_faster_bfloat16(device):
        why = f"of this {sae.architecture} SAE only its own encode tells them"
    else:
        why = f"{dtype} is no faster here"
    return f"{sae.name}: features are found in float32, not in {dtype} ({why}), and are the same"


def _check_meant(sae: Sae, spec: SaeSpec) -> None:
    own = sae.hook_point
    for flag, meant, reads in (
        ("--target-layer", spec.layer, (own.layer,)),
        ("--hook-name", spec.hook_name, (str(own), own.name)),
    ):
        if meant is not None and meant not in reads:
            raise UsageError(
                f"{flag} {meant} was given, but {sae.name} reads {own}", f"leave out {flag}: the SAE says what it reads"
            )


def _check_fits(sae: Sae, description: Description) -> None:
    name = description.spec.name
    trained_on = f"; it was trained on {sae.model_name}" if sae.model_name else ""
    hint = f"--model {sae.model_name}" if sae.model_name else "choose the SAE's own model"
    if not 0 <= sae.hook_point.layer < description.n_layers:
        raise ModelError(
            f"{sae.name} reads {sae.hook_point}, but {name} has layers 0 to {description.n_layers - 1}{trained_on}",
            hint,
        )
    if sae.hook_point.name in D_MODEL_WIDE and sae.d_in != description.d_model:
        raise ModelError(
            f"{sae.name} reads {sae.d_in} numbers a token, but {name} has d_model {description.d_model}{trained_on}",
            hint,
        )
    if sae.facts.get("centred_input") and hasattr(description.config.get_text_config(), "rms_norm_eps"):
        # TransformerLens centres no weights there, so the SAE's training activations were not centred.
        raise ModelError(
            f"{sae.name} says that it reads centred writing weights, but {name} has RMSNorm, and those change it",
            "TransformerLens leaves them as they are in its training: give a copy as --sae whose cfg.json has "
            "center_writing_weights false",
        )


def _doubts(sae: Sae, description: Description) -> list[str]:
    """Warnings about this pairing of SAE and model: sentences that `run.json` keeps."""
    found = [f"{sae.name}: {guess}" for guess in sae.guesses]
    if sae.predicts is not None:
        found.append(
            f"{sae.name} is a transcoder: its features are those of {sae.hook_point}, and no explained variance is "
            f"given, since it predicts {sae.predicts}"
        )
    if sae.prepend_bos and description.tokenizer.bos_token_id is None:
        found.append(f"{sae.name} was trained on contexts that begin with BOS, and the tokenizer has none")
    if sae.model_name:
        found += _of_another_model(sae.name, sae.model_name, description)
    return found


def _of_another_model(sae: str, trained_on: str, description: Description) -> list[str]:
    """Warn where the SAE's model has another name; a directory may be that model under any name."""
    name, location = description.spec.name, description.location
    own = is_directory(location) and location != str(TINY)
    says = names_in(location) if own else []
    if {_bare(trained_on), _bare(repository.locate(_bare(trained_on)))} & {_bare(at) for at in (name, location, *says)}:
        return []
    if own and not says:
        return [f"{sae} was trained on {trained_on}; whether {name} is that model, its files do not say"]
    of = f"{name}, saved as {says[0]}" if own else name
    return [f"{sae} was trained on {trained_on}, but the model is {of}"]


def _beginnings(saes: Sequence[Sae]) -> list[str]:
    """Warn where some SAEs were trained with BOS and others without: texts can begin in one way only."""
    if len({sae.prepend_bos for sae in saes}) < 2:
        return []
    each = ", ".join(f"{sae.name} {'with' if sae.prepend_bos else 'without'}" for sae in saes)
    return [f"the SAEs' contexts began with and without BOS ({each}): texts begin as the tokenizer or --bos says"]


def _bare(name: str) -> str:
    """Return a model's name without its organisation, which some SAEs state and others do not."""
    return name.rsplit("/", 1)[-1].lower()


def _symptoms(row: Mapping[str, Any], sae: Sae) -> list[str]:
    """Warn of contexts longer than the SAE's, and of figures so odd that SAE and activations can hardly fit."""
    found = []
    if sae.context_size is not None and row["longest_context"] > sae.context_size:
        read, known = row["longest_context"], sae.context_size
        found.append(f"{sae.name} was trained on contexts of {known} tokens, and read up to {read}")
    if 0 < row["n_tokens"] <= row["n_sequences"]:
        found.append(
            f"{row['sae']}: L0 and explained variance are of one token a text, and the SAE was trained on all tokens: "
            "they may be far from what it says of itself"
        )
    if row["n_tokens"] < FEW_TOKENS:
        return found
    if row["explained_variance"] is not None and row["explained_variance"] < 0:
        explained = signed(row["explained_variance"], ".2f")
        found.append(f"{row['sae']} explains less than nothing of the variance ({explained})")
    if row["l0"] == 0:
        found.append(f"{row['sae']}: no feature is active anywhere")
    if row["dense_fraction"] > 0.5:
        found.append(
            f"{row['sae']}: {percent(row['dense_fraction'])} of the features fire on more than a tenth of the tokens"
        )
    return found
