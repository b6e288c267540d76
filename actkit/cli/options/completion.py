"""Completions for Tab beside options and their fixed choices; nothing here may import what takes long."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from actkit.config import ExportFormat

CONCEPTS = Path(__file__).parents[2] / "recipes" / "concepts.json"


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """A completer for these names."""
    every = tuple(names)
    return lambda incomplete: [name for name in every if name.startswith(incomplete)]


export_formats = among(get_args(ExportFormat))


def concepts(incomplete: str) -> list[str]:
    """The built-in concepts that begin so; none where a file's name has been begun, which the shell completes."""
    return among(json.loads(CONCEPTS.read_text(encoding="utf-8"))["concepts"])(incomplete)
