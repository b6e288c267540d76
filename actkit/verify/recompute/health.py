"""Compute `health` of a run's SAEs on the plain model's activations, where all records are computed again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from actkit.backends.saes.sae import active_of
from actkit.hooks import HookPoint
from actkit.pipeline.reducers.sae_health import DECODED, Health
from actkit.verify.recompute.stored import StoredSequence

EXACT = ("n_tokens", "n_sequences", "longest_context", "n_decoded")
TIMES = 10.0
"""How many tolerances a share may be off by: features that hardly fire may turn on or off."""


@dataclass
class HealthAgain:
    """Counts of the health of each SAE, text by text."""

    of: Mapping[str, Health] = field(default_factory=dict)
    """SAE → its counts."""

    def count(self, sequence: StoredSequence, read: Mapping[HookPoint, torch.Tensor]) -> None:
        """Count the positions of a sequence that the run read: those whose `is_sink` is not null."""
        at = np.flatnonzero([said is not None for said in sequence.spelled["is_sink"].to_pylist()])
        for health in self.of.values() if len(at) else ():
            if health.sae.hook_point not in read:
                continue
            x, plain = read[health.sae.hook_point][torch.tensor(at)], ~sequence.left_out[at]
            health.counts.n_sequences += bool(plain.any())
            health.counts.longest = max(health.counts.longest, int(at[-1]) + 1)
            with torch.inference_mode():
                active = active_of(health.sae.encode(x))
                health.count(
                    x, active, torch.from_numpy(plain).to(x.device), torch.zeros(len(x), dtype=torch.int64).to(x.device)
                )

    def differing(self, stated: Mapping[str, Any], tolerance: float) -> Iterator[str]:
        """Each figure of `health` in `run.json` that differs; above `DECODED` tokens, not those of decoded tokens."""
        for row in stated.get("health", ()):
            health = self.of.get(row.get("sae"))
            again = {} if health is None else health.summary()
            for name, value in again.items():
                said = row.get(name)
                is_number = isinstance(said, (int, float)) and isinstance(value, (int, float))
                close = is_number and abs(said - value) <= TIMES * tolerance * max(abs(value), 1.0)
                if again["n_tokens"] > DECODED and name in ("n_decoded", "explained_variance"):
                    continue
                if said != value and (name in EXACT or not close):
                    yield f"health.{name} of {row['sae']} is {said!r:.60}, and {value!r:.60} when all is computed again"
