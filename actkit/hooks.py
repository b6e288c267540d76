"""Hook points by their TransformerLens names, and the layers that `--layers` names.

A hook point is written `blocks.{layer}.{name}`, for example `blocks.6.hook_resid_post`. Layers are 0-based.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from actkit.errors import UsageError

RECOMMENDED = "45%-85%"
"""The part of a model's depth where directions for concepts are usually found."""

SHORT_NAMES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Names of hook points that may be given without their prefix `hook_`."""

D_MODEL_WIDE = tuple(f"hook_{name}" for name in SHORT_NAMES)
"""Hook points whose vectors are as long as the residual stream is wide."""


@dataclass(frozen=True, order=True)
class HookPoint:
    """One hook point of one layer: `HookPoint(6, "hook_resid_post")` is `blocks.6.hook_resid_post`."""

    layer: int
    name: str

    @classmethod
    def of(cls, text: str) -> "HookPoint":
        """Return the hook point with this full name. Raises ValueError for any other text."""
        _, layer, name = text.split(".", 2)
        return cls(int(layer), name)

    def __str__(self) -> str:
        return f"blocks.{self.layer}.{self.name}"


def parse_layers(text: str, n_layers: int) -> tuple[int, ...]:
    """The layers that `--layers` names: `all`, `recommended`, `4,8,-1`, `10-15`, `45%-85%`, or several with commas.

    Negative numbers count from the end. A percentage range takes layer l when (l + 1) / n_layers, the share of the
    model's blocks that its output has passed, lies in the range; when none does, the layer nearest to its middle.

    Raises UsageError for anything else and for layers that the model does not have.
    """
    chosen: set[int] = set()
    for part in (piece.strip() for piece in text.split(",")):
        chosen.update(_part(part, text, n_layers))
    return tuple(sorted(chosen))


def parse_hook_points(names: Sequence[str], layers: str, n_layers: int) -> tuple[HookPoint, ...]:
    """The hook points to read, sorted: full names stand for themselves, others stand at every layer of `layers`."""
    chosen: set[HookPoint] = set()
    for name in names:
        full = re.fullmatch(r"blocks\.(-?\d+)\.(.+)", name)
        if full:
            chosen.add(HookPoint(_layer(int(full[1]), f"--hook-point {name}", n_layers), full[2]))
        elif re.fullmatch(r"[A-Za-z_][\w.]*", name):
            short = f"hook_{name}" if name in SHORT_NAMES else name
            chosen.update(HookPoint(layer, short) for layer in parse_layers(layers, n_layers))
        else:
            raise UsageError(
                f"{name!r} is not the name of a hook point", "write hook_resid_post or blocks.6.hook_resid_post"
            )
    return tuple(sorted(chosen))


def _part(part: str, text: str, n_layers: int) -> Sequence[int]:
    if part == "all":
        return range(n_layers)
    if part == "recommended":
        part = RECOMMENDED
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)%-(\d+(?:\.\d+)?)%", part)
    if percent:
        return _depth(float(percent[1]), float(percent[2]), text, n_layers)
    span = re.fullmatch(r"(\d+)-(\d+)", part)
    if span:
        first, last = (_layer(int(end), f"--layers {text}", n_layers) for end in span.groups())
        if first > last:
            raise UsageError(f"--layers {text}: {part} runs backwards", f"write {last}-{first}")
        return range(first, last + 1)
    if re.fullmatch(r"-?\d+", part):
        return (_layer(int(part), f"--layers {text}", n_layers),)
    raise UsageError(f"--layers {text}: {part!r} is not understood", "use all, recommended, 4,8,-1, 10-15 or 45%-85%")


def _depth(low: float, high: float, text: str, n_layers: int) -> Sequence[int]:
    if not 0 <= low <= high <= 100:
        raise UsageError(f"--layers {text}: {low:g}%-{high:g}% is no part of the depth", "write for example 45%-85%")
    # 1e-9 keeps 0.5 * 4 and the like from falling off the edge by rounding.
    first, last = math.ceil(low / 100 * n_layers - 1e-9) - 1, math.floor(high / 100 * n_layers + 1e-9) - 1
    inside = range(max(first, 0), last + 1)
    middle = round((low + high) / 200 * n_layers) - 1
    return inside or (min(max(middle, 0), n_layers - 1),)


def _layer(layer: int, text: str, n_layers: int) -> int:
    if not -n_layers <= layer < n_layers:
        raise UsageError(f"{text}: there is no layer {layer}", f"the model's layers are 0 to {n_layers - 1}")
    return layer % n_layers
