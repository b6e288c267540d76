"""The options that commands share, as groups: dataclasses that `with_option_groups` turns into flags.

Flags and help of what every command takes are in `model` and `run`, defaults here and in `config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from actkit.bundled import NAME
from actkit.cli.options import model as of_model
from actkit.cli.options import run as of_run
from actkit.cli.options.engine import task_of_text
from actkit.cli.options.groups import OUTPUT, READ, SAE, hidden, option
from actkit.config import BatchSpec, ModelSpec, OutputSpec, ReadSpec, StoreDtype
from actkit.errors import UsageError
from actkit.runs.paths import URL, named_after, task_of

SUFFIXES = {
    ".h5": "h5",
    ".hdf5": "h5",
    ".pt": "pt",
    ".json": "json",
    ".jsonl": "jsonl",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".gguf": "gguf",
}
"""Endings of `--out` that mean a file → its format of `actkit export`."""
TOP_K = 50
"""Features kept of each token where nothing else is said."""


def format_of_file(path: Path) -> str:
    """The format of a file that `--out` names."""
    return SUFFIXES[path.suffix]


Made = TypeVar("Made")


def spec_of_call(kind: type[Made], call: Mapping[str, Any], **given: Any) -> Made:
    """A spec of what a command was called with: `call` holds its arguments, groups and own ones; `given` are fields."""
    from actkit.recipes.specs import spec_of

    groups = [vars(value) for value in call.values() if is_dataclass(value)]
    return spec_of(kind, dict(call, **{name: value for group in groups for name, value in group.items()}), **given)


@dataclass(frozen=True)
class Around:
    """Options of every command that makes a run: where it is computed, where it goes, and what else is done."""

    batch_tokens: of_run.BatchTokens = BatchSpec.batch_tokens
    out: of_run.Out = None
    overwrite: of_run.Overwrite = False
    resume: of_run.Resume = False
    shard: of_run.Share = None
    engine: of_run.EngineName = None
    workers: of_run.WorkerCount = None
    plan: of_run.PlanOnly = False
    verify: of_run.Verify = 0
    profile: of_run.Profile = False
    config: of_run.ConfigFile = None
    export: of_run.ExportTo = None
    quiet: of_run.Quiet = False
    json: of_run.Json = False
    output: Annotated[Path | None, hidden("--output", "--output-dir")] = None
    shard_sequences: Annotated[int, hidden("--shard-sequences", min=1)] = BatchSpec.shard_sequences
    shard_mb: Annotated[int, hidden("--shard-mb", min=1)] = BatchSpec.shard_mb


@dataclass(frozen=True)
class Shared(Around):
    """Options of every command that reads records and runs a model."""

    model: of_model.ModelName = ModelSpec.name
    revision: of_model.Revision = None
    device: of_model.Device = ModelSpec.device
    dtype: of_model.Dtype = ModelSpec.dtype
    attn: of_model.Attn = "auto"
    trust_remote_code: of_model.TrustRemoteCode = False
    allow_pickle: of_model.AllowPickle = False
    device_map: of_model.Placed = None
    quantize: of_model.Quantized = None
    max_samples: of_run.MaxSamples = None
    split: of_run.Split = ReadSpec.split
    columns: of_run.Columns = None
    max_length: of_run.MaxLength = None
    bos: of_run.LeadingBos = "auto"
    date: of_run.Date = None
    on_bad_record: of_run.BadRecords = "skip"
    preset: of_model.Preset = None
    report: of_run.ReportToo = False
    use_hooks: Annotated[bool, hidden("--use-hooks")] = False
    verbose: Annotated[bool, hidden("--verbose")] = False
    log_level: Annotated[str | None, hidden("--log-level")] = None

    def model_spec(self) -> ModelSpec:
        """The model, and how it is loaded. Raises UsageError for a revision of what has none."""
        if self.revision is not None and (self.model == NAME or Path(self.model).is_dir()):
            what = "is bundled" if self.model == NAME else "is a directory"
            raise UsageError(f"--revision {self.revision}: {self.model} {what}", "only a Hugging Face id has revisions")
        from actkit.recipes.specs import spec_of

        return spec_of(ModelSpec, vars(self))

    @property
    def file(self) -> Path | None:
        """The file in another format that `--out` or `--output` names: `x.h5` is a file, with its run beside it."""
        named = self.out or self.output
        return named if named is not None and named.suffix in SUFFIXES else None

    @property
    def directory(self) -> Path | None:
        """The directory of the run, where it is named."""
        return self.file.with_suffix("") if self.file is not None else self.out or self.output

    def output_spec(self, command: str, store_dtype: StoreDtype = "float32") -> OutputSpec:
        """Where the run goes. Raises UsageError for a `--shard` that is none, or of a run that has no name."""
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


@dataclass(frozen=True)
class Dense:
    """Further options of commands that store whole activations."""

    layers: Annotated[str, option(READ, "all, recommended (45%-85% of depth), 4,8,-1, 10-15 or 45%-85%.", "-l")] = "all"
    hook_point: Annotated[
        list[str] | None,
        option(READ, "hook_resid_post by default; may be repeated; blocks.3.hook_mlp_out names its layer itself."),
    ] = None
    top_k: Annotated[int, option(SAE, "With an SAE: features kept of each token; 0 keeps all active.", "-k", min=0)] = (
        TOP_K
    )
    store_dtype: Annotated[
        StoreDtype, option(OUTPUT, "How activations are stored; float16 is refused where a value does not fit.")
    ] = "float32"
