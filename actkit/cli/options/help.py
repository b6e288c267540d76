"""`--help` on a narrow terminal: names of options are broken between lines there, and not cut off with an ellipsis."""

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help has every option's name whole."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        whole_names()
        super().format_help(ctx, formatter)


def whole_names() -> None:
    """Have typer draw names so that they can be broken, between two of one option first."""
    from rich.text import Text
    from typer import rich_utils

    for name in ("highlighter", "negative_highlighter"):
        drawn = getattr(rich_utils, name, None)
        if drawn is None or isinstance(drawn, _Whole):
            continue
        setattr(rich_utils, name, _Whole(drawn, Text))


class _Whole:
    def __init__(self, drawn: Any, text: Any) -> None:
        self._drawn, self._text = drawn, text

    def __call__(self, names: Any) -> Any:
        found = self._drawn(names.replace(",", ", ") if isinstance(names, str) else names)
        if isinstance(found, self._text):
            found.overflow = "fold"
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._drawn, name)
