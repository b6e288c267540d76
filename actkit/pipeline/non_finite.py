"""Find, among the texts that share a row, the one with a NaN or an infinity, and its first such token.

Where texts share a row, a NaN of one text spreads to all: attention gives tokens that it masks a weight of 0, and 0
times NaN is NaN. Within one text a NaN spreads to earlier tokens in the same way. So each text that may have been in
the row is run alone; then ever shorter beginnings of the text are run, to find the token.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from actkit.errors import NonFiniteError
from actkit.pipeline.data import TokenSequence
from actkit.pipeline.forward.prefix_trees import SHORTEST, common, end_of
from actkit.pipeline.tokens.chunks import truncate

Alone = Callable[[TokenSequence], NonFiniteError | None]
"""Runs one text by itself and returns the error, or None."""


def holder_of(error: NonFiniteError, sequences: Sequence[TokenSequence], alone: Alone) -> NonFiniteError:
    """Return the error of the first text, and token, that has it when run alone; `error` itself where none has."""
    if not error.spreads:
        return error
    named = next(sequence for sequence in sequences if sequence.sequence_id == error.sequence_id)
    for sequence in sequences:
        if not len(sequence.keep) or common(named, sequence) < min(SHORTEST, end_of(named), end_of(sequence)):
            continue
        found = alone(sequence)
        if found is not None:
            return _first(found, sequence, alone)
    return error


def _first(error: NonFiniteError, sequence: TokenSequence, alone: Alone) -> NonFiniteError:
    """Find, by bisection, the shortest beginning of the text that has the error; return the error at its last token."""
    at = error.position
    if at is None:
        return error
    lengths = range((at if at == 0 or at - 1 in sequence.keep else 0) + 1, end_of(sequence) + 1)
    first = bisect_left(lengths, True, key=lambda n: alone(_up_to(sequence, n)) is not None)
    found = alone(_up_to(sequence, lengths[first])) if first < len(lengths) else None
    return error if found is None else found


def _up_to(sequence: TokenSequence, n: int) -> TokenSequence:
    """Return the first n tokens of a sequence, of which the last is read."""
    steered = None if sequence.steered is None else sequence.steered[:n]
    keep = np.array([n - 1], dtype=np.int64)
    return replace(sequence, encoding=truncate(sequence.encoding, n)[0], keep=keep, steered=steered)
