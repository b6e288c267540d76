"""Compute log-probabilities under interventions again: the plain model, one sequence, hooks registered here.

None of the code by which a run computes them is used: here are no batches and no trees, and each pass runs all blocks
and the whole output layer. Only the formulas of interventions are shared (`backends.interventions`).
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actkit.backends.actions import Action, action_of, interventions_of
from actkit.backends.interventions import Intervention
from actkit.backends.placement import input_device
from actkit.backends.reference import PlainModel
from actkit.backends.saes.sae import Sae
from actkit.pipeline.data import Bools
from actkit.runs.reader import rows_of_table
from actkit.verify.recompute.differences import Recomputed
from actkit.verify.recompute.stored import StoredSequence

NAME = "log-probabilities"
MOST = 3
"""Interventions computed again for each sequence, besides the unsteered model."""


def stored_actions(run: Path) -> list[Action]:
    """Read the interventions of a finished run; empty where it has none."""
    return [action_of(row) for row in rows_of_table(run, "interventions")]


def interventions_in(actions: Sequence[Action], saes: Mapping[str, Sae]) -> dict[int, tuple[Intervention, str]]:
    """Id → the intervention, and the positions at which it acts; those whose SAE is not in `saes` are left out."""
    known = [action for action in actions if action.sae is None or action.sae in saes]
    where = {action.intervention_id: action.positions for action in known}
    return {
        intervention.intervention_id: (intervention, where[intervention.intervention_id])
        for intervention in interventions_of(known, saes)
    }


def compare_logprobs(
    model: PlainModel,
    sequence: StoredSequence,
    table: pa.Table,
    known: Mapping[int, tuple[Intervention, str]],
    found: Recomputed,
) -> None:
    """Compare one sequence's stored log-probabilities: unsteered, and under `MOST` interventions drawn by its id."""
    stored = dict(zip(table["intervention_id"].to_pylist(), table["logprob"].to_pylist(), strict=True))
    steered = [number for number in stored if number and number in known]
    rng = np.random.default_rng(int(sequence.row["sequence_id"]))
    chosen = [0, *sorted(rng.permutation(steered)[:MOST].tolist())]
    # Tokens that a template puts after the answer do not count.
    first, n_tokens = sequence.row["response_start"] or 1, table["n_tokens"][0].as_py()
    lengths = table["n_tokens"].to_pylist()
    if lengths != [n_tokens] * len(lengths):
        found.others.append(f"{sequence.place}: n_tokens is not the same under every intervention")
    for number in chosen:
        intervention, positions = known[number]
        again = _logprobs(model, sequence, intervention, steered_at(sequence, positions))[first - 1 :]
        place = f"{sequence.place}, intervention {number}"
        found.vectors_of(NAME).compare(np.array([[stored[number]]]), np.array([[again[:n_tokens].sum()]]), [place])


def steered_at(sequence: StoredSequence, positions: str) -> Bools:
    """[n_tokens] whether each position is steered; the first token, special ones and sinks never are."""
    at, start = np.arange(len(sequence.token_ids)), sequence.row["response_start"]
    where: Bools = (at > 0) & ~sequence.left_out
    if start is None or positions == "all":
        return where
    response: Bools = at >= start - 1
    return where & (response if positions == "response" else ~response)


def _logprobs(
    model: PlainModel, sequence: StoredSequence, intervention: Intervention, where: Bools
) -> "np.typing.NDArray[np.float64]":
    """[n_tokens - 1] the log-probability of each token after the first."""
    device = torch.device(input_device(model.module))
    ids = torch.from_numpy(sequence.token_ids)[None].to(device)
    rows = torch.from_numpy(np.flatnonzero(where)).to(device)
    modules = dict(model.module.named_modules())
    with ExitStack() as hooks, torch.inference_mode():
        for edit in intervention.edits:
            site = model.sites[edit.hook_point.name]
            module = modules[site.path.format(layer=edit.hook_point.layer)]
            hooks.callback(_changing(module, site.side, edit.change, rows).remove)
        logits = model.module(input_ids=ids, use_cache=False).logits[0, :-1].float()
    chosen = torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None])[:, 0]
    return chosen.double().cpu().numpy()


def _changing(module: torch.nn.Module, side: str, change: Any, rows: torch.Tensor) -> Any:
    def changed(tensor: torch.Tensor) -> torch.Tensor:
        flat = tensor.clone().reshape(-1, tensor.shape[-1])
        flat[rows] = flat[rows] + change(flat[rows])
        return flat.reshape(tensor.shape)

    def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if args:
            return (changed(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"])}

    def after(_: torch.nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)([changed(output[0]), *output[1:]])
        return changed(output)

    if side == "in":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)
