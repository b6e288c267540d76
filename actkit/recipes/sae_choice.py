"""The choice of SAEs: by release and id, by release and layer, by directory, or the model's recommended one."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from actkit.backends.saes import sae_lens as sae_backend
from actkit.bundled import NAME
from actkit.config import SaeSpec
from actkit.errors import UsageError

DEFAULT = "blocks.2.hook_resid_post"
"""The SAE of `tiny` where neither id nor layer is given."""


def chosen_saes(
    model: str,
    release: str | None = None,
    ids: Sequence[str] = (),
    paths: Sequence[str] = (),
    layer: int | None = None,
    hook_name: str | None = None,
) -> list[SaeSpec]:
    """The SAEs of a release, directories, or both; ids without a release are whole names, `RELEASE/ID`.

    `tiny` has its own. A model of which the registry has recommended SAEs takes the one of `layer`. Raises UsageError
    where none is meant.
    """
    chosen = [SaeSpec(path=path, layer=layer, hook_name=hook_name) for path in paths]
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


def _named_whole(name: str) -> SaeSpec:
    """An SAE as runs name it, `RELEASE/ID`. Raises UsageError where no release of the registry begins the name."""
    spec = sae_backend.named(name)
    if spec is None:
        raise UsageError(f"--sae-id {name} without --sae-release", "name the release that it belongs to")
    return spec


def by_layer(spec: SaeSpec) -> SaeSpec:
    """An SAE given by release alone: the one of that layer, the canonical 16k one where there are several."""
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
    """The recommended SAE of a model's residual stream at `layer`; None where SAELens's registry has none.

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
