"""Attention sinks: tokens whose vectors are many times as long as any other's, and no more about the text than a BOS.

Models without BOS make one of the first token, whatever it is, and some of further tokens (Sun et al. 2024, Massive
Activations in Large Language Models). A token is a sink where its norm is above 10 × the usual at one of the run's hook
points: the measure by which SAE training leaves them out (`max_activation_norm_multiple` of dictionary_learning).

The usual norm is the median over a fixed text, not over the run's tokens: whether a token is a sink must not depend on
what else is in a batch, a shard or the input, so that parts of a run can be computed apart.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from actkit.backends import Model
from actkit.backends.tensors import to_host
from actkit.errors import RecordError
from actkit.hooks import D_MODEL_WIDE, HookPoint
from actkit.pipeline.data import Bools, Encoding, Ints, Ragged, TokenSequence
from actkit.pipeline.forward.batches import plan
from actkit.pipeline.forward.out_of_memory import free, is_out_of_memory
from actkit.pipeline.forward.run_batch import forward
from actkit.pipeline.tokens.chunks import truncate
from actkit.pipeline.tokens.tokenize import Tokenizer, encode_text

TIMES = 10.0
"""A sink's norm, as a multiple of the usual one at the hook point."""
FEWEST = 8
"""Tokens of the fixed text, below which it has no usual norm."""
LONGEST = 96
"""Tokens of the fixed text that are run."""
TEXT = """In the morning the fishermen pulled their boats over the sand and down to the water. The sea was calm, and a \
light wind came from the hills behind the village. "We shall be back before noon," said the oldest of them, "if the \
weather stays as it is." Three hours later, 14 boats had returned, each with more fish than on the day before; only \
one was missing. Nobody worried, for its owner liked to sail to the island in the south, where he sold what he had \
caught and bought bread, oil and new ropes for the winter."""


def usual_text(tokenizer: Tokenizer, context_length: int | None) -> tuple[Encoding, Ints] | None:
    """The fixed text, and the positions whose norms are usual ones; None where the tokenizer cannot take the text."""
    try:
        encoding, _ = truncate(encode_text(tokenizer, TEXT), min(LONGEST, context_length or LONGEST))
    except RecordError:
        return None
    # Without a BOS the first one is a sink itself.
    return encoding, np.flatnonzero(~encoding.is_special)[1:].astype(np.int64)


def sink_norms(model: Model, hook_points: Sequence[HookPoint]) -> dict[str, float]:
    """Hook point → the norm above which a token is a sink, for those that read or write the residual stream.

    Empty where the fixed text cannot be run: its tokens are not the model's, or too few.
    """
    points = [point for point in hook_points if point.name in D_MODEL_WIDE]
    about = model.description
    found = usual_text(about.tokenizer, about.context_length)
    if found is None or not points:
        return {}
    encoding, plain = found
    if about.vocabulary is not None and int(encoding.token_ids.max()) >= about.vocabulary:
        return {}
    while len(plain) >= FEWEST:
        sequence = TokenSequence(0, encoding, plain, sequence_id=0)
        batch = next(plan([sequence], LONGEST, False, about.d_model))
        try:
            activations = forward(model, batch, points).activations
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            free()
            plain = plain[: len(plain) // 2]
            continue
        read = {name: part for name, part in activations.items() if isinstance(part, torch.Tensor)}
        return norms_of(read)
    return {}


def norms_of(read: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Hook point → the norm above which a token is a sink, from the vectors [n, width] of the fixed text."""
    medians = {name: float(_norms(part).median()) for name, part in read.items()}
    return {name: TIMES * found for name, found in medians.items() if 0 < found < np.inf}


def are_sinks(activations: Mapping[str, torch.Tensor | Ragged], norms: Mapping[str, float], n: int) -> Bools:
    """[n] which of the kept positions are sinks, at any of the hook points in `norms`."""
    found: torch.Tensor | None = None
    for name, most in norms.items():
        part = activations.get(name)
        if isinstance(part, torch.Tensor):
            above = _norms(part) > most
            # Of a model on several devices, hook points may be on different ones.
            found = above if found is None else found | above.to(found.device)
    return np.zeros(n, dtype=np.bool_) if found is None else to_host(found).numpy()


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    """[n] float32, whatever the vectors are: a float16 sum of squares would overflow."""
    wide = torch.promote_types(vectors.dtype, torch.float32)  # torch refuses float32 for float64
    norms: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=wide).float()
    return norms
