"""What `capture` and `dpo` have in common: whole activations of some layers and hook points."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from actkit.cli.options.sae import Sparse
from actkit.cli.options.shared import TOP_K, Dense, Shared
from actkit.cli.run_command import run_command
from actkit.cli.screen.console import say

if TYPE_CHECKING:
    from actkit.config import OutputSpec
    from actkit.pipeline.recipe import Finished


def run_dense(
    command: str,
    shared: Shared,
    dense: Dense,
    sparse: Sparse,
    own: Mapping[str, Any],
    run: Callable[..., "Finished"],
    afterwards: Callable[["Finished"], None] = lambda _finished: None,
) -> "Finished":
    """Run a command whose recipe takes a `DenseSpec`; `own` and `afterwards` as in `run_command`."""
    from actkit.recipes.dense import DenseSpec

    saes = sparse.wanted(shared.model)
    if dense.top_k != TOP_K and not saes and not shared.quiet:
        say(
            "warning", f"--top-k {dense.top_k} does nothing without an SAE, which --sae-release, --sae or --layer names"
        )

    def work(output: "OutputSpec", *more: Any) -> "Finished":
        names = tuple(dense.hook_point or ["hook_resid_post"])
        model, batch = shared.model_spec(), shared.batch_spec()
        what = DenseSpec(model, output, dense.layers, names, batch, saes, dense.top_k)
        return run(what, *more)

    options = {**own, **asdict(dense), **asdict(sparse)}
    return run_command(command, shared, options, work, dense.store_dtype, afterwards)
