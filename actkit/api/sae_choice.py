"""Which SAEs are meant, as the command line understands it."""

from collections.abc import Sequence
from pathlib import Path

from actkit.bundled import NAME
from actkit.config import SaeSpec
from actkit.errors import UsageError

DEFAULT = "blocks.2.hook_resid_post"
"""The SAE of `tiny` where neither id nor layer is given."""


def sae_specs(
    model: str,
    release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    layer: int | None = None,
) -> list[SaeSpec]:
    """The SAEs of a release, directories in SAELens's format, or both; `tiny` has its own.

    Raises UsageError when none is meant, or an id without a release.
    """
    paths = [] if path is None else [path] if isinstance(path, (str, Path)) else list(path)
    chosen = [SaeSpec(path=str(one), layer=layer) for one in paths]
    if release is None and model == NAME and not chosen:
        release = NAME
    if release is None:
        if sae_id is not None:
            raise UsageError(f"SAE {sae_id} of which release?", "give sae_release")
        if not chosen:
            raise UsageError(f"no SAE given for {model}", "give sae_release and sae_id, or sae_path")
        return chosen
    default = DEFAULT if release == NAME and layer is None else None
    ids: Sequence[str | None] = [default] if sae_id is None else [sae_id] if isinstance(sae_id, str) else list(sae_id)
    return chosen + [SaeSpec(release, one, layer=layer) for one in ids]
