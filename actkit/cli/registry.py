"""SAELens's registry, read from its installed file: importing the package takes seconds, its list one."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actkit.bundled import NAME, SAES
from actkit.errors import ModelError

FILE = "pretrained_saes.yaml"


@dataclass(frozen=True)
class Listed:
    """One release as `actkit saes` lists it."""

    name: str
    model: str
    sae_ids: tuple[str, ...]
    repository: str


def listed() -> Iterator[Listed]:
    """The bundled release, then every release of the registry, in its order.

    Raises ModelError where SAELens is not installed, or its file is not as it was.
    """
    yield Listed(NAME, NAME, tuple(sorted(path.name for path in SAES.glob("blocks.*"))), "bundled")
    for name, entry in _registry().items():
        try:
            ids = tuple(sae["id"] for sae in entry["saes"])
            yield Listed(name, entry["model"], tuple(dict.fromkeys(ids)), entry["repo_id"])
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"SAELens's registry: {name} lacks {error}", "install the version in configs/constraints.txt"
            ) from error


def _registry() -> dict[str, Any]:
    import yaml

    found = find_spec("sae_lens")  # which looks for a package, and does not import it
    folder = found.submodule_search_locations[0] if found and found.submodule_search_locations else None
    if folder is None:
        raise ModelError("SAELens is not installed, so its registry cannot be listed", "pip install sae-lens")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times as fast, and not built everywhere
    try:
        return dict(yaml.load((Path(folder) / FILE).read_text(encoding="utf-8"), Loader=loader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"SAELens's registry cannot be read: {error}", "install sae-lens again") from error
