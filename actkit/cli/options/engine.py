"""`--engine` and `--workers`: what shares a run out among workers."""

from dataclasses import dataclass
from importlib.util import find_spec

from actkit.errors import UsageError, in_short


@dataclass(frozen=True)
class Engine:
    """A Ray cluster at an address, or one of this machine for the run alone."""

    address: str | None
    workers: int | None


def engine_of(text: str | None, workers: int | None) -> Engine | None:
    """What `--engine` and `--workers` say. Raises UsageError for an engine that is not known or not installed."""
    if text is None:
        if workers is not None:
            raise UsageError("--workers without --engine", "--engine ray starts workers on this machine")
        return None
    name, colon, address = text.strip().partition(":")
    if name.lower() != "ray" or (colon and not address):
        raise UsageError(f"--engine {in_short(text)} is not known", "ray, or ray:ADDRESS such as ray:10.0.0.7:6379")
    if find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray", "pip install 'actkit[ray]'")
    return Engine(address or None, workers)
