"""SAELens's registry of releases, found without importing SAELens, which takes seconds."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

FILE = "pretrained_saes.yaml"


@dataclass(frozen=True)
class Release:
    """One release of the registry."""

    name: str
    model: str
    sae_ids: tuple[str, ...]
    repository: str


def registry_file() -> Path | None:
    """The registry's file; None where SAELens is not installed."""
    found = find_spec("sae_lens")  # which looks for a package, and does not import it
    folder = next(iter(found.submodule_search_locations or ()), None) if found else None
    return Path(folder) / FILE if folder is not None else None
