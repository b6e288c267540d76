"""The choice of SAEs: by release and id, release and layer, directory, the model's recommended one, or in memory."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from actkit.backends.saes import sae_lens as sae_backend
from actkit.bundled import NAME
from actkit.config import SaeSpec
from actkit.errors import UsageError
from actkit.recipes.specs import checked

AnySae: TypeAlias = Any
"""An SAE of SAELens in memory, a directory, or (release, id)."""
DEFAULT = "blocks.2.hook_resid_post"
"""The SAE of `tiny` where neither id nor layer is given."""


def sae_specs(
    model: str,
    release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    path: str | Path | Sequence[str | Path] | None = None,
    layer: int | None = None,
    sae: AnySae = None,
    hook_name: str | None = None,
) -> list[SaeSpec]:
    """Make specs of the SAEs of a release, of directories in SAELens's format, or of both; or of those in memory.

    Ids without a release are whole names, `RELEASE/ID`. `tiny` has its own SAEs. A model for which the registry has
    recommended SAEs takes that of `layer`. Raises UsageError where no SAE is named, and for a release or an id that is
    no text.
    """
    if sae is not None:
        return [_sae_spec(each, layer, hook_name) for each in (sae if isinstance(sae, list) else [sae])]
    paths, ids = _several(path), _several(sae_id)
    for each in ids or [None]:  # they are looked up before the specs of a run are checked
        checked(SaeSpec(release, each))
    chosen = [SaeSpec(path=str(each), layer=layer, hook_name=hook_name) for each in paths]
    if release is None and model == NAME and not paths:
        release = NAME
    if release is not None:
        default = DEFAULT if release == NAME and layer is None else None
        named = [*ids] if ids else [default]
        return chosen + [SaeSpec(release, sae_id, layer=layer, hook_name=hook_name) for sae_id in named]
    chosen += [replace(_named_whole(name), layer=layer, hook_name=hook_name) for name in ids]
    if not chosen and layer is not None:
        found = canonical(model, layer)
        chosen += [replace(found, hook_name=hook_name)] if found is not None else []
    if not chosen:
        at = f" at layer {layer}" if layer is not None else ""
        raise UsageError(
            f"no SAE given for {model}{at}", "--sae-release and --sae-id, which actkit saes lists, or --sae DIR"
        )
    return chosen


def _several(given: Any) -> list[Any]:
    """Return the values given as a list: empty for None, of one entry for a text, a path or any single value."""
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


def _named_whole(name: str) -> SaeSpec:
    """Make a spec of a run's name of an SAE, `RELEASE/ID`. Raises UsageError for a release not in the registry."""
    spec = sae_backend.named(name)
    if spec is None:
        raise UsageError(f"--sae-id {name} without --sae-release", "name the release that it belongs to")
    return spec


def by_layer(spec: SaeSpec) -> SaeSpec:
    """Choose the SAE of a release given alone: that of the layer, the canonical 16k one where there are several."""
    if spec.path is not None or spec.sae_id is not None or spec.release is None:
        return spec
    known = sae_backend.releases()
    if spec.release not in known:
        raise sae_backend.unknown_release(spec.release)
    ids, layer = known[spec.release].sae_ids, spec.layer
    if layer is None:
        raise UsageError(
            f"which SAE of {spec.release}?", f"--sae-id, or --target-layer; it has {', '.join(ids[:5])}, …"
        )
    of_layer = [sae_id for sae_id in ids if re.search(rf"(?:layer_|blocks\.|^){layer}(?:[/._]|$)", sae_id)]
    best = [sae_id for sae_id in of_layer if sae_id.endswith("width_16k/canonical")] or of_layer
    if len(best) != 1:
        what = f"{len(best)} SAEs" if best else "no SAE"
        raise UsageError(
            f"{spec.release} has {what} for layer {layer}",
            f"--sae-id names one, such as {', '.join((best or ids)[:5])}",
        )
    return replace(spec, sae_id=best[0])


CANONICAL = ("-res-canonical", "-res-jb", "-res-sm")
"""Endings of the names of releases that their authors recommend for the residual stream."""


def canonical(model: str, layer: int) -> SaeSpec | None:
    """Return the recommended SAE of a model's residual stream at `layer`; None where SAELens's registry has none.

    An instruction-tuned model without SAEs of its own takes those of its base model; the run then warns of it.
    """
    short = model.rpartition("/")[2].lower()
    for name in dict.fromkeys((short, re.sub(r"-(it|instruct|chat)$", "", short))):
        of_model = [each for each in sae_backend.releases().values() if each.model == name]
        for ending in CANONICAL:
            for release in (each for each in of_model if each.name.endswith(ending)):
                with suppress(UsageError):
                    return by_layer(SaeSpec(release.name, layer=layer))
    return None
