"""How flags are written: options with their environment variable, groups that a command takes over, completions."""

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_type_hints

import typer

from actkit.config import ExportFormat
from actkit.remote.path import path_of

MODEL, READ, SAE, BATCH, OUTPUT = "Model", "What is read", "Sparse autoencoder", "Computing", "Output"
"""The panels of `--help`."""


Given = TypeVar("Given")


def at_home(value: Given) -> Given:
    """Callback of options and arguments that name a path: `~/runs` is in the user's home.

    A shell says so too, but not within quotes, after `--out=`, nor in a file of options.
    """
    if isinstance(value, Path):
        found: Any = path_of(at_home(str(value)))  # one of a store, where it is an address
        return found  # type: ignore[no-any-return]
    if isinstance(value, str) and (value == "~" or value.startswith("~/")):
        return type(value)(Path(value).expanduser())
    if isinstance(value, list):
        return type(value)(at_home(item) for item in value)
    return value


def option(*names: str, panel: str, help: str, **more: Any) -> Any:  # noqa: A002 - typer's own word
    """An option that can also be set by `ACTKIT_<NAME>` in the environment."""
    name = next(name for name in names if name.startswith("--")).partition("/")[0]
    envvar = "ACTKIT_" + name.removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=envvar, show_envvar=False, **more)


def hidden(*names: str, **more: Any) -> Any:
    """A name of one of the source scripts, which keeps working."""
    return typer.Option(*names, hidden=True, **more)


@functools.cache  # most commands take the same groups
def _options_in(group: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a group, and what each is annotated with."""
    hints = get_type_hints(group, include_extras=True)
    return tuple((field, hints[field.name]) for field in fields(group))


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `command` that is annotated with a group of options (a dataclass) by its fields."""
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
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

    # Typer keeps the line breaks inside a paragraph; the terminal's width should decide on them.
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    wrapped.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    wrapped.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    wrapped.shared_options = tuple(parameter.name for parameter in added)  # type: ignore[attr-defined]
    del wrapped.__wrapped__  # else `inspect` would look at the function beneath
    return wrapped


CONCEPTS = Path(__file__).parents[2] / "recipes" / "concepts.json"


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """A completer for these names."""
    every = tuple(names)
    return lambda incomplete: [name for name in every if name.startswith(incomplete)]


export_formats = among(get_args(ExportFormat))


def concepts(incomplete: str) -> list[str]:
    """The built-in concepts that begin so; none where a file's name has been begun, which the shell completes."""
    return among(json.loads(CONCEPTS.read_text(encoding="utf-8"))["concepts"])(incomplete)


RunPath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="A finished run's directory.", callback=at_home)
]
OtherRun: TypeAlias = Annotated[
    Path | None, typer.Argument(metavar="OTHER", help="Another, to be shown beside it.", callback=at_home)
]
OverwriteFile: TypeAlias = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace an existing file.")]
QuietPath: TypeAlias = Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Print the path and errors only.")]
QuietAddress: TypeAlias = Annotated[
    bool, option("--quiet", "-q", panel=OUTPUT, help="Print the address and errors only.")
]
