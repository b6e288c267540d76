"""The options that say what is stored: whole activations, features of SAEs, or both."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from actkit.cli.options.groups import OUTPUT, READ, SAE, at_home, option
from actkit.cli.options.shared import Shared
from actkit.cli.screen.console import say
from actkit.config import SaeDtype, SaeSpec, StoreDtype

if TYPE_CHECKING:
    from actkit.recipes.specs import DenseSpec, SparseSpec


@dataclass(frozen=True)
class Dense:
    """Further options of commands that store whole activations."""

    layers: Annotated[str, option(READ, "all, recommended (45%-85% of depth), 4,8,-1, 10-15 or 45%-85%.", "-l")] = "all"
    hook_point: Annotated[
        list[str] | None,
        option(READ, "hook_resid_post by default; may be repeated; blocks.3.hook_mlp_out names its layer itself."),
    ] = None
    top_k: Annotated[int, option(SAE, "With an SAE: features kept of each token; 0 keeps all active.", "-k", min=0)] = (
        50
    )
    store_dtype: Annotated[
        StoreDtype, option(OUTPUT, "How activations are stored; float16 is refused where a value does not fit.")
    ] = "float32"


@dataclass(frozen=True)
class Sparse:
    """Further options of commands that store SAE features."""

    sae_release: Annotated[
        str | None,
        option(
            SAE, "Release in SAELens's registry (actkit saes lists them), or a Hugging Face id; tiny's own by default."
        ),
    ] = None
    sae_id: Annotated[
        list[str] | None,
        option(SAE, "SAE of that release, or without it RELEASE/ID; may be repeated, all in one pass."),
    ] = None
    sae: Annotated[
        list[str] | None,
        option(
            SAE,
            "Directory of an SAE in SAELens's, sparsify's or dictionary_learning's format; may be repeated.",
            callback=at_home,
        ),
    ] = None
    target_layer: Annotated[
        int | None,
        option(
            SAE,
            "Choose the release's SAE by layer; an SAE that reads another is an error.",
            "--target-layer",
            "--layer",
        ),
    ] = None
    hook_name: Annotated[
        str | None, option(SAE, "The hook point that is meant; an SAE that reads another is an error.")
    ] = None

    sae_dtype: Annotated[
        SaeDtype,
        option(SAE, "bfloat16 finds active features faster where the processor has it; they are the same to rounding."),
    ] = "float32"

    def sparse_spec(self, shared: Shared, command: str) -> "SparseSpec":
        """The model, its SAEs, and where their features go."""
        from actkit.recipes.specs import SparseSpec, spec_of

        model, saes, output = shared.model_spec(), self.sae_specs(shared.model), shared.output_spec(command)
        return spec_of(SparseSpec, vars(shared) | vars(self), model=model, saes=saes, output=output)

    def dense_spec(self, shared: Shared, dense: Dense, command: str) -> "DenseSpec":
        """The model, its activations, SAEs beside them if any, and where they go."""
        from actkit.recipes.specs import DenseSpec, spec_of

        saes = self.wanted(shared.model)
        if dense.top_k != DenseSpec.top_k and not saes and not shared.quiet:
            beside = "which --sae-release, --sae or --layer names"
            say("warning", f"--top-k {dense.top_k} does nothing without an SAE, {beside}")
        model, output = shared.model_spec(), shared.output_spec(command, dense.store_dtype)
        return spec_of(DenseSpec, vars(shared) | vars(dense) | vars(self), model=model, saes=saes, output=output)

    def sae_specs(self, model: str) -> list[SaeSpec]:
        """The SAEs that are meant. Raises UsageError when none is, and the model has none of its own."""
        from actkit.recipes.sae_choice import chosen_saes

        return chosen_saes(
            model, self.sae_release, self.sae_id or (), self.sae or (), self.target_layer, self.hook_name
        )

    def wanted(self, model: str) -> list[SaeSpec]:
        """The SAEs that are meant where none need be: no flag, no SAE."""
        named = (self.sae_release, self.sae_id, self.sae, self.target_layer, self.hook_name)
        return self.sae_specs(model) if any(value is not None for value in named) else []
