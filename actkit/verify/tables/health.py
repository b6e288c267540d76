"""Compare `health` in `run.json`, the figures of SAEs on a run's data, with the table `features`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from actkit.pipeline.reducers.sae_health import DENSE
from actkit.runs.paths import RUN_FILE
from actkit.runs.reader import Ints, lists_in
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.reading import Bools, Group


@dataclass
class Encoded:
    """Counts of one SAE's features at positions that are neither special tokens nor sinks."""

    fired: Ints
    """[d_sae] the number of these positions at which each feature is listed."""
    n_tokens: int = 0
    n_active: int = 0
    n_sequences: int = 0
    longest: int = 0
    """One past the last position that the run read, special or not."""

    @classmethod
    def of(cls, d_sae: int) -> "Encoded":
        """Counts of no features."""
        return cls(np.zeros(d_sae, dtype=np.int64))

    def count(self, group: Group, plain: Bools) -> None:
        """Count the features in those rows of a row group that are `plain` [n]."""
        ids, lengths = lists_in(group.table, "feature_ids")
        known = np.repeat(plain, lengths) & (ids >= 0) & (ids < len(self.fired))
        self.fired += np.bincount(ids[known], minlength=len(self.fired))
        self.n_tokens += int(plain.sum())
        self.n_active += int(group.table["n_active"].to_numpy()[plain].sum())
        self.n_sequences += len(np.unique(group.ids[plain]))
        if group.positions is not None:
            self.longest = max(self.longest, int(group.positions.max(initial=-1)) + 1)

    def health(self, row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
        """Each figure of this SAE's row of `health` in `run.json`, and whether it agrees with the table `features`.

        Where lists of features are cut, more features fire than are listed; `n_active` gives how many more.
        """
        yield "n_tokens", row.get("n_tokens") == self.n_tokens
        yield "n_sequences", row.get("n_sequences") == self.n_sequences
        yield "longest_context", row.get("longest_context") == self.longest
        if not self.n_tokens:
            return
        yield "l0", row.get("l0") == self.n_active / self.n_tokens
        d_sae = max(len(self.fired), 1)
        more = (self.n_active - int(self.fired.sum())) / d_sae
        dead, dense = (int(of.sum()) / d_sae for of in (self.fired == 0, self.fired > DENSE * self.n_tokens))
        yield "dead_fraction", _is_between(row.get("dead_fraction"), dead - more, dead)
        yield "dense_fraction", _is_between(row.get("dense_fraction"), dense, dense + more)


def _is_between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and low <= value <= high


def check_health(facts: Mapping[str, Any], encoded: Mapping[str, Encoded], findings: Findings) -> None:
    """Compare `health` with the counts, SAE by SAE; runs with pooled features alone have no counts and pass."""
    named = [(sae["name"], sae["hook_point"]) for sae in facts.get("saes", ())]
    healthy = facts.get("health", ())
    if healthy and [(row.get("sae"), row.get("hook_point")) for row in healthy] != named:
        findings.wrong("counts", RUN_FILE, "health is not of the SAEs of run.json")
    for row in healthy:
        found = encoded.get(str(row.get("sae")))
        for name in (name for name, fits in found.health(row) if not fits) if found else ():
            says = f"health.{name} of {row['sae']} is {row.get(name)!r:.60}, which is not what the table features gives"
            findings.wrong("counts", RUN_FILE, says)
