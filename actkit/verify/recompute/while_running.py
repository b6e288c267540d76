"""`--verify N`: a run computes its first records again, and goes on only where they are right."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actkit.backends.reference import plain_of
from actkit.errors import RunError
from actkit.pipeline.recipe import Job
from actkit.runs.paths import part_name
from actkit.runs.progress import Progress
from actkit.verify.recompute.differences import Recomputed
from actkit.verify.recompute.records import Recomputing
from actkit.verify.recompute.steered import interventions_in

SEED = 0
"""Of the draw of records."""


@dataclass
class Verifying:
    """The check of a run's first records, shard after shard until there are enough, on the model that is loaded."""

    job: Job
    found: Recomputed | None = None
    """The result so far."""

    @property
    def is_due(self) -> bool:
        """Whether more records are to be computed again than have been."""
        return self.job.output.verify > (self.found.records if self.found else 0)

    @property
    def facts(self) -> dict[str, Any]:
        """For `run.json`; empty where nothing was asked for."""
        if self.found is None:
            return {}
        about = self.job.model.description.spec
        return {"seed": SEED, "dtype": about.dtype, "attn": about.attn, "device": about.device, **self.found.facts()}

    def check(self, run: Path, part: int, progress: Progress) -> None:
        """Compute records of a finished shard again: as many as are due, or all that it has.

        Raises RunError where a number is further from the plain model's than the dtype's rounding allows, or a text
        does not give its token ids. ModelError: see `PlainModel.read`.
        """
        with progress.timed("verify"):
            again = self._recomputing()
            found = self.found = self.found or Recomputed(again.tolerance)
            again.run(run, self.job.output.verify - found.records, SEED, (f"{part_name(part)}.parquet",), into=found)
        if found.problems:
            more = f" (and {len(found.problems) - 1} more problems)" if len(found.problems) > 1 else ""
            raise RunError(
                f"--verify: {found.problems[0]}{more}",
                f"what was computed is in {run}; try --attn eager or --dtype float32, and report this",
            )

    def _recomputing(self) -> Recomputing:
        steering = self.job.recipe.steering
        saes = {name: health.sae for name, health in self.job.recipe.health.items()}
        job = self.job
        about, plain = job.model.description, plain_of(job.model)
        again = Recomputing.by(job.recipe.rules, job.output.store_dtype, about, plain, saes)
        known = {} if steering is None else interventions_in(steering.actions, saes)
        return replace(again, interventions=known)
