"""What `capture` and `dpo` have in common: whole activations of some layers and hook points."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from actkit.cli.console import say
from actkit.cli.options import TOP_K, Dense, Shared, Sparse
from actkit.cli.running import run_command

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
) -> "Finished":
    """Run a command whose recipe takes a `DenseSpec`; `own` are its options beside the groups."""
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

    return run_command(command, shared, {**own, **asdict(dense), **asdict(sparse)}, work, dense.store_dtype)
