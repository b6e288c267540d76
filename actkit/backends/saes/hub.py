"""SAEs in a repository of the Hugging Face hub: the folder of one, and the commit that it is of."""

from pathlib import Path, PurePosixPath

from actkit.backends.load_errors import explained_sae
from actkit.backends.names import is_hub_id
from actkit.errors import ModelError, UsageError, in_short

FILES = ("cfg.json", "sae_weights.safetensors", "sae.safetensors", "config.json", "ae.pt")
"""All that is fetched of an SAE's folder in a Hugging Face repository."""

LONGEST = 255
"""Characters of a folder in a repository; file systems have no longer names."""


def fetched(repository: str, sae_id: str) -> Path:
    """The local directory of an SAE in a Hugging Face repository; `.` is the repository itself."""
    from huggingface_hub import snapshot_download

    if not is_hub_id(repository):
        raise ModelError(f"{in_short(repository)}: no name that a repository can have", "check --sae-release")
    if ".." in Path(sae_id).parts or Path(sae_id).is_absolute() or not sae_id.isprintable() or len(sae_id) > LONGEST:
        raise UsageError(
            f"--sae-id {in_short(sae_id)} is no folder of {repository}", "name a folder, or . for the repository"
        )
    inside = PurePosixPath(sae_id)
    # sparsify says beside its folders which model and dataset they are of.
    wanted = [*(str(inside / file) for file in FILES), str(inside.parent / "config.json")]
    hint = f"check the name, the connection, and that {sae_id} is a folder of the repository"
    with explained_sae(f"{repository}/{sae_id}", hint, of_hub=True):
        folder = Path(snapshot_download(repository, allow_patterns=wanted)) / sae_id
        if not folder.is_dir():
            raise FileNotFoundError(f"{repository} has no folder {sae_id} in the local cache or on the hub")
    return folder


def commit_of(repository: str) -> str | None:
    """The commit of a repository that the hub's client has read, by its own notes."""
    from huggingface_hub import constants

    main = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs" / "main"
    return main.read_text(encoding="utf-8").strip() if main.is_file() else None
