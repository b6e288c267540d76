"""Flags: options with their environment variables, groups of options for several commands, completions."""

import copy
import functools
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_type_hints

import typer
from typer.models import ParameterInfo

from actkit.remote.path import path_of

MODEL, READ, SAE, BATCH, OUTPUT = "Model", "What is read", "Sparse autoencoder", "Computing", "Output"
"""The panels of `--help`."""


Given = TypeVar("Given")


def at_home(value: Given) -> Given:
    """Callback of options and arguments that name a path: put `~/runs` into the user's home.

    A shell expands `~` too, but not within quotes, after `--out=`, nor in a file of options.
    """
    if isinstance(value, Path):
        found: Any = path_of(at_home(str(value)))  # a RemotePath where it is a store's address
        return found  # type: ignore[no-any-return]
    if isinstance(value, str) and (value == "~" or value.startswith("~/")):
        return type(value)(Path(value).expanduser())
    if isinstance(value, list):
        return type(value)(at_home(item) for item in value)
    return value


VARIABLE = "ACTKIT_"
"""Prefix of the environment variables that set options."""


def option(panel: str, says: str, *names: str, **more: Any) -> Any:
    """Make an option that `ACTKIT_<FLAG>` in the environment can also set; `says` is its help.

    The flag of the parameter `text_field` is `--text-field`, unless `names` has a name with two dashes.
    """
    made = typer.Option(help=says, rich_help_panel=panel, envvar=VARIABLE, show_envvar=False, **more)
    made.param_decls = names
    return made


def _with_flag(name: str, annotated: Any) -> Any:
    """Return the annotation of a parameter of this name.

    An option that `option` made gets its flag and its variable; a path gets the user's home for `~`.
    """
    about, *_ = getattr(annotated, "__metadata__", (None,))
    if not isinstance(about, ParameterInfo):
        return annotated
    made: Any = copy.copy(about)
    if made.callback is None and Path in (annotated.__origin__, *get_args(annotated.__origin__)):
        made.callback = at_home
    if made.envvar != VARIABLE:
        return Annotated[annotated.__origin__, made]
    own = [each for each in made.param_decls if each.startswith("--")]
    flag = own[0] if own else f"--{name.replace('_', '-')}"
    made.param_decls = (flag, *(each for each in made.param_decls if each != flag))
    made.envvar = VARIABLE + flag.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return Annotated[annotated.__origin__, made]


def argument(metavar: str, says: str, **more: Any) -> Any:
    """Make an argument that names a file, a folder or a run: `~` in it is the user's home."""
    return typer.Argument(metavar=metavar, help=says, callback=at_home, **more)


def hidden(*names: str, **more: Any) -> Any:
    """Make a hidden option, by which a name of an older script keeps working."""
    return typer.Option(*names, hidden=True, **more)


@functools.cache  # most commands take the same groups
def _options_in(group: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a group, and the annotation of each."""
    hints = get_type_hints(group, include_extras=True)
    return tuple((field, _with_flag(field.name, hints[field.name])) for field in fields(group))


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `command` that is annotated with a group of options (a dataclass) by its fields.

    Options get their flags here, from the names of their parameters.
    """
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = [
        parameter.replace(annotation=_with_flag(name, hints[name]), kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in groups
    ]
    added = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)
        for group in groups.values()
        for field, annotation in _options_in(group)
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **values)

    # Typer keeps the line breaks inside a paragraph, which should depend on the terminal's width.
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    wrapped.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    wrapped.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    wrapped.shared_options = tuple(parameter.name for parameter in added)  # type: ignore[attr-defined]
    del wrapped.__wrapped__  # else `inspect` would look at the function beneath
    return wrapped


CONCEPTS = Path(__file__).parents[2] / "recipes" / "concepts.json"


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a completer for these names."""
    every = tuple(names)
    return lambda incomplete: [name for name in every if name.startswith(incomplete)]


def concepts(incomplete: str) -> list[str]:
    """The built-in concepts that begin with `incomplete`; where none does, the shell completes a file's name."""
    return among(json.loads(CONCEPTS.read_text(encoding="utf-8"))["concepts"])(incomplete)


RunPath: TypeAlias = Annotated[Path, argument("RUN", "A finished run's directory.")]
OtherRun: TypeAlias = Annotated[Path | None, argument("OTHER", "Another, to be shown beside it.")]
OverwriteFile: TypeAlias = Annotated[bool, option(OUTPUT, "Replace an existing file.")]
QuietPath: TypeAlias = Annotated[bool, option(OUTPUT, "Print the path and errors only.", "-q")]
QuietAddress: TypeAlias = Annotated[bool, option(OUTPUT, "Print the address and errors only.", "-q")]
ModelName: TypeAlias = Annotated[
    str,
    option(
        MODEL,
        "[b]tiny[/] (bundled), a Hugging Face id, a TransformerLens alias or a local directory.",
        "-m",
        callback=at_home,
    ),
]
Device: TypeAlias = Annotated[str, option(MODEL, "auto, cpu, cuda, cuda:1, mps.")]
TrustRemoteCode: TypeAlias = Annotated[bool, option(MODEL, "Run Python code from the model's repository.")]
AllowPickle: TypeAlias = Annotated[
    bool, option(MODEL, "Read a checkpoint that is not in safetensors; a pickle can run code when it is loaded.")
]
InputAlias: TypeAlias = Annotated[str | None, hidden("--input", "--data", callback=at_home)]
Split: TypeAlias = Annotated[str, option(READ, "Which split of a dataset, or of a file or folder that has several.")]
Columns: TypeAlias = Annotated[
    str | None, option(READ, "Names for the columns of a CSV or TSV file without a header line, such as text,label,id.")
]
