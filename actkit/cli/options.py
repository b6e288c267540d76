"""The options that commands share, as groups: dataclasses that `expanded` turns into flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from actkit.bundled import NAME
from actkit.cli.expand import BATCH, MODEL, OUTPUT, READ, SAE, at_home, hidden, option
from actkit.cli.presets import NAMES, load_preset
from actkit.cli.settings import load_config
from actkit.config import (
    Attention,
    BatchSpec,
    Bos,
    DeviceMap,
    ModelSpec,
    OnBadRecord,
    OutputSpec,
    Quantize,
    SaeSpec,
    StoreDtype,
    TokenSpec,
)
from actkit.errors import UsageError

if TYPE_CHECKING:
    from actkit.recipes.sparse import SparseSpec

TOP_K = 50
"""Features kept of each token where nothing else is said."""


TrustRemoteCode: TypeAlias = Annotated[
    bool, option("--trust-remote-code", panel=MODEL, help="Run Python code from the model's repository.")
]
AllowPickle: TypeAlias = Annotated[
    bool,
    option(
        "--allow-pickle",
        panel=MODEL,
        help="Read a checkpoint that is not in safetensors; a pickle can run code when it is loaded.",
    ),
]


@dataclass(frozen=True)
class Shared:
    """What every command that runs a model takes."""

    model: Annotated[
        str,
        option(
            "--model",
            "-m",
            panel=MODEL,
            help="[b]tiny[/] (bundled), a Hugging Face id, a TransformerLens alias or a local directory.",
            callback=at_home,
        ),
    ] = ModelSpec.name
    revision: Annotated[
        str | None, option("--revision", panel=MODEL, help="Branch, tag or commit of a Hugging Face id.")
    ] = None
    device: Annotated[str, option("--device", panel=MODEL, help="auto, cpu, cuda, cuda:1, mps.")] = ModelSpec.device
    dtype: Annotated[
        str,
        option(
            "--dtype",
            panel=MODEL,
            help="auto (bfloat16 on a GPU that has it, float32 on a CPU), float32, bfloat16, float16.",
        ),
    ] = ModelSpec.dtype
    attn: Annotated[
        Attention,
        option("--attn", panel=MODEL, help="Attention implementation; auto is sdpa where the architecture has it."),
    ] = "auto"
    trust_remote_code: TrustRemoteCode = False
    allow_pickle: AllowPickle = False
    device_map: Annotated[
        DeviceMap | None,
        option(
            "--device-map",
            panel=MODEL,
            help="Spread the weights over all GPUs, what does not fit on the CPU or the disk.",
            show_default=False,
        ),
    ] = None
    quantize: Annotated[
        Quantize | None,
        option(
            "--quantize",
            panel=MODEL,
            help="Load the weights in 8 or 4 bits (CUDA, actkit\\[quantize]); changes the numbers.",
            show_default=False,
        ),
    ] = None
    max_samples: Annotated[
        int | None,
        option("--max-samples", "--max-examples", panel=READ, min=1, help="Read no more than this many records."),
    ] = None
    max_length: Annotated[
        int | None,
        option(
            "--max-length",
            panel=READ,
            min=1,
            help="Most tokens a sequence; the model's context by default.",
            show_default=False,
        ),
    ] = None
    bos: Annotated[
        Bos, option("--bos", panel=READ, help="Leading BOS of plain text; auto leaves it to the tokenizer.")
    ] = "auto"
    on_bad_record: Annotated[
        OnBadRecord,
        option(
            "--on-bad-record", panel=READ, help="skip lists bad records in the table rejected; fail stops at the first."
        ),
    ] = "skip"
    batch_tokens: Annotated[
        int,
        option(
            "--batch-tokens", panel=BATCH, min=1, help="Tokens in one forward pass, padding included; changes no row."
        ),
    ] = BatchSpec.batch_tokens
    out: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            panel=OUTPUT,
            help="Directory of the run; runs/<command>-<time> by default.",
            show_default=False,
            callback=at_home,
        ),
    ] = None
    overwrite: Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing run.")] = False
    resume: Annotated[
        bool, option("--resume", panel=OUTPUT, help="Continue an unfinished run after its last finished shard.")
    ] = False
    plan: Annotated[
        bool,
        option("--plan", panel=OUTPUT, help="Read and tokenize only; print what the run would be, and write nothing."),
    ] = False
    verify: Annotated[
        int,
        option(
            "--verify",
            panel=OUTPUT,
            min=0,
            help="Compute so many of the first records again on the plain Hugging Face model, and stop if the numbers "
            "differ by more than rounding.",
        ),
    ] = 0
    profile: Annotated[
        bool, option("--profile", panel=OUTPUT, help="Print where the time went; run.json has it in any case.")
    ] = False
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            rich_help_panel=OUTPUT,
            help="YAML file of options, such as a run's config.yaml; flags and ACTKIT_* come first.",
            callback=load_config,
            is_eager=True,
            show_default=False,
        ),
    ] = None
    preset: Annotated[
        str | None,
        option(
            "--preset",
            panel=MODEL,
            help=f"Model, dtype, layers and SAE; --config and flags come first. One of {', '.join(NAMES)}.",
            callback=load_preset,
            is_eager=True,
            show_default=False,
        ),
    ] = None
    export: Annotated[
        list[str] | None,
        option(
            "--export",
            panel=OUTPUT,
            help="Also write the run in a format of actkit export, beside it; may be repeated.",
            show_default=False,
        ),
    ] = None
    quiet: Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Print nothing but the result and errors.")] = (
        False
    )
    json: Annotated[bool, option("--json", panel=OUTPUT, help="Print one JSON object instead of the run's path.")] = (
        False
    )
    output: Annotated[Path | None, hidden("--output", "--output-dir", callback=at_home)] = None
    use_hooks: Annotated[bool, hidden("--use-hooks")] = False
    verbose: Annotated[bool, hidden("--verbose")] = False
    log_level: Annotated[str | None, hidden("--log-level")] = None
    shard_sequences: Annotated[int, hidden("--shard-sequences", min=1)] = BatchSpec.shard_sequences
    shard_mb: Annotated[int, hidden("--shard-mb", min=1)] = BatchSpec.shard_mb

    def model_spec(self) -> ModelSpec:
        """Which model, and how it is loaded. Raises UsageError for a revision of what has none."""
        if self.revision is not None and (self.model == NAME or Path(self.model).is_dir()):
            what = "is bundled" if self.model == NAME else "is a directory"
            raise UsageError(f"--revision {self.revision}: {self.model} {what}", "only a Hugging Face id has revisions")
        return ModelSpec(
            self.model,
            self.revision,
            self.device,
            self.dtype,
            self.attn,
            self.trust_remote_code,
            self.allow_pickle,
            self.device_map,
            self.quantize,
        )

    def batch_spec(self) -> BatchSpec:
        """How much is computed at once."""
        return BatchSpec(self.batch_tokens, self.shard_sequences, self.shard_mb)

    def token_spec(self) -> TokenSpec:
        """How text becomes tokens."""
        return TokenSpec(self.max_length, self.bos)

    def output_spec(self, out: Path, store_dtype: StoreDtype = "float32") -> OutputSpec:
        """Where the run goes."""
        return OutputSpec(
            out,
            self.overwrite,
            store_dtype,
            self.on_bad_record,
            self.max_samples,
            self.resume,
            self.plan,
            verify=self.verify,
        )


@dataclass(frozen=True)
class Dense:
    """What commands that store whole activations take besides."""

    layers: Annotated[
        str, option("--layers", "-l", panel=READ, help="all, recommended (45%-85% of depth), 4,8,-1, 10-15 or 45%-85%.")
    ] = "all"
    hook_point: Annotated[
        list[str] | None,
        option(
            "--hook-point",
            panel=READ,
            help="hook_resid_post by default; may be repeated; blocks.3.hook_mlp_out names its layer itself.",
            show_default=False,
        ),
    ] = None
    top_k: Annotated[
        int, option("--top-k", "-k", panel=SAE, min=1, help="With an SAE: features kept of each token, the largest.")
    ] = TOP_K
    store_dtype: Annotated[
        StoreDtype,
        option(
            "--store-dtype",
            panel=OUTPUT,
            help="How activations are stored; float16 is refused where a value does not fit.",
        ),
    ] = "float32"


@dataclass(frozen=True)
class Sparse:
    """What commands that store SAE features take besides."""

    sae_release: Annotated[
        str | None,
        option(
            "--sae-release",
            panel=SAE,
            help="Release in SAELens's registry (actkit saes lists them), or a Hugging Face id; tiny's own by default.",
            show_default=False,
        ),
    ] = None
    sae_id: Annotated[
        list[str] | None,
        option(
            "--sae-id", panel=SAE, help="SAE of that release; may be repeated, all in one pass.", show_default=False
        ),
    ] = None
    sae: Annotated[
        list[str] | None,
        option(
            "--sae",
            panel=SAE,
            help="Directory of an SAE in SAELens's, sparsify's or dictionary_learning's format; may be repeated.",
            show_default=False,
            callback=at_home,
        ),
    ] = None
    target_layer: Annotated[
        int | None,
        option(
            "--target-layer",
            "--layer",
            panel=SAE,
            help="Choose the release's SAE by layer; an SAE that reads another is an error.",
            show_default=False,
        ),
    ] = None
    hook_name: Annotated[
        str | None,
        option(
            "--hook-name",
            panel=SAE,
            help="The hook point that is meant; an SAE that reads another is an error.",
            show_default=False,
        ),
    ] = None

    def sparse_spec(self, shared: Shared, output: OutputSpec) -> "SparseSpec":
        """Which SAEs of which model, and where their features go."""
        from actkit.recipes.sparse import SparseSpec

        return SparseSpec(shared.model_spec(), self.sae_specs(shared.model), output, shared.batch_spec())

    def sae_specs(self, model: str) -> list[SaeSpec]:
        """The SAEs that are meant. Raises UsageError when none is, and the model has none of its own."""
        chosen = [SaeSpec(path=path, layer=self.target_layer, hook_name=self.hook_name) for path in self.sae or []]
        release = self.sae_release or (model if model == NAME and not chosen else None)
        if release is None and self.sae_id:
            raise UsageError("--sae-id without --sae-release", "name the release that it belongs to")
        if release is None and not chosen:
            raise UsageError(
                f"no SAE given for {model}", "--sae-release and --sae-id, which actkit saes lists, or --sae DIR"
            )
        if release is not None:
            default = "blocks.2.hook_resid_post" if release == NAME and self.target_layer is None else None
            ids: list[str | None] = [*self.sae_id] if self.sae_id else [default]
            chosen += [SaeSpec(release, one, layer=self.target_layer, hook_name=self.hook_name) for one in ids]
        return chosen

    def wanted(self, model: str) -> list[SaeSpec]:
        """The SAEs that are meant where none need be: no flag, no SAE."""
        named = (self.sae_release, self.sae_id, self.sae, self.target_layer, self.hook_name)
        return self.sae_specs(model) if any(one is not None for one in named) else []
