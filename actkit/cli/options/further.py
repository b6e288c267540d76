"""The groups of options that some commands take: fields of records, activations and SAEs, and a run to go on from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from actkit.cli.options.groups import MODEL, OUTPUT, READ, SAE, Device, at_home, option
from actkit.cli.options.shared import Around, Shared
from actkit.cli.screen.console import say
from actkit.config import ModelSpec, SaeDtype, SaeSpec, StoreDtype
from actkit.errors import UsageError

if TYPE_CHECKING:
    from actkit.recipes.specs import DenseSpec, FollowSpec, SparseSpec

Which = Literal["best-worst", "adjacent", "all"]


@dataclass(frozen=True)
class ContextOptions:
    """Fields of the context before an answer; every command that reads conversations takes these options."""

    prompt_field: Annotated[
        str | None,
        option(
            READ,
            "What is asked: text or messages; by default prompt, instruction, question, query, input, …; a dotted "
            "path such as input.messages reaches into objects.",
        ),
    ] = None
    system_field: Annotated[str | None, option(READ, "System message; by default system, system_prompt, …")] = None
    history_field: Annotated[
        str | None, option(READ, "Earlier turns: messages or [question, answer] pairs; by default history, …")
    ] = None
    ignore_field: Annotated[
        list[str] | None, option(READ, "A field that carries context and is left out on purpose; may be repeated.")
    ] = None


@dataclass(frozen=True)
class AnswerOptions:
    """Fields of the two answers of a preference pair, and of the one that is better."""

    input_format: Annotated[
        str | None, option(READ, "A shape listed by actkit docs shapes; by default it is told of each record.")
    ] = None
    chosen_field: Annotated[str | None, option(READ, "The better answer, such as chosen.content.")] = None
    rejected_field: Annotated[str | None, option(READ, "The worse answer.")] = None
    preference_field: Annotated[
        str | None,
        option(READ, "What says which of two answers is better, or the score by which a list of them is ranked."),
    ] = None
    first_is_better: Annotated[
        list[str] | None,
        option(
            READ, "A value of that field with which the first answer is better, any other the second; may be repeated."
        ),
    ] = None
    make_pairs: Annotated[
        Which, option(READ, "Of more than two ranked answers: the best with the worst, or more pairs.", "--pairs")
    ] = "best-worst"

    def check(self) -> None:
        """Raise UsageError for an unknown shape, and for `--first-is-better` without its field."""
        from actkit.recipes.conversations.pairs import check_form

        check_form(self.input_format)
        if self.first_is_better and self.preference_field is None:
            raise UsageError(
                "--first-is-better without --preference-field", "--preference-field names the field that has the value"
            )


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
        """Make the spec of the model, its SAEs, and the output of their features."""
        from actkit.recipes.specs import SparseSpec, spec_of

        model, saes, output = shared.model_spec(), self.sae_specs(shared.model), shared.output_spec(command)
        return spec_of(SparseSpec, vars(shared) | vars(self), model=model, saes=saes, output=output)

    def dense_spec(self, shared: Shared, dense: Dense, command: str) -> "DenseSpec":
        """Make the spec of the model, its activations, SAEs if any are named, and the output."""
        from actkit.recipes.specs import DenseSpec, spec_of

        named = (self.sae_release, self.sae_id, self.sae, self.target_layer, self.hook_name)
        saes = self.sae_specs(shared.model) if any(value is not None for value in named) else []
        if dense.top_k != DenseSpec.top_k and not saes and not shared.quiet:
            beside = "which --sae-release, --sae or --layer names"
            say("warning", f"--top-k {dense.top_k} does nothing without an SAE, {beside}")
        model, output = shared.model_spec(), shared.output_spec(command, dense.store_dtype)
        return spec_of(DenseSpec, vars(shared) | vars(dense) | vars(self), model=model, saes=saes, output=output)

    def sae_specs(self, model: str) -> list[SaeSpec]:
        """Choose the SAEs. Raises UsageError when none is named, and the model has none of its own."""
        from actkit.recipes.sae_choice import sae_specs

        return sae_specs(model, self.sae_release, self.sae_id, self.sae, self.target_layer, hook_name=self.hook_name)


FromRun: TypeAlias = Annotated[
    Path | None,
    option(
        READ,
        "A finished run whose rows are taken: no model is run, other settings are as they were there.",
        "--from",
        metavar="RUN",
    ),
]
NOT_OF_ROWS = frozenset(
    (
        "from_run out output overwrite export report quiet json config preset profile use_hooks verbose log_level steer"
    ).split()
)
"""Options that change how a run proceeds, or what follows it, but no row of it."""
NOT_FROM = {
    "resume": "nothing is kept of one that was interrupted",
    "plan": "no text is read",
    "verify": "no model is loaded",
    "shard": "no record is read that tasks could share",
}
"""Option → why it has no meaning with `--from`."""


def changes_in(context: typer.Context) -> dict[str, Any]:
    """Return option → value for all that the command line, a file or the environment changes in the new run.

    Options in `NOT_OF_ROWS` are left out, wherever they were set. Raises UsageError for options that make no sense with
    `--from`.
    """
    found: dict[str, Any] = {}
    for name, value in context.params.items():
        source = getattr(context.get_parameter_source(name), "name", "DEFAULT")
        if source in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT") and name not in NOT_OF_ROWS:
            found[name] = list(value) if isinstance(value, tuple) else value
    for name, why in NOT_FROM.items():
        if found.pop(name, None):
            raise UsageError(f"--{name} beside --from: {why}", "leave one of the two out")
    return found


@dataclass(frozen=True)
class Follow(Around):
    """Options of a command that goes on from a run, which says how the model is loaded otherwise."""

    model: Annotated[
        str | None, option(MODEL, "Where the run's model is, if not where it was.", "-m", callback=at_home)
    ] = None
    device: Device = ModelSpec.device

    def shared(self) -> Shared:
        """Return these as the options of any run, for the functions that work with those."""
        return Shared(**vars(self) | {"model": self.model or Shared.model})

    def spec(self, command: str) -> "FollowSpec":
        """Make the spec of the output, and of where the model is."""
        from actkit.recipes.specs import FollowSpec, spec_of

        return spec_of(FollowSpec, vars(self), output=self.shared().output_spec(command))
