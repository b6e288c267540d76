"""`--engine`, `--workers` and `--shard auto`: what shares a run out among workers."""

from dataclasses import dataclass
from importlib.util import find_spec

from actkit.cli.options.task import starts_workers
from actkit.errors import UsageError, in_short


@dataclass(frozen=True)
class Engine:
    """What starts workers, and how many; as many as there are GPUs where that is not said."""

    flag: str
    """The option that asks for it: `--engine` is Ray, `--shard auto` processes of this machine."""
    workers: int | None
    address: str | None = None
    """Of a Ray cluster; None is one of this machine for the run alone."""

    @property
    def is_ray(self) -> bool:
        """Whether Ray runs the workers."""
        return self.flag == RAY


RAY, OWN = "--engine", "--shard auto"


def engine_of(text: str | None, workers: int | None, shard: str | None) -> Engine | None:
    """What `--engine`, `--workers` and `--shard` say. Raises UsageError for an engine not known or not installed."""
    if text is None:
        if starts_workers(shard, workers):
            return Engine(OWN, workers)
        if workers is not None:
            raise UsageError(
                "--workers without --engine or --shard auto", "--shard auto --workers 4 starts four on this machine"
            )
        return None
    name, colon, address = text.strip().partition(":")
    if name.lower() != "ray" or (colon and not address):
        raise UsageError(f"--engine {in_short(text)} is not known", "ray, or ray:ADDRESS such as ray:10.0.0.7:6379")
    if find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray", "pip install 'actkit[ray]'")
    return Engine(RAY, workers, address or None)
