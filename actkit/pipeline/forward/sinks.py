"""Attention sinks: tokens whose vectors are many times as long as others', and say as little of the text as a BOS.

Without a BOS, models make the first token a sink, whatever it is, and some models further tokens (Sun et al. 2024,
Massive Activations in Large Language Models). A token is a sink if its norm exceeds 10 × the usual norm at one of the
run's hook points. SAE training leaves sinks out by this measure (`max_activation_norm_multiple`, dictionary_learning).

The usual norm is the median over a fixed text, not over the run's tokens. So whether a token is a sink does not depend
on the rest of its batch, its shard or the input, and parts of a run can be computed apart.
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
"""The least norm of a sink, as a multiple of the usual norm at the hook point."""
FEWEST = 8
"""Fewest tokens of the fixed text that give a usual norm."""
LONGEST = 96
"""Most tokens of the fixed text that are run."""
TEXT = """In the morning the fishermen pulled their boats over the sand and down to the water. The sea was calm, and a \
light wind came from the hills behind the village. "We shall be back before noon," said the oldest of them, "if the \
weather stays as it is." Three hours later, 14 boats had returned, each with more fish than on the day before; only \
one was missing. Nobody worried, for its owner liked to sail to the island in the south, where he sold what he had \
caught and bought bread, oil and new ropes for the winter."""


def usual_text(tokenizer: Tokenizer, context_length: int | None) -> tuple[Encoding, Ints] | None:
    """Tokenize the fixed text; return it with the positions whose norms are usual; None if the tokenizer cannot."""
    try:
        encoding, _ = truncate(encode_text(tokenizer, TEXT), min(LONGEST, context_length or LONGEST))
    except RecordError:
        return None
    # Without a BOS the first token is a sink itself.
    return encoding, np.flatnonzero(~encoding.is_special)[1:].astype(np.int64)


def sink_norms(model: Model, hook_points: Sequence[HookPoint]) -> dict[str, float]:
    """Hook point → the norm above which a token is a sink, for hook points as wide as the residual stream.

    Empty where the fixed text cannot be run: the model has no embedding for one of its tokens, or they are too few.
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
    """[n] Whether each kept position is a sink at any of the hook points in `norms`."""
    found: torch.Tensor | None = None
    for name, most in norms.items():
        part = activations.get(name)
        if isinstance(part, torch.Tensor):
            above = _norms(part) > most
            # Hook points of a model on several devices may be on different ones.
            found = above if found is None else found | above.to(found.device)
    return np.zeros(n, dtype=np.bool_) if found is None else to_host(found).numpy()


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    """[n] Compute norms as float32 from vectors of any dtype: a float16 sum of squares would overflow."""
    wide = torch.promote_types(vectors.dtype, torch.float32)  # torch refuses float32 for float64
    norms: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=wide).float()
    return norms
