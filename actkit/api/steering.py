"""Steer from Python: measure what a run's directions or features do, or put one into your own generation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch

from actkit.api.loading import layers_text, numbers_text
from actkit.backends.actions import Action, action_of, edit_of
from actkit.backends.generation import edited_module
from actkit.backends.sites import Site
from actkit.backends.transformer_lens import block_sites
from actkit.config import OutputSpec, SteerPositions
from actkit.errors import ModelError, UsageError
from actkit.recipes.specs import FollowSpec, spec_of
from actkit.recipes.steering.directions import actions_on, directions_in
from actkit.recipes.steering.run import run_steer
from actkit.recipes.steering.spec import SteerSpec
from actkit.remote.path import RemotePath, local_path
from actkit.runs.facts import facts_of
from actkit.runs.reader import table_of
from actkit.runs.run import Run, path_of_run


def steer(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    answers: str | Path | None = None,
    do: str | None = None,
    method: str | Sequence[str] = "mean-diff",
    layers: str | int | Sequence[int] | None = None,
    strengths: str | float | Sequence[float] | None = None,
    every_layer: bool = False,
    features: str | Sequence[int] | None = None,
    each: bool = False,
    words: tuple[str | Path, str | Path] | None = None,
    random: int = 20,
    positions: SteerPositions = "all",
    answer_tokens: int = 20,
    budget: float = 0.1,
    seed: int = 0,
    model: str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Run:
    """Measure what a finished run's directions or features do to its model, as `actkit steer` does.

    Options are those of the command line; lists stand for commas. Returns the run of `steer`, whose tables `effects`
    and `effect_samples` hold the results, and `facts["steer"]["verdicts"]` the verdict in words. Without `out` it
    lies beside the run (here, for a run elsewhere), with `-effects` after its name. Raises what `run_steer` raises.

        actkit.steer("runs/enthusiasm", layers=15, strengths=2).facts["steer"]["verdicts"][0]["verdict"]
    """
    call, path = locals(), path_of_run(run)
    texts: dict[str, Callable[[Any], str]] = {
        "answers": str,
        "layers": layers_text,
        "strengths": lambda given: numbers_text(given, "strengths", "give numbers", fractions=True),
        "features": lambda given: numbers_text(given, "features", "give ids, top:10 or bottom:10"),
        "words": lambda given: ",".join(map(str, given)),
        "model": str,
    }
    call |= {name: text(call[name]) for name, text in texts.items() if call[name] is not None}
    spec = spec_of(SteerSpec, call, run=path.url if isinstance(path, RemotePath) else str(path))
    beside = Path(path.name) if isinstance(path, RemotePath) else path
    where = local_path(out, "out") if out is not None else beside.with_name(f"{path.name}-effects")
    return Run(run_steer(spec, spec_of(FollowSpec, call, output=OutputSpec(where, overwrite))).path)


@contextmanager
def steering(
    model: Any,
    run: str | Path | Run,
    *,
    layer: int | None = None,
    strength: float | None = None,
    method: str = "mean-diff",
    do: str = "add",
    every_layer: bool = False,
) -> Iterator[Any]:
    """Run a `transformers` model inside the `with` block with a direction of `run` added, or projected out.

    `run` is a run of `concept`: `layer` and `strength` set the addition, in units of the difference that was measured
    there; `do="project-out"` takes the direction out, at `layer` or with `every_layer` at all of the run's. Or it is a
    run of `steer`: the intervention that it chose is done, or its intervention at this layer and strength.

    Acts in the prompt and the generated text; never on a text's first token, an attention sink, on padding, or on the
    special tokens that occur in the run. Raises UsageError for a layer, strength or method that the run does not have,
    ModelError for an architecture whose blocks are not known.

        with actkit.steering(model, "runs/enthusiasm", layer=15, strength=2):
            model.generate(**tokenizer("How was your day?", return_tensors="pt"))
    """
    path = path_of_run(run)
    actions = _actions(path, layer, strength, method, do, every_layer, model.config.get_text_config().num_hidden_layers)
    edits = [edit_of(action, {}) for action in actions]
    special = _special(path)
    with edited_module(model, _modules(model, edits), edits, special):
        yield model


def _actions(
    run: Path, layer: int | None, strength: float | None, method: str, do: str, every_layer: bool, n_layers: int
) -> list[Action]:
    facts = facts_of(run)
    if "interventions" in facts["tables"]:
        return _of_steer(run, facts, layer, strength)
    if do not in ("add", "project-out"):
        raise UsageError(f"do={do!r} is not known", "add or project-out")
    if layer is None and not every_layer:
        raise UsageError("which layer?", "layer=15; actkit steer chooses one, and its run can be given here")
    if strength is None and do == "add":
        raise UsageError("which strength?", "strength=2 adds twice the difference that was measured")
    if every_layer and do == "add":
        raise UsageError("a difference that is added at every layer is added many times over", "give one layer")
    layers = None if layer is None else str(layer)
    spec = SteerSpec(str(run), do=do, method=(method,), layers=layers, every_layer=every_layer, random=0)
    return actions_on(run, directions_in(run, spec, n_layers), (1.0 if strength is None else strength,), spec)[1:]


def _of_steer(run: Path, facts: dict[str, Any], layer: int | None, strength: float | None) -> list[Action]:
    """Return the intervention that a run of `steer` chose, or its intervention at a layer and strength."""
    rows = [action_of(row) for row in table_of(run, "interventions").to_pylist()]
    chosen = facts["steer"].get("chosen") or next(iter(facts["steer"].get("verdicts", ())), None)
    real = [action for action in rows if action.hook_point is not None and not action.is_control]
    if layer is None and strength is None:
        if chosen is None:
            raise UsageError(f"{run} chose no layer and strength", "layer=15, strength=2")
        wanted = {chosen["intervention_id"]}
    else:
        wanted = {
            action.intervention_id
            for action in real
            if (layer is None or action.layer == layer) and (strength is None or action.strength == strength)
        }
    if len(wanted) != 1:
        there = sorted({(action.layer, action.strength) for action in real})
        raise UsageError(f"{run} has {len(wanted)} interventions there", f"(layer, strength): {there[:12]}")
    return [action for action in real if action.intervention_id in wanted]


def _modules(model: Any, edits: Sequence[Any]) -> dict[str, tuple[torch.nn.Module, Site]]:
    """Find the modules of the hook points in this model, also inside a wrapper such as PEFT's."""
    architecture = str((model.config.architectures or [type(model).__name__])[0])
    sites = block_sites(model.config, architecture)
    modules = dict(model.named_modules())
    found = {}
    for edit in edits:
        site = sites.get(edit.hook_point.name)
        path = None if site is None else site.path.format(layer=edit.hook_point.layer)
        name = next(
            (module for module in modules if path is not None and (module == path or module.endswith(f".{path}"))), None
        )
        if site is None or name is None:
            raise ModelError(f"{architecture} has no module for {edit.hook_point}", "is it the model of the run?")
        found[str(edit.hook_point)] = (modules[name], site)
    return found


def _special(run: Path) -> torch.Tensor:
    """Return the special tokens that occur in the run."""
    tokens = table_of(run, "tokens", ["token_id", "is_special"])
    ids = pc.unique(tokens.filter(tokens["is_special"])["token_id"])
    return torch.tensor(ids.to_pylist(), dtype=torch.int64)
