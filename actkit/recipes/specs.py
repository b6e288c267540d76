"""Specs that several commands share, and `spec_of`, which makes a spec of the options of `config.yaml`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin

import numpy as np

from actkit.config import BatchSpec, ExportFormat, ModelSpec, OutputSpec, SaeDtype, SaeSpec, TokenSpec
from actkit.errors import UsageError, did_you_mean, in_short
from actkit.hooks import HookPoint, parse_hook_points

SAE_OPTIONS = ("sae_release", "sae_id", "sae", "target_layer", "hook_name")
"""Options by which every command chooses SAEs; `saes` of its spec has the result."""
LARGEST = 2**62
"""The bound of a number whose field states none: counts are added up as 64-bit numbers."""


class OwnSpec(Protocol):
    """The spec of one command: a frozen dataclass such as `DpoSpec`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    command: ClassVar[str]
    exports: ClassVar[tuple[ExportFormat, ...]]
    """Formats of `actkit export` that fit its runs."""

    @property
    def tokens(self) -> TokenSpec:
        """Settings by which text becomes tokens."""


@dataclass(frozen=True)
class DenseSpec:
    """The options of every command that stores activations: the model, its hook points, and the place of the run."""

    model: ModelSpec
    output: OutputSpec
    layers: str = "all"
    """As `--layers`: all, recommended, 4,8,-1, 10-15 or 45%-85%."""
    hook_points: Sequence[str] = field(default=("hook_resid_post",), metadata={"option": "hook_point"})
    """Names without a layer are taken at all of `layers`."""
    batch: BatchSpec = field(default_factory=BatchSpec)
    saes: Sequence[SaeSpec] = ()
    """SAEs whose largest features are stored with the activations."""
    top_k: int | None = field(default=50, metadata={"none": 0, "least": 1})
    """Most features of a position; None keeps all."""
    sae_dtype: SaeDtype = "float32"
    """bfloat16 finds active features, and float32 computes their activations; results differ by rounding alone."""

    def points(self, n_layers: int) -> tuple[HookPoint, ...]:
        """Return the hook points to store. Raises UsageError for hook points that the model does not have."""
        if not self.hook_points and not self.saes:
            raise UsageError("no hook point is asked for", "--hook-point hook_resid_post, or leave it out")
        return tuple(parse_hook_points(self.hook_points, self.layers, n_layers))


@dataclass(frozen=True)
class SparseSpec:
    """The options of every command that stores SAE features: the model, its SAEs, and the place of the run."""

    model: ModelSpec
    saes: Sequence[SaeSpec]
    output: OutputSpec = field(metadata={"without": ("store_dtype",)})
    batch: BatchSpec = field(default_factory=BatchSpec)
    sae_dtype: SaeDtype = "float32"
    """See `DenseSpec`."""

    def points(self, n_layers: int) -> tuple[HookPoint, ...]:  # noqa: ARG002 - see `DenseSpec`
        """No hook point, since no activations are stored. Raises UsageError for a spec without SAEs."""
        if not self.saes:
            raise UsageError("no SAE is asked for", "--sae-release and --sae-id, which actkit saes lists, or --sae DIR")
        return ()


@dataclass(frozen=True)
class FollowSpec:
    """The options of a command that goes on from a finished run, with that run's model, loaded as it was there."""

    output: OutputSpec = field(metadata={"without": ("store_dtype", "on_bad_record", "max_records")})
    model: str | None = None
    """The model's place, where it is no longer the one that the run names."""
    device: str = "auto"
    batch: BatchSpec = field(default_factory=BatchSpec)


CommonSpec = DenseSpec | SparseSpec


Spec = TypeVar("Spec")


def names_of(kind: Any, without: Collection[str] = ()) -> set[str]:
    """Return the names of a spec's options, those of the specs in it too."""
    found: set[str] = set()
    for each in fields(kind):
        name, inner = each.metadata.get("option", each.name), _inner(each)
        if name is None or each.name in without or each.name == "saes":
            continue
        found |= names_of(inner, each.metadata.get("without", ())) if inner else {name}
    return found


def spec_of(kind: type[Spec], options: Mapping[str, Any], **given: Any) -> Spec:
    """Make a spec of this kind from the options that it has; others keep their defaults. `given` are fields by name."""
    values = dict(given)
    for each in fields(kind):  # type: ignore[arg-type]
        name, inner = each.metadata.get("option", each.name), _inner(each)
        if each.name in values or name is None:
            continue
        if inner is not None:
            values[each.name] = spec_of(inner, options)
        elif name in options:
            values[each.name] = _value(options[name], each)
    return kind(**values)


def check_options(options: Collection[str], own: type[OwnSpec], *others: Any) -> None:
    """Raise UsageError for options that none of the specs has, and name near ones."""
    known = {*SAE_OPTIONS}.union(*(names_of(kind) for kind in (own, *others)))
    for name in options:
        if name not in known:
            meant = did_you_mean(name, known, cutoff=0.6)
            raise UsageError(f"{own.command} has no option {name}", f"{meant}it has {', '.join(sorted(known))}")


def checked(spec: Spec) -> Spec:
    """Return the spec and the specs in it, with numbers of numpy as Python's own.

    Raises UsageError for a value that its field does not hold, such as 'no' for a bool, which counts as true, and for a
    number beyond the `least` or the `most` that the field's metadata say. The command line has checked its options;
    Python has not.
    """
    held: dict[str, Any] = {}
    for each in fields(spec):  # type: ignore[arg-type]
        value = getattr(spec, each.name)
        if is_dataclass(value):
            held[each.name] = checked(value)
        elif isinstance(value, (list, tuple)) and value and all(map(is_dataclass, value)):
            held[each.name] = [checked(inner) for inner in value]
        elif each.init:
            held[each.name] = _held(value, each)
    return replace(spec, **held)  # type: ignore[type-var]


KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
"""Kinds of values that are checked, and how a hint calls them."""


def _held(value: Any, each: Any) -> Any:
    """Return a field's value. Raises UsageError for a value that the field does not hold."""
    kinds = get_args(each.type) if get_origin(each.type) in (UnionType, Union) else (each.type,)
    kinds = tuple(str if get_origin(kind) is Literal else kind for kind in kinds)
    kind = next((kind for kind in kinds if kind in KINDS), None)
    if kind is None or (value is None and NoneType in kinds) or any(other not in (kind, NoneType) for other in kinds):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    least, most = each.metadata.get("least"), each.metadata.get("most", LARGEST)
    is_kind = isinstance(value, (int, float) if kind is float else kind) and (kind is bool) == isinstance(value, bool)
    is_number = is_kind and kind in (int, float)
    if is_kind and (not is_number or (-LARGEST if least is None else least) <= value <= most):
        return value
    name = str(each.metadata.get("option") or each.name).replace("_", "-")
    is_low = most == LARGEST and not (is_number and value > most)
    allowed = "" if least is None else f" from {least} on" if is_low else f" from {least} to {most}"
    raise UsageError(f"--{name} {in_short(repr(value))} is not possible", f"it is {KINDS[kind]}{allowed}")


def _inner(each: Any) -> Any:
    """The kind of the spec that a field holds; None for a plain value."""
    kind = each.default_factory if each.default_factory is not MISSING else each.type
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _value(value: Any, each: Any) -> Any:
    if "none" in each.metadata and value == each.metadata["none"]:
        return None
    if isinstance(each.default, tuple):
        return each.default if value is None else (value,) if isinstance(value, str) else tuple(value)
    return value
