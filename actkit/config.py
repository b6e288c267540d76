"""Specs of a run, as frozen dataclasses: every default and unit stands here, and nowhere else.

A field's metadata name its option where that has another name (see `recipes.asked`), and its bounds, `least` and
`most`. `recipes.specs` checks the bounds; options of the command line have these bounds of their own.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Attention = Literal["auto", "sdpa", "eager"]
DeviceMap = Literal["auto", "balanced", "sequential", "cpu"]
Quantize = Literal["8bit", "4bit"]
StoreDtype = Literal["float32", "float16"]
SaeDtype = Literal["float32", "bfloat16"]
OnBadRecord = Literal["skip", "fail"]
Bos = Literal["auto", "always", "never"]
Pool = Literal["max", "mean", "last", "sum"]
ExportFormat = Literal[
    "h5", "pt", "json", "jsonl", "npz", "safetensors", "saedashboard", "gguf", "steering-vectors", "persona"
]
ContrastPositions = Literal["last", "response-mean", "all"]
PairPositions = Literal["all", "from-divergence", "divergence"]
SteerDo = Literal["add", "project-out", "zero", "clamp"]
SteerPositions = Literal["all", "prompt", "response"]


MOST_TOKENS = 1 << 20
"""Most tokens of one sequence that are held: no longer text can be run, whatever the model's context is."""


@dataclass(frozen=True)
class ModelSpec:
    """A language model, and how it is loaded."""

    name: str = field(default="tiny", metadata={"option": "model"})
    """`tiny` (bundled), a Hugging Face id, a TransformerLens alias, or a local directory in Hugging Face layout."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id; None is the hub's default branch."""
    device: str = "auto"
    """`auto` takes CUDA, then Apple's MPS, then the CPU; or any torch device such as `cuda:1`."""
    dtype: str = "auto"
    """`auto` is bfloat16 on a GPU that computes in it and float32 elsewhere; or float32, bfloat16, float16."""
    attn: Attention = "auto"
    """`auto` is sdpa where the architecture has it (Gemma 2 does not) and eager elsewhere; the two differ by about 1e-3
    in float32 at worst."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model's repository."""
    allow_pickle: bool = False
    """Read a checkpoint that is not in safetensors, tensors only: a pickle can run code when it is loaded."""
    device_map: DeviceMap | None = None
    """Spread the weights over all devices as accelerate does, and offload those that do not fit; None is one device."""
    quantize: Quantize | None = None
    """Load the weights in 8 or 4 bits with bitsandbytes, on CUDA; the numbers are then the quantized model's."""
    loaded: tuple[Any, Any] | None = field(default=None, repr=False, compare=False, metadata={"option": None})
    """A `transformers` model and its tokenizer that are in memory already, used as they are; `name` is then a label."""
    backend: str = field(default="transformers", metadata={"option": None})
    """The engine that runs the model; transformers is the only one so far."""


@dataclass(frozen=True)
class SaeSpec:
    """One sparse autoencoder: a directory in SAELens's format, or a release and an id of SAELens's registry."""

    release: str | None = None
    """A release of the registry, or a Hugging Face id of a repository in SAELens's format; `tiny` is bundled."""
    sae_id: str | None = None
    path: str | None = None
    """A local directory with cfg.json and sae_weights.safetensors; instead of release and id."""
    layer: int | None = None
    """The expected layer. It chooses the SAE of a release given alone; any other SAE must read this layer."""
    hook_name: str | None = None
    """The expected hook point, with or without `blocks.N.`; the SAE must read it."""
    loaded: Any = field(default=None, repr=False, compare=False, metadata={"option": None})
    """An SAE of SAELens that is in memory already, read as it is."""


@dataclass(frozen=True)
class BatchSpec:
    """Sizes of batches and shards; they change no row beyond rounding."""

    batch_tokens: int = field(default=4096, metadata={"least": 1})
    """Most tokens in one forward pass, padding included."""
    shard_sequences: int = field(default=1024, metadata={"least": 1})
    """Most sequences in one shard: a batch of short texts is filled from them, and memory holds two shards."""
    shard_mb: int = field(default=64, metadata={"least": 1})
    """Most megabytes of kept activations in one shard; while it is put into order and the one before it is written, a
    run holds about five times this."""


@dataclass(frozen=True)
class TokenSpec:
    """Settings of tokenization."""

    max_length: int | None = field(default=None, metadata={"least": 1})
    """Most tokens a sequence; None is the model's context length."""
    bos: Bos = "auto"
    """`auto` leaves the beginning-of-sequence token to the tokenizer, as Hugging Face does."""
    date: str | None = None
    """Date for a chat template that asks for it, ISO 8601; None is the day on which the run begins. A run of such a
    template keeps the date among its options, so that a resumed run has the same one."""

    def limit(self, context_length: int | None) -> int:
        """Return the most tokens of a sequence in a model of this context; a longer `max_length` cannot extend it."""
        return min(limit for limit in (self.max_length, context_length, MOST_TOKENS) if limit is not None)


@dataclass(frozen=True)
class ReadSpec:
    """Settings for reading an input whose format leaves them open."""

    split: str = "train"
    """Split of a dataset, or of a file that has several."""
    columns: str | None = None
    """The names of the columns of a CSV or TSV file without a header line, with commas between them."""

    def column_names(self) -> list[str]:
        """Return the names in `columns` as a list."""
        return [name.strip() for name in self.columns.split(",")] if self.columns else []


@dataclass(frozen=True)
class Task:
    """One of several tasks that compute a run together: those shards whose number modulo `of` is `number`."""

    number: int
    of: int

    def has(self, shard: int) -> bool:
        """Whether a shard is this task's."""
        return shard % self.of == self.number

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"


@dataclass(frozen=True)
class OutputSpec:
    """The place of a run, and the handling of bad records and interruptions."""

    out: Path
    """The finished run's directory; it grows as `<out>.partial`."""
    overwrite: bool = field(default=False, metadata={"option": None})
    """Replace an existing run."""
    store_dtype: StoreDtype = "float32"
    """How activations are stored; float16 is refused where a value does not fit."""
    on_bad_record: OnBadRecord = "skip"
    """`skip` lists bad records in the table `rejected`; `fail` stops at the first one."""
    max_records: int | None = field(default=None, metadata={"option": "max_samples", "least": 1})
    """Read no more than this many records."""
    resume: bool = field(default=False, metadata={"option": None})
    """Continue an unfinished run after its last finished shard."""
    plan_only: bool = field(default=False, metadata={"option": None})
    """Dry run: read, tokenize and report the run's estimated size, and write nothing."""
    verify: int = field(default=0, metadata={"least": 0})
    """Records to compute again on the reference model, as soon as the first shard is finished."""
    published: Path | None = field(default=None, metadata={"option": None})
    """The run's place in a store; `out` is then the local directory in which it is made first."""
    task: Task | None = field(default=None, metadata={"option": None})
    """Compute some of the run's shards only, as one of several tasks; `out` is then the task's own directory."""
