"""Check names of models and SAEs as users give them: directories and ids of the hub."""

import json
import os
from pathlib import Path

from actkit.bundled import NAME
from actkit.config import ModelSpec
from actkit.errors import ModelError, UsageError, in_short

MODEL_DIRECTORY = "a model directory has config.json, weights and tokenizer.json; `tiny` is bundled"


def is_directory(name: str | Path) -> bool:
    """Whether `name` is a directory.

    False also where the system cannot say: the name is too long, has a NUL in it, or may not be looked at.
    """
    return os.path.isdir(name)  # noqa: PTH112 - Path.is_dir raises OSError for some of these


def no_directory(name: str | Path) -> str:
    """Words for an error about a `name` that is no directory: whether it is a file instead."""
    return "a file, not a directory" if os.path.isfile(name) else "no such directory"  # noqa: PTH113 - as above


def is_hub_id(name: str) -> bool:
    """Whether a repository of the Hugging Face hub may have this name; whether one exists, only the hub knows."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # it is not in its __all__

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def names_in(folder: str) -> list[str]:
    """The ids of the model in a directory: by its path in the hub's cache, and by `_name_or_path` in config.json."""
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
    """Check that `location`, to which `spec.name` resolves, is a directory or can be an id of the hub.

    Raises ModelError where it is neither, and UsageError for a revision of the bundled model or of a local directory,
    which have none.
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
