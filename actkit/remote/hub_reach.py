"""Ask once and briefly whether the Hugging Face hub can be reached, and find SAELens's registry file.

The hub's own client tries for half a minute before it gives up.
"""

import functools
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from actkit.bundled import NAME
from actkit.errors import ModelError, in_short

REGISTRY = "pretrained_saes.yaml"
"""SAELens's registry of releases, read without importing SAELens, which takes seconds."""
PATIENCE = (2.0, 5.0, 2.0, 2.0)
"""Seconds to connect, to get an answer, to send, and to get a connection from the client's pool."""
NOT_THERE = {"TransportError", "ConnectionError"}
"""Exceptions, with all derived ones, of a client without an answer; any other shows that a server answered."""
REMEMBERED = 60
"""Seconds for which an answer is remembered."""
MINE = "--model tiny is bundled, --model DIR is a directory of yours"


@dataclass(frozen=True)
class Release:
    """A release of SAELens's registry."""

    name: str
    model: str
    sae_ids: tuple[str, ...]
    repository: str


def registry_file() -> Path | None:
    """The path of the registry's file; None where SAELens is not installed."""
    found = find_spec("sae_lens")  # finds the package without importing it
    folder = next(iter(found.submodule_search_locations or ()), None) if found else None
    return Path(folder) / REGISTRY if folder is not None else None


def is_reachable() -> bool:
    """Whether a server answers at the hub's address, through the proxies that the hub's client uses.

    A proxy or a firewall may accept the connection and never answer, so a connection alone proves nothing.
    """
    return _answers(int(time.monotonic()) // REMEMBERED)


@functools.lru_cache(maxsize=1)
def _answers(_minute: int) -> bool:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception as error:  # classes differ with the client's HTTP library; these names do not
        return not NOT_THERE & {kind.__name__ for kind in type(error).__mro__}
    return True


@contextmanager
def from_cache_where_unreachable() -> Iterator[None]:
    """Inside, the hub's client reads only the local cache if the hub cannot be reached."""
    from unittest.mock import patch

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or is_reachable():
        yield
        return
    with patch.object(constants, "HF_HUB_OFFLINE", True):
        yield


def check_model(name: str) -> None:
    """Raise ModelError at once for a model that only the hub can have, if the hub cannot be reached.

    Loading would raise too, but only after importing torch and transformers, which takes seconds.
    """
    if name == NAME or os.path.exists(name) or name.startswith((".", "/", "~")) or "://" in name or name.count("/") > 1:  # noqa: PTH110 - as in backends.names
        return
    # A name without a slash may be an alias of any model in the cache.
    if name.lower().endswith(".gguf") or _may_be_had(name.replace("/", "--") if "/" in name else "*"):
        return
    raise ModelError(
        f"{in_short(name)}: the hub cannot be reached and the model is not in the local cache",
        f"check the name and the connection, or set HF_HOME to a cache that has it; {MINE}",
    )


def check_saes(release: str | None, ids: Sequence[str]) -> None:
    """Raise ModelError at once for an SAE that only the hub can have, if the hub cannot be reached.

    Without a `release`, each of `ids` begins with its own. An SAE without a known repository is checked on loading.
    """
    for name in (ids or ("",)) if release else ids:
        repository = _repository_of(release or name, whole=release is not None)
        if repository is None or _may_be_had(repository.replace("/", "--")):
            continue
        asked = "/".join(part for part in (release, name) if part)
        raise ModelError(
            f"{in_short(asked)}: the hub cannot be reached and the SAE is not in the local cache",
            "check the name and the connection, or set HF_HOME to a cache that has it; --sae DIR is one of yours, "
            "--model tiny has SAEs of its own",
        )


def _may_be_had(repository: str) -> bool:
    """Whether the local cache has files of a repository, offline mode is set, or the hub can be reached."""
    from huggingface_hub import constants

    there = any(Path(constants.HF_HUB_CACHE).glob(f"models--{repository}"))
    return there or constants.HF_HUB_OFFLINE or is_reachable()


def _repository_of(name: str, whole: bool) -> str | None:
    """The hub's repository of a release, by SAELens's registry or by its own name; None where neither gives one.

    The registry is read as text, since importing SAELens takes seconds.
    """
    first, _, rest = name.partition("/")
    if first == NAME:
        return None
    path = registry_file()
    if path is not None:
        text = path.read_text(encoding="utf-8")
        listed = re.search(rf"^{re.escape(first)}:\n(?:[ -].*\n)*?  repo_id: (\S+)$", text, re.MULTILINE)
        if listed:
            return listed[1]
    return (name if whole else f"{first}/{rest.partition('/')[0]}") if rest else None
