"""Values of fields compared as words and numbers, whatever type a file gave them."""

from typing import Any

from actkit.recipes.conversations.messages import rows_of, text_of


def plainly(value: Any) -> str:
    """A value as a word to be compared: 1, 1.0 and "1" are one, as are true and True."""
    if isinstance(value, bool):
        return str(value).lower()
    number = as_number(value)
    if number is not None:
        return f"{number:g}"
    return str(value).strip().lower()


def as_number(value: Any) -> float | None:
    """A number, or text that spells one; true is 1. None for anything else."""
    if isinstance(value, bool) or value is None:
        return float(value) if isinstance(value, bool) else None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == number and abs(number) != float("inf") else None


def texts_of(value: Any, path: str) -> list[str]:
    """A list of texts, JSON text of one, or one text alone."""
    found = rows_of(value, path) if is_list(value) else [value]
    return [text_of("" if value is None else value, path) for value in found]


def is_list(value: Any) -> bool:
    """A list, or JSON text of one."""
    return isinstance(value, (list, tuple)) or (isinstance(value, str) and value.lstrip().startswith("["))
