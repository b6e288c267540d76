"""Where in a Hugging Face model a hook point of a block is: the input or output of which module."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from actkit.hooks import D_MODEL_WIDE, HookPoint

NATIVE = (*D_MODEL_WIDE, "attn.hook_z")
"""Hook points that are read off the Hugging Face module, where the architecture has them. The others are computed by
the bridge inside modules of its own, or are not any module's input or output."""


@dataclass(frozen=True)
class Site:
    """The input or the output of one module."""

    path: str
    """The module's path in the Hugging Face model, with `{layer}` for the block's number."""
    side: Literal["in", "out"]


def block_sites(config: Any, architecture: str) -> Mapping[str, Site]:
    """Name of a hook point → its site, for all of `NATIVE` that the architecture has.

    Common architectures are looked up in `sites.json`, which is written from TransformerLens's adapters and tested
    against them (`python -m actkit.backends.transformer_lens` writes it anew): importing TransformerLens costs
    seconds. The others, and those whose layout depends on the configuration, ask the adapters.
    """
    known = json.loads(Path(__file__).with_name("sites.json").read_text(encoding="utf-8"))
    if architecture in known:
        return {name: Site(path, side) for name, (path, side) in known[architecture].items()}
    from actkit.backends import transformer_lens

    return transformer_lens.block_sites(config, architecture, NATIVE)


def nearest(point: HookPoint, names: Iterable[str]) -> list[str]:
    """The hook points among `names` (of a block) that look most like `point`, those of `NATIVE` first if none does."""
    return difflib.get_close_matches(point.name, list(names), n=5, cutoff=0.4) or list(D_MODEL_WIDE)
