"""Directions that move the output of blocks, as a control vector holds them: which layers, and each one's share."""

from collections.abc import Iterable, Mapping, Sequence

from actkit.errors import UsageError
from actkit.export.directions import METHOD, StoredDirection, directions_of
from actkit.export.job import ExportJob
from actkit.hooks import parse_layers

SITE = "hook_resid_post"
"""What such a vector moves: the residual stream after a block."""


def at_blocks(job: ExportJob, method: str | None) -> dict[int, StoredDirection]:
    """The directions at `SITE`, by layer; none may be there. Raises what `directions_of` raises."""
    found = directions_of(job.run, method)
    return {direction.layer: direction for direction in found if direction.hook_point.endswith(f".{SITE}")}


def named_layers(job: ExportJob, layers: str, found: Mapping[int, StoredDirection]) -> Sequence[int]:
    """The layers of `--layers`. Raises UsageError for one that the run has no direction of."""
    wanted = sorted(found) if layers == "all" else parse_layers(layers, int(job.facts["model"]["n_layers"]))
    missing = [layer for layer in wanted if layer not in found]
    if missing:
        raise UsageError(f"{job.run} has no direction of {SITE} at layer {listed(missing)}", f"it has {listed(found)}")
    return wanted


def chosen_layer(job: ExportJob, method: str | None, found: Mapping[int, StoredDirection]) -> int:
    """The layer that the run chose for a method, or the only one that it has. Raises UsageError where it chose none."""
    row = job.facts.get("concept", {}).get("chosen", {}).get(method or METHOD)
    if row is not None and str(row["hook_point"]).endswith(f".{SITE}") and row["layer"] in found:
        return int(row["layer"])
    if len(found) == 1 and row is None:
        return next(iter(found))
    what = f"it chose {row['hook_point']}" if row is not None else "too few stems to hold pairs out"
    raise UsageError(
        f"{job.run} chose no layer of which this format holds a direction ({what})",
        f"name layers: --layers {listed(found)}",
    )


def share_of(job: ExportJob, n: int) -> float:
    """How much of its own measured difference each of `n` layers adds, which a note says where they are several."""
    if n > 1:
        job.note(f"{n} layers: each adds {1 / n:.3g} of its own measured difference, together one")
    return 1 / n


def listed(layers: Iterable[int]) -> str:
    """Layers as `--layers` takes them: `3,5,7`."""
    return ",".join(map(str, sorted(layers)))
