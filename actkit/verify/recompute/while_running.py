"""`--verify N`: a run computes N of its records again, and goes on only where they are right."""

from dataclasses import dataclass
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
"""Seed of the draw of records."""


@dataclass
class Verifying:
    """The check on the loaded model, from the first shard on, until `--verify` records are computed again."""

    job: Job
    found: Recomputed | None = None
    """The result so far."""

    @property
    def is_due(self) -> bool:
        """Whether fewer records have been computed again than `--verify` asks for."""
        return self.job.output.verify > (self.found.records if self.found else 0)

    @property
    def facts(self) -> dict[str, Any]:
        """The entry of `run.json`; empty where no record was computed again."""
        if self.found is None:
            return {}
        about = self.job.model.description.spec
        return {"seed": SEED, "dtype": about.dtype, "attn": about.attn, "device": about.device, **self.found.facts()}

    def check(self, run: Path, part: int, progress: Progress) -> None:
        """Compute records of a finished shard again: as many as are due, or all of the shard.

        Raises RunError where a number is further from the plain model's than the dtype's rounding allows, or where a
        text does not give its token ids; ModelError as `PlainModel.read` does.
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
        known = {} if steering is None else interventions_in(steering.actions, saes)
        return Recomputing.by(job.recipe.rules, job.output.store_dtype, about, plain, saes, known)
