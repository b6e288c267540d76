"""Find attention sinks again on the plain model: the norm above which a token is a sink, and the tokens above it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from actkit.backends import Description
from actkit.backends.actions import Action
from actkit.backends.reference import PlainModel
from actkit.hooks import D_MODEL_WIDE, HookPoint
from actkit.pipeline.forward.sinks import FEWEST, norms_of, usual_text
from actkit.verify.recompute.stored import StoredSequence

Norms = Mapping[HookPoint, float]
"""Hook point → the norm above which a token is a sink."""


def norms_again(model: PlainModel, about: Description, names: Sequence[str]) -> Norms | None:
    """Compute the norms at a run's hook points of width d_model; None where a hook point or the text cannot be used."""
    points = [point for point in map(HookPoint.of, names) if point.name in D_MODEL_WIDE]
    found = usual_text(about.tokenizer, about.context_length)
    if found is None or not all(map(model.has, points)):
        return None
    encoding, plain = found
    if len(plain) < FEWEST or (about.vocabulary is not None and encoding.token_ids.max() >= about.vocabulary):
        return None
    read = model.read(encoding.token_ids.astype(np.int64), points)
    return {HookPoint.of(name): norm for name, norm in norms_of({str(p): x[plain] for p, x in read.items()}).items()}


def other_sinks(
    sequence: StoredSequence, read: Mapping[HookPoint, torch.Tensor], norms: Norms, tolerance: float
) -> Iterator[str]:
    """The first token of a sequence whose `is_sink` contradicts the norm of its vectors by more than `tolerance`."""
    if not norms or not norms.keys() <= read.keys():
        return
    ratios = torch.stack([read[point].float().norm(dim=1).cpu() / norm for point, norm in norms.items()]).amax(0)
    for at, said in enumerate(sequence.spelled["is_sink"].to_pylist()):
        ratio = float(ratios[at])
        if said is not None and said != (ratio > 1) and abs(ratio - 1) > tolerance:
            yield f"{sequence.place}, token {at}: is_sink is {said}, but its norm is {ratio:.3g} of a sink's"
            return


def other_norms(actions: Sequence[Action], norms: Norms, tolerance: float) -> Iterator[str]:
    """The first intervention whose stored `sink_norm` differs from the recomputed norm by more than `tolerance`."""
    for action in actions:
        if action.hook_point is not None:
            right, stated = norms.get(HookPoint.of(action.hook_point)), action.sink_norm
            if (right is None) != (stated is None) or not np.isclose(stated or 0, right or 0, rtol=tolerance):
                yield f"interventions: sink_norm of {action.intervention_id} is {stated}, not {right}"
                return
