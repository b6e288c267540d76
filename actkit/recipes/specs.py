"""Specs that commands have beside their own: which model and SAEs, and where the run goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from actkit.config import BatchSpec, ExportFormat, ModelSpec, OutputSpec, SaeSpec, TokenSpec
from actkit.errors import UsageError
from actkit.hooks import HookPoint, parse_hook_points


class OwnSpec(Protocol):
    """The spec of one command: a frozen dataclass such as `DpoSpec`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    command: ClassVar[str]
    exports: ClassVar[tuple[ExportFormat, ...]]
    """Formats of `actkit export` that fit its runs."""

    @property
    def tokens(self) -> TokenSpec:
        """How text becomes tokens."""


@dataclass(frozen=True)
class DenseSpec:
    """Which activations of which model, and where they go: what every such command is asked for."""

    model: ModelSpec
    output: OutputSpec
    layers: str = "all"
    """As `--layers`: all, recommended, 4,8,-1, 10-15 or 45%-85%."""
    hook_points: Sequence[str] = field(default=("hook_resid_post",), metadata={"option": "hook_point"})
    """Names without a layer are taken at all of `layers`."""
    batch: BatchSpec = field(default_factory=BatchSpec)
    saes: Sequence[SaeSpec] = ()
    """SAEs whose largest features are stored beside the activations."""
    top_k: int | None = field(default=50, metadata={"none": 0, "least": 1})
    """Most features of a position; None keeps all."""

    def points(self, n_layers: int) -> tuple[HookPoint, ...]:
        """The hook points whose activations are stored. Raises UsageError for those that the model does not have."""
        if not self.hook_points and not self.saes:
            raise UsageError("no hook point is asked for", "--hook-point hook_resid_post, or leave it out")
        return tuple(parse_hook_points(self.hook_points, self.layers, n_layers))


@dataclass(frozen=True)
class SparseSpec:
    """Which SAEs of which model, and where their features go: what every such command is asked for."""

    model: ModelSpec
    saes: Sequence[SaeSpec]
    output: OutputSpec = field(metadata={"without": ("store_dtype",)})
    batch: BatchSpec = field(default_factory=BatchSpec)

    def points(self, n_layers: int) -> tuple[HookPoint, ...]:  # noqa: ARG002 - see `DenseSpec`
        """None: no activations are stored."""
        return ()


@dataclass(frozen=True)
class FollowSpec:
    """How a command goes on from a finished run: with that run's model, loaded as it was there."""

    output: OutputSpec = field(metadata={"without": ("store_dtype", "on_bad_record", "max_records")})
    model: str | None = None
    """Where the model is, if not where it was."""
    device: str = "auto"
    batch: BatchSpec = field(default_factory=BatchSpec)


CommonSpec = DenseSpec | SparseSpec
