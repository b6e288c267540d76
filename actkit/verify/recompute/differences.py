"""Differences between stored and recomputed numbers, by hook point and by SAE, and the tolerances for them.

`Recomputed` collects them: the largest error of each hook point and SAE, and the differences that are no rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from actkit.verify.recompute.retokenize import Retokenized


@dataclass(frozen=True)
class Tolerance:
    """Largest differences allowed, each as a share of the Euclidean norm of the recomputed vector."""

    vectors: float
    """For an activation vector: the norm of the difference."""
    features: float
    """For a token's features: the norm of the difference over the features that both have."""


TOLERANCES = {
    "float32": Tolerance(5e-5, 2.5e-4),
    "bfloat16": Tolerance(8e-2, 4e-1),
    "float16": Tolerance(1e-2, 5e-2),
}
"""Measured on a CPU: runs of `dpo` in trees and batches of 4,096 tokens, the hook points of `sites.NATIVE` at every
layer, compared with the plain model. The largest differences of `tiny` (4 layers, 40 pairs) and of random models with
weights twice as wide as at initialisation (Llama of 24 layers, Gemma 2 of 26, 12 pairs) were:

| dtype | vectors, tiny | vectors, 24 and 26 layers | features, tiny |
|---|---|---|---|
| float32 | 1.4e-6 | 6.3e-6 | 9e-7 |
| bfloat16 | 2.0e-2 | 4.1e-2 | 1.0e-2 |
| float16 | 3.8e-3 | 5.3e-3 | 2.0e-3 |

In the deep models `hook_mlp_out` has the largest difference: its vectors are short compared with the residual stream.
The tolerance of 16 bits is twice the largest difference. That of features is five times that of vectors, since an SAE
may stretch some directions. In float32 the kernels may differ as well (`backends.kernels`): a random Gemma 2 of 26
layers is then 1.5e-5 off, and the plain model itself is 1.1e-5 from its numbers in float64. The tolerance is 5e-5. A
wrong position, mask or norm is off by far more."""
OTHER_ATTENTION = Tolerance(1e-3, 5e-3)
"""Smallest tolerance where the attention implementation is another than the run's."""


def tolerance(dtype: str, store_dtype: str, same_attention: bool) -> Tolerance:
    """Return the tolerance for a model in `dtype`; an unknown dtype has that of bfloat16."""
    found = TOLERANCES.get(dtype, TOLERANCES["bfloat16"])
    least = Tolerance(0.0, 0.0) if same_attention else OTHER_ATTENTION
    # float16 rounds numbers to 11 bits, which changes a vector by at most 2**-11 of its norm.
    stored = 2.0**-11 if store_dtype == "float16" else 0.0
    return Tolerance(max(found.vectors, least.vectors) + stored, max(found.features, least.features))


Floats = npt.NDArray[np.float64]


@dataclass
class Vectors:
    """Differences of the vectors of one hook point."""

    tolerance: float
    n: int = 0
    worst: float = 0.0
    where: str = ""
    """The vector that is furthest off."""

    def compare(self, stored: Floats, again: Floats, places: Sequence[str]) -> None:
        """Compare vectors, both [n, width]: norm of the difference over norm of the recomputed vector."""
        errors = relative(np.linalg.norm(stored - again, axis=1), np.linalg.norm(again, axis=1))
        self.n += len(errors)
        if len(errors) and (errors.max() > self.worst or not self.where):
            self.worst, self.where = float(errors.max()), places[int(errors.argmax())]

    def problems(self, name: str) -> list[str]:
        """A sentence where a vector of the hook point `name` is off by more than the tolerance."""
        allowed = f"{self.tolerance:.0e} is allowed"
        is_fine = self.worst <= self.tolerance
        return [] if is_fine else [f"{name} is {self.worst:.2e} off the plain model, at {self.where}; {allowed}"]


@dataclass
class Features:
    """Differences between the stored features of one SAE and those encoded again."""

    tolerance: Tolerance
    n: int = 0
    """Tokens, or texts where features are pooled."""
    identical: int = 0
    """How many of them have the same features."""
    members: int = 0
    """Features that are stored or recomputed, summed over tokens."""
    common: int = 0
    """Features that are stored and recomputed, summed over tokens."""
    worst: float = 0.0
    """Largest norm of the difference over common features, over the norm of those computed again."""
    where: str = ""
    wrong: list[str] = field(default_factory=list)
    """The first three differences that are no rounding."""
    n_wrong: int = 0

    def count(self, stored: set[int], again: set[int], error: float, where: str) -> None:
        """Count one token or text, with its stored and recomputed feature ids, and its `error`."""
        self.n += 1
        self.identical += stored == again
        self.members += len(stored | again)
        self.common += len(stored & again)
        if error > self.worst or not self.where:
            self.worst, self.where = error, where

    def differs(self, what: str) -> None:
        """Count a difference that is no rounding."""
        self.n_wrong += 1
        if len(self.wrong) < 3:
            self.wrong.append(what)

    def problems(self, name: str) -> list[str]:
        """Sentences about the SAE `name`: activations beyond the tolerance, and differences that are no rounding."""
        allowed = f"{self.tolerance.features:.0e} is allowed"
        is_close = self.worst <= self.tolerance.features
        off = [] if is_close else [f"activations of {name} are {self.worst:.2e} off, at {self.where}; {allowed}"]
        more = f" (and {self.n_wrong - len(self.wrong)} more)" if self.n_wrong > len(self.wrong) else ""
        return [*off, *(f"{name}: {text}{more}" for text in self.wrong)]


def relative(difference: "Floats | np.floating", norm: "Floats | np.floating") -> Floats:
    """`difference` over `norm`: 0 where the difference is 0, infinite where the quotient is not finite."""
    difference, norm = np.asarray(difference, dtype=np.float64), np.asarray(norm, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(difference == 0, 0.0, difference / norm)
    result: Floats = np.where(np.isfinite(found), found, np.inf)
    return result


@dataclass
class Recomputed:
    """Counts of the records that were computed again, and the differences of their stored numbers."""

    tolerance: Tolerance
    records: int = 0
    sequences: int = 0
    tokens: int = 0
    """Tokens that were run; a shared beginning counts each time that it was run."""
    vectors: dict[str, Vectors] = field(default_factory=dict)
    """Hook point, or `pooled` and the hook point, → the differences of its vectors."""
    features: dict[str, Features] = field(default_factory=dict)
    """SAE, or `pooled` and the SAE, → the differences of its features."""
    texts: Retokenized = field(default_factory=Retokenized)
    not_recomputed: dict[str, str] = field(default_factory=dict)
    """Records and tables that could not be computed again → why."""
    others: list[str] = field(default_factory=list)
    """Other faults than wrong numbers, such as another model under the same name."""

    last_record: int = -1

    def count(self, record_id: int) -> None:
        """Count a record once, also where it goes on in the next shard."""
        self.records += record_id != self.last_record
        self.last_record = record_id

    @property
    def problems(self) -> list[str]:
        """A sentence for each difference that rounding does not explain, and for each other fault."""
        seen: list[tuple[str, Vectors | Features]] = [*self.vectors.items(), *self.features.items()]
        numbers = [problem for name, differences in seen for problem in differences.problems(name)]
        return [*self.others, *numbers, *(f"text and token ids of {text}" for text in self.texts.wrong)]

    def facts(self) -> dict[str, Any]:
        """The result as plain values, for `run.json` and `--json`."""
        return {
            "records": self.records,
            "sequences": self.sequences,
            "tokens": self.tokens,
            "hook_points": {
                name: {
                    "vectors": vector.n,
                    "worst_error": vector.worst,
                    "tolerance": vector.tolerance,
                    "where": vector.where,
                }
                for name, vector in self.vectors.items()
            },
            "saes": {
                name: {
                    "rows": feature.n,
                    "worst_error": feature.worst,
                    "tolerance": feature.tolerance.features,
                    "identical": feature.identical / feature.n if feature.n else None,
                    "common": feature.common / feature.members if feature.members else None,
                }
                for name, feature in self.features.items()
            },
            "texts": {"sequences": self.texts.n, "same": self.texts.same, "not_defined": self.texts.not_defined},
            "not_recomputed": self.not_recomputed,
            "problems": self.problems,
        }

    def vectors_of(self, name: str) -> Vectors:
        """The differences of a hook point's vectors so far."""
        return self.vectors.setdefault(name, Vectors(self.tolerance.vectors))

    def features_of(self, name: str) -> Features:
        """The differences of an SAE's features so far."""
        return self.features.setdefault(name, Features(self.tolerance))
