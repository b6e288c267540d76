"""The SAEs that a caller means: by name, directory, or in memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from actkit.config import SaeSpec
from actkit.recipes.sae_choice import chosen_saes
from actkit.recipes.specs import checked

AnySae: TypeAlias = Any
"""An SAE of SAELens in memory, a directory, or (release, id)."""


def sae_specs(
    model: str,
    release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    layer: int | None = None,
    sae: AnySae = None,
    hook_name: str | None = None,
) -> list[SaeSpec]:
    """The SAEs of a release, directories in SAELens's format, or both; or those in memory. `tiny` has its own.

    Raises UsageError where none is meant, and for a release or an id that is no text.
    """
    if sae is not None:
        return [_sae_spec(each, layer, hook_name) for each in (sae if isinstance(sae, list) else [sae])]
    paths, ids = _several(path), _several(sae_id)
    for each in ids or [None]:  # they are looked up before the specs of a run are checked
        checked(SaeSpec(release, each))
    return chosen_saes(model, release, ids, [str(each) for each in paths], layer, hook_name)


def _several(given: Any) -> list[Any]:
    """The values given, none, one or several, as a list; a value of another kind alone in it."""
    if given is None:
        return []
    return [given] if isinstance(given, (str, Path)) or not isinstance(given, Iterable) else list(given)


def _sae_spec(sae: AnySae, layer: int | None, hook_name: str | None) -> SaeSpec:
    if isinstance(sae, SaeSpec):
        return sae
    if isinstance(sae, (str, Path)):
        return SaeSpec(path=str(sae), layer=layer, hook_name=hook_name)
    # SAELens's older `from_pretrained` gave (sae, configuration, sparsity); a release's name can be encoded as well.
    if isinstance(sae, tuple) and sae and not isinstance(sae[0], str) and hasattr(sae[0], "encode"):
        sae = sae[0]
    if isinstance(sae, tuple):
        release, *ids = map(str, sae)
        return SaeSpec(release, ids[0] if ids else None, layer=layer, hook_name=hook_name)
    return SaeSpec(layer=layer, hook_name=hook_name, loaded=sae)
