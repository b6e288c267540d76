"""`SteerSpec`, the options of `steer`, and which of them contradict one another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, cast, get_args

import numpy as np

from actkit.config import ExportFormat, SteerDo, SteerPositions, TokenSpec
from actkit.errors import UsageError


@dataclass(frozen=True)
class SteerSpec:
    """The options of `steer`."""

    command: ClassVar[str] = "steer"
    exports: ClassVar[tuple[ExportFormat, ...]] = ("gguf", "steering-vectors", "persona")
    run: str = field(metadata={"reads": True})
    """A finished run of `concept` or `reward-detect`."""
    answers: str | None = field(default=None, metadata={"reads_too": True})
    """File of prompts with two answers each, in place of the run's held-out texts."""
    do: str | None = None
    """add, project-out, zero, clamp, or clamp:VALUE; None adds directions, and sets features to zero.

    `clamp` without a value sets each feature to its mean activation in the texts where it is active."""
    method: Sequence[str] = ("mean-diff",)
    """Directions, by the method that found them."""
    layers: str | None = None
    """None takes three layers in the middle of the model."""
    strengths: str | None = None
    """Numbers with commas, in units of the difference that was measured at the layer; None takes -4,-2,-1,1,2,4."""
    every_layer: bool = False
    """Project out at all layers at once."""
    features: str | None = None
    """top:N, bottom:N or ids, in place of directions."""
    sae_name: str | None = None
    """Whose features, where the run has several SAEs."""
    each: bool = False
    """Features one by one, not as a set."""
    words: str | None = None
    """Two files of words, with a comma between: positive ones and negative ones, to be expected after each text."""
    random: int = field(default=20, metadata={"least": 0})
    """Controls beside each direction or set of features, at each layer and strength."""
    positions: SteerPositions = "all"
    answer_tokens: int = field(default=20, metadata={"least": 1})
    """Tokens of the answers that the unsteered model gives."""
    budget: float = field(default=0.1, metadata={"least": 0})
    """Most nats a token that neutral text may lose."""
    show: int = field(default=0, metadata={"least": 0})
    """Prompts whose steered answers are generated, to be looked at."""
    seed: int = field(default=0, metadata={"least": 0})
    tokens: TokenSpec = field(default_factory=TokenSpec, metadata={"option": None})

    @property
    def done(self) -> tuple[SteerDo | None, float | None]:
        """The action, and the value that features are set to. Raises UsageError for what is not known."""
        if self.do is None:
            return None, None
        name, _, value = self.do.partition(":")
        if name not in get_args(SteerDo) or (value and name != "clamp") or self.do.endswith(":"):
            raise UsageError(f"--do {self.do} is not known", f"{', '.join(get_args(SteerDo))} or clamp:VALUE")
        return cast("SteerDo", name), _number(value, f"--do {self.do}") if value else None

    def each_strength(self, usual: Sequence[float]) -> tuple[float, ...]:
        """The strengths, those that are usual where none are given. Raises UsageError for what is no number, or 0."""
        if self.strengths is None:
            return tuple(usual)
        found = [_number(strength, f"--strengths {self.strengths}") for strength in self.strengths.split(",")]
        if 0 in found:
            raise UsageError("--strengths: 0 is the model as it is", "such as --strengths=-4,-2,-1,1,2,4")
        return tuple(dict.fromkeys(found))


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UsageError(f"{what}: {text.strip()!r} is no number", "such as --strengths=-4,-2,-1,1,2,4")
    return value


def check(spec: SteerSpec) -> None:
    """Raise UsageError for options that contradict one another."""
    do, _ = spec.done
    spec.each_strength(())
    on_features = spec.features is not None
    if spec.every_layer and do != "project-out":
        raise UsageError(
            "--every-layer: a difference that is added at every layer is added many times over",
            "add it at one layer, or --do project-out --every-layer",
        )
    if do in ("zero", "clamp") and not on_features:
        raise UsageError(f"--do {do} is for features", "--features top:10; directions are added or projected out")
    if do == "project-out" and on_features:
        raise UsageError("--do project-out is for directions", "features are set to zero: --do zero")
    if spec.each and not on_features:
        raise UsageError("--each is for features", "--features top:10 --each")
