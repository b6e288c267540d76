"""`Recomputed`: how far each hook point and SAE is off when records are computed again, and what is no rounding."""

from dataclasses import dataclass, field
from typing import Any

from actkit.verify.recompute.differences import Features, Tolerance, Vectors
from actkit.verify.recompute.retokenize import Retokenized


@dataclass
class Recomputed:
    """The records that were computed again, and how far what was stored of them is off."""

    tolerance: Tolerance
    records: int = 0
    sequences: int = 0
    tokens: int = 0
    """Tokens that were run, shared beginnings as often as they were."""
    vectors: dict[str, Vectors] = field(default_factory=dict)
    """Hook point, or `pooled` and the hook point, → how far its vectors are off."""
    features: dict[str, Features] = field(default_factory=dict)
    """SAE, or `pooled` and the SAE, → how far its features are off."""
    texts: Retokenized = field(default_factory=Retokenized)
    not_recomputed: dict[str, str] = field(default_factory=dict)
    """Records and tables that could not be computed again → why."""
    others: list[str] = field(default_factory=list)
    """Faults beside the numbers, such as another model under the same name."""

    last_record: int = -1

    def count(self, record_id: int) -> None:
        """Count a record; what stands of it in the next shard is the same one."""
        self.records += record_id != self.last_record
        self.last_record = record_id

    @property
    def problems(self) -> list[str]:
        """Everything that is further off than rounding explains."""
        found = [
            f"{name} is {vector.worst:.2e} off the plain model, at {vector.where}; {vector.tolerance:.0e} is allowed"
            for name, vector in self.vectors.items()
            if vector.fails
        ]
        for name, seen in self.features.items():
            if not seen.worst <= seen.tolerance.features:
                allowed = f"{seen.tolerance.features:.0e} is allowed"
                found.append(f"activations of {name} are {seen.worst:.2e} off, at {seen.where}; {allowed}")
            more = f" (and {seen.n_wrong - len(seen.wrong)} more)" if seen.n_wrong > len(seen.wrong) else ""
            found += [f"{name}: {text}{more}" for text in seen.wrong]
        return self.others + found + [f"text and token ids of {text}" for text in self.texts.wrong]

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
