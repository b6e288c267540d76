"""The options that commands share, in one place: a dataclass of them, and a decorator that adds them to a command."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from actkit.cli.settings import load_config
from actkit.config import BatchSpec, ModelSpec, OutputSpec, TokenSpec

MODEL, READ, BATCH, OUTPUT = "Model", "What is read", "Computing", "Output"


class Attention(str, Enum):
    """`--attn`."""

    auto = "auto"
    sdpa = "sdpa"
    eager = "eager"


class StoreDtype(str, Enum):
    """`--store-dtype`."""

    float32 = "float32"
    float16 = "float16"


class OnBadRecord(str, Enum):
    """`--on-bad-record`."""

    skip = "skip"
    fail = "fail"


class Bos(str, Enum):
    """`--bos`."""

    auto = "auto"
    always = "always"
    never = "never"


def option(*names: str, panel: str, help: str, **more: Any) -> Any:  # noqa: A002 - typer's own word
    """An option that can also be set by `ACTKIT_<NAME>` in the environment."""
    name = next(one for one in names if one.startswith("--")).partition("/")[0]
    envvar = "ACTKIT_" + name.removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=envvar, show_envvar=False, **more)


def hidden(*names: str, **more: Any) -> Any:
    """A name of one of the source scripts, which keeps working."""
    return typer.Option(*names, hidden=True, **more)


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
    ] = Attention.auto
    trust_remote_code: Annotated[
        bool, option("--trust-remote-code", panel=MODEL, help="Run Python code from the model's repository.")
    ] = False
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
    max_samples: Annotated[
        int | None, option("--max-samples", panel=READ, min=1, help="Read no more than this many records.")
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
    ] = Bos.auto
    on_bad_record: Annotated[
        OnBadRecord,
        option(
            "--on-bad-record", panel=READ, help="skip lists bad records in the table rejected; fail stops at the first."
        ),
    ] = OnBadRecord.skip
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
        ),
    ] = None
    overwrite: Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing run.")] = False
    store_dtype: Annotated[
        StoreDtype,
        option(
            "--store-dtype",
            panel=OUTPUT,
            help="How activations are stored; float16 is refused where a value does not fit.",
        ),
    ] = StoreDtype.float32
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
    quiet: Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Print nothing but the result and errors.")] = (
        False
    )
    json: Annotated[bool, option("--json", panel=OUTPUT, help="Print one JSON object instead of the run's path.")] = (
        False
    )
    output: Annotated[Path | None, hidden("--output", "--output-dir")] = None
    use_hooks: Annotated[bool, hidden("--use-hooks")] = False
    verbose: Annotated[bool, hidden("--verbose")] = False
    log_level: Annotated[str | None, hidden("--log-level")] = None

    def model_spec(self) -> ModelSpec:
        """Which model, and how it is loaded."""
        return ModelSpec(self.model, self.revision, self.device, self.dtype, self.attn.value, self.trust_remote_code)

    def batch_spec(self) -> BatchSpec:
        """How much is computed at once."""
        return BatchSpec(batch_tokens=self.batch_tokens)

    def token_spec(self) -> TokenSpec:
        """How text becomes tokens."""
        return TokenSpec(self.max_length, self.bos.value)

    def output_spec(self, out: Path) -> OutputSpec:
        """Where the run goes."""
        return OutputSpec(out, self.overwrite, self.store_dtype.value, self.on_bad_record.value, self.max_samples)


def with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """Add the fields of `Shared` to the options of `command`, which gets them as one argument named `shared`."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    shared_hints = get_type_hints(Shared, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "shared"
    ]
    added = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=shared_hints[one.name]
        )
        for one in fields(Shared)
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        shared = Shared(**{one.name: values.pop(one.name) for one in fields(Shared)})
        command(shared=shared, **values)

    # Typer keeps the line breaks inside a paragraph; the terminal's width should decide on them.
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    wrapped.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    wrapped.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    return wrapped
