"""Weight files: safetensors, and pickles only where the user says that they may be read."""

from pathlib import Path

from actkit.backends.names import is_directory
from actkit.config import ModelSpec
from actkit.errors import ModelError

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth")


def check_format(location: str, spec: ModelSpec) -> None:
    """Raise ModelError for weights with an adapter beside them, and for pickled ones unless `spec.allow_pickle`.

    `location` is a directory, or a Hugging Face id, of which the files in the local cache are looked at.
    """
    folder = Path(location) if is_directory(location) else _cached(location, spec.revision)
    if folder is not None and {"adapter_config.json", "config.json"} <= {one.name for one in folder.iterdir()}:
        raise ModelError(
            f"{spec.name} has an adapter (adapter_config.json) beside its weights, which transformers adds where peft "
            "is installed, and leaves out elsewhere",
            "merge it (peft: merge_and_unload, then save_pretrained), or give a directory without it",
        )
    if spec.allow_pickle or folder is None or next(folder.glob("*.safetensors"), None):
        return
    pickled = sorted(one.name for pattern in PICKLES for one in folder.glob(pattern))
    if pickled:
        raise ModelError(
            f"{spec.name} has its weights in {pickled[0]}, a pickle, which can run code when it is loaded",
            "convert them to safetensors; or, if you trust where they come from, --allow-pickle, which reads tensors "
            "only",
        )


def _cached(location: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(location, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None
