"""The options of commands that go on from a finished run, with the model of that run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from actkit.cli.options.groups import MODEL, at_home, hidden, option
from actkit.cli.options.model import Device
from actkit.cli.options.run import (
    BatchTokens,
    ConfigFile,
    EngineName,
    ExportTo,
    Json,
    Out,
    Overwrite,
    PlanOnly,
    Profile,
    Quiet,
    Resume,
    Share,
    Verify,
    WorkerCount,
)
from actkit.cli.options.shared import Shared
from actkit.config import BatchSpec, ModelSpec

if TYPE_CHECKING:
    from actkit.recipes.specs import FollowSpec


@dataclass(frozen=True)
class Follow:
    """Options of such a command; how the model is loaded otherwise is the run's affair."""

    model: Annotated[
        str | None,
        option("--model", "-m", panel=MODEL, help="Where the run's model is, if not where it was.", callback=at_home),
    ] = None
    device: Device = ModelSpec.device
    batch_tokens: BatchTokens = BatchSpec.batch_tokens
    out: Out = None
    overwrite: Overwrite = False
    resume: Resume = False
    shard: Share = None
    engine: EngineName = None
    workers: WorkerCount = None
    plan: PlanOnly = False
    verify: Verify = 0
    profile: Profile = False
    config: ConfigFile = None
    export: ExportTo = None
    quiet: Quiet = False
    json: Json = False
    output: Annotated[Path | None, hidden("--output", "--output-dir", callback=at_home)] = None
    shard_sequences: Annotated[int, hidden("--shard-sequences", min=1)] = BatchSpec.shard_sequences
    shard_mb: Annotated[int, hidden("--shard-mb", min=1)] = BatchSpec.shard_mb

    def shared(self) -> Shared:
        """The same as the options of any run, for what is done around one."""
        values = {name: value for name, value in vars(self).items() if name != "model"}
        return replace(Shared(**values), model=self.model or Shared.model)

    def spec(self, command: str) -> "FollowSpec":
        """Where the run goes, and where the model is."""
        from actkit.recipes.specs import FollowSpec

        shared = self.shared()
        return FollowSpec(shared.output_spec(command), self.model, self.device, shared.batch_spec())
