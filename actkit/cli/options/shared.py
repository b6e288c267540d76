"""The options that commands share, as groups: dataclasses that `with_option_groups` turns into flags."""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from actkit.bundled import NAME
from actkit.cli.options.config_file import load_config
from actkit.cli.options.engine import task_of_text
from actkit.cli.options.groups import (
    BATCH,
    MODEL,
    OUTPUT,
    READ,
    AllowPickle,
    Columns,
    Device,
    ModelName,
    Split,
    TrustRemoteCode,
    among,
    hidden,
    option,
)
from actkit.cli.options.presets import NAMES, load_preset
from actkit.config import (
    Attention,
    BatchSpec,
    Bos,
    DeviceMap,
    ExportFormat,
    ModelSpec,
    OnBadRecord,
    OutputSpec,
    Quantize,
    ReadSpec,
    StoreDtype,
)
from actkit.errors import UsageError
from actkit.runs.paths import URL, named_after, task_of

SUFFIXES = {f".{name}": name for name in ("h5", "pt", "json", "jsonl", "npz", "safetensors", "gguf")} | {".hdf5": "h5"}
"""Suffix of `--out` that means a file → its format of `actkit export`."""


Made = TypeVar("Made")


def spec_of_call(kind: type[Made], call: Mapping[str, Any], **given: Any) -> Made:
    """Make a spec from a command's arguments: `call` has its groups and its own ones; `given` are fields."""
    from actkit.recipes.specs import spec_of

    groups = [vars(value) for value in call.values() if is_dataclass(value)]
    return spec_of(kind, dict(call, **{name: value for group in groups for name, value in group.items()}), **given)


@dataclass(frozen=True)
class Around:
    """Options of every command that makes a run: how it is computed, its output, and further steps."""

    batch_tokens: Annotated[
        int, option(BATCH, "Most tokens in one forward pass, padding included; changes no row.", min=1)
    ] = BatchSpec.batch_tokens
    out: Annotated[Path | None, option(OUTPUT, "Directory of the run; runs/<command>-<time> by default.", "-o")] = None
    overwrite: Annotated[bool, option(OUTPUT, "Replace an existing run.")] = False
    resume: Annotated[bool, option(OUTPUT, "Continue an unfinished run after its last finished shard.")] = False
    shard: Annotated[
        str | None,
        option(
            OUTPUT,
            "Be task I (from 0) of N that compute the run together; then: actkit merge. Or auto: the task that a "
            "scheduler says; without one, the whole run with a process a GPU.",
            metavar="I/N",
            show_default=False,
        ),
    ] = None
    engine: Annotated[
        str | None,
        option(
            OUTPUT, "Share the run out among workers of a Ray cluster, or of this machine.", metavar="ray[:ADDRESS]"
        ),
    ] = None
    workers: Annotated[
        int | None,
        option(
            OUTPUT,
            "With --engine and --shard auto: how many, if not one a GPU, or for --engine without one, one a CPU.",
            min=1,
            show_default=False,
        ),
    ] = None
    plan: Annotated[bool, option(OUTPUT, "Read and tokenize only; print what the run would be, and write nothing.")] = (
        False
    )
    verify: Annotated[
        int,
        option(
            OUTPUT,
            "Compute so many of the first records again on the plain Hugging Face model, and stop if the numbers "
            "differ by more than rounding.",
            min=0,
        ),
    ] = 0
    profile: Annotated[bool, option(OUTPUT, "Print where the time went; run.json has it in any case.")] = False
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            rich_help_panel=OUTPUT,
            help="YAML file of options, such as a run's config.yaml; flags and ACTKIT_* come first.",
            callback=load_config,
            is_eager=True,
        ),
    ] = None
    export: Annotated[
        list[str] | None,
        option(
            OUTPUT,
            "Also write the run in a format of actkit export, beside it; may be repeated.",
            autocompletion=among(get_args(ExportFormat)),
        ),
    ] = None
    quiet: Annotated[bool, option(OUTPUT, "Print nothing but the result and errors.", "-q")] = False
    json: Annotated[bool, option(OUTPUT, "Print one JSON object instead of the run's path.")] = False
    output: Annotated[Path | None, hidden("--output", "--output-dir")] = None
    shard_sequences: Annotated[int, hidden("--shard-sequences", min=1)] = BatchSpec.shard_sequences
    shard_mb: Annotated[int, hidden("--shard-mb", min=1)] = BatchSpec.shard_mb


@dataclass(frozen=True)
class Shared(Around):
    """Options of every command that reads records and runs a model."""

    model: ModelName = ModelSpec.name
    revision: Annotated[str | None, option(MODEL, "Branch, tag or commit of a Hugging Face id.")] = None
    device: Device = ModelSpec.device
    dtype: Annotated[
        str, option(MODEL, "auto (bfloat16 on a GPU that has it, float32 on a CPU), float32, bfloat16, float16.")
    ] = ModelSpec.dtype
    attn: Annotated[
        Attention, option(MODEL, "Attention implementation; auto is sdpa where the architecture has it.")
    ] = "auto"
    trust_remote_code: TrustRemoteCode = False
    allow_pickle: AllowPickle = False
    device_map: Annotated[
        DeviceMap | None, option(MODEL, "Spread the weights over all GPUs, what does not fit on the CPU or the disk.")
    ] = None
    quantize: Annotated[
        Quantize | None,
        option(MODEL, "Load the weights in 8 or 4 bits (CUDA, actkit\\[quantize]); changes the numbers."),
    ] = None
    max_samples: Annotated[
        int | None, option(READ, "Read no more than this many records.", "--max-samples", "--max-examples", min=1)
    ] = None
    split: Split = ReadSpec.split
    columns: Columns = None
    max_length: Annotated[
        int | None, option(READ, "Most tokens a sequence; the model's context by default.", min=1)
    ] = None
    bos: Annotated[Bos, option(READ, "Leading BOS of plain text; auto leaves it to the tokenizer.")] = "auto"
    date: Annotated[
        str | None,
        option(
            READ,
            "What a chat template that asks for the date is told, such as 2026-11-27; when the run begins by default.",
        ),
    ] = None
    on_bad_record: Annotated[
        OnBadRecord, option(READ, "skip lists bad records in the table rejected; fail stops at the first.")
    ] = "skip"
    preset: Annotated[
        str | None,
        option(
            MODEL,
            f"Model, dtype, layers and SAE; --config and flags come first. One of {', '.join(NAMES)}.",
            callback=load_preset,
            autocompletion=among(NAMES),
            is_eager=True,
        ),
    ] = None
    report: Annotated[bool, option(OUTPUT, "Also write the run's page, RUN.html beside it: see actkit report.")] = False
    use_hooks: Annotated[bool, hidden("--use-hooks")] = False
    verbose: Annotated[bool, hidden("--verbose")] = False
    log_level: Annotated[str | None, hidden("--log-level")] = None

    def model_spec(self) -> ModelSpec:
        """Make the spec of the model. Raises UsageError for a revision of a bundled model or a directory."""
        if self.revision is not None and (self.model == NAME or Path(self.model).is_dir()):
            what = "is bundled" if self.model == NAME else "is a directory"
            raise UsageError(f"--revision {self.revision}: {self.model} {what}", "only a Hugging Face id has revisions")
        from actkit.recipes.specs import spec_of

        return spec_of(ModelSpec, vars(self))

    @property
    def file(self) -> Path | None:
        """The file in another format that `--out` or `--output` names: `x.h5` is a file, and its run is in `x`."""
        named = self.out or self.output
        return named if named is not None and named.suffix in SUFFIXES else None

    @property
    def directory(self) -> Path | None:
        """The directory of the run, where an option names it; else None."""
        return self.file.with_suffix("") if self.file is not None else self.out or self.output

    @property
    def exports(self) -> list[tuple[str, Path | None]]:
        """The formats that the run is also written in, each with its file; None is the default file beside the run."""
        beside: list[tuple[str, Path | None]] = [(to, None) for to in self.export or ()]
        return beside if self.file is None else [*beside, (SUFFIXES[self.file.suffix], self.file)]

    def output_spec(self, command: str, store_dtype: StoreDtype = "float32") -> OutputSpec:
        """Make the spec of the output. Raises UsageError for a wrong `--shard`, or one without a local `--out`."""
        from actkit.recipes.specs import spec_of

        task = task_of_text(self.shard, self.workers)
        out = self.directory or named_after(command)
        if task is not None and self.directory is None:
            raise UsageError("--shard without --out", "give -o, the same for every task, such as -o runs/x")
        if task is not None and URL.match(str(out)):
            raise UsageError(
                f"--shard with --out {out}: tasks meet in a folder that all of them see",
                f"give -o such a folder, then: actkit merge FOLDER, and actkit push FOLDER {out}",
            )
        if task is not None and not self.plan:
            out = task_of(out, task.number, task.of)
        asked = {"overwrite": self.overwrite, "resume": self.resume, "plan_only": self.plan}
        return spec_of(OutputSpec, vars(self), out=out, store_dtype=store_dtype, task=task, **asked)
