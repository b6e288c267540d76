"""Names of models and of SAEs as they are given: which of them are directories, and how an error shows the others."""

import json
import os
from pathlib import Path

from actkit.bundled import NAME
from actkit.config import ModelSpec
from actkit.errors import ModelError, UsageError, in_short

MODEL_DIRECTORY = "a model directory has config.json, weights and tokenizer.json; `tiny` is bundled"


def is_directory(name: str | Path) -> bool:
    """Whether `name` is a directory.

    False, too, where the system cannot say: for a name that is too long or has a NUL in it, or lies out of reach.
    """
    return os.path.isdir(name)  # noqa: PTH112 - Path.is_dir raises OSError for some of these


def is_hub_id(name: str) -> bool:
    """Whether a repository of the Hugging Face hub can have this name. Only the hub knows whether one has."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # it is not in its __all__

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def names_in(folder: str) -> list[str]:
    """The models that a directory names: in the hub's cache its repository, elsewhere the one that was saved there."""
    parts = (*Path(folder).absolute().parts, *Path(folder).resolve().parts)
    found = {part.removeprefix("models--").replace("--", "/") for part in parts if part.startswith("models--")}
    try:
        saved = json.loads(Path(folder, "config.json").read_text(encoding="utf-8")).get("_name_or_path")
    except (OSError, ValueError, AttributeError):
        saved = None
    if isinstance(saved, str) and saved and not is_directory(saved) and is_hub_id(saved):
        found.add(saved)
    return sorted(found)


def check_name(location: str, spec: ModelSpec) -> None:
    """Check that there can be a model at `location`, which `spec.name` stands for.

    Raises ModelError for a name that is no directory and can be no id, and UsageError for a revision of the bundled
    model or of a local directory: they have none.
    """
    if not is_directory(location):
        if not is_hub_id(location):
            raise ModelError(f"{in_short(spec.name)}: no such directory, and no name of a model", MODEL_DIRECTORY)
    elif spec.revision is not None:
        what = "is bundled with actkit" if spec.name == NAME else "is a local directory"
        raise UsageError(
            f"--revision {in_short(spec.revision)}: {in_short(spec.name)} {what} and has no revisions",
            "leave out --revision, or give a Hugging Face id",
        )
