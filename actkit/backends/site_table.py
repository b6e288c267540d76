"""`block_sites`: where each architecture has the hook points of a block, from `sites.json` or the adapters."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.backends.sites import NATIVE, Site, misnamed


def block_sites(config: Any, architecture: str) -> Mapping[str, Site]:
    """Name of a hook point → its site, for all of `NATIVE` that the architecture has.

    Left out is what `misnamed` is. Common architectures are looked up in `sites.json`, which is written from
    TransformerLens's adapters and tested against them (`python -m tests.backends.made_sites` writes it anew):
    importing TransformerLens costs seconds. The others, and those whose layout depends on the configuration, ask the
    adapters.
    """
    known = json.loads(Path(__file__).with_name("sites.json").read_text(encoding="utf-8"))
    if architecture in known:
        sites: Mapping[str, Site] = {name: Site(path, side) for name, (path, side) in known[architecture].items()}
    else:
        from actkit.backends import transformer_lens

        sites = transformer_lens.block_sites(config, architecture, NATIVE)
    left_out = misnamed(config, architecture)
    return {name: site for name, site in sites.items() if name not in left_out}
