"""The values that travel between the stages, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from actkit.pipeline.input.records import Record as Record
from actkit.pipeline.input.records import Rejected as Rejected

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
KINDS = 4
"""Kinds of sequences that share no row of a batch; see `TokenSequence.kind`."""


@dataclass(frozen=True)
class Encoding:
    """A text and its tokens; all arrays have one entry a token."""

    text: str
    """Exactly what was tokenized, special tokens of a chat template included."""
    token_ids: Ints
    char_start: Ints
    char_end: Ints
    """`text[char_start:char_end]` is a token's part of the text; several tokens may share one character."""
    is_special: Bools
    """Whether a token is BOS, a role marker or the like: an id that is no text."""
    role: tuple[str | None, ...]
    """In a chat, the role of each token's message, or `template`; None elsewhere."""
    special_in_text: int = 0
    """The number of special tokens typed into the text itself, where they act as control tokens."""
    unknown_id: int | None = None
    """The token that stands for characters outside of the vocabulary, where the tokenizer has one."""
    n_beyond: int = 0
    """The number of tokens of a long text after these: they were only counted, since no model runs so many."""

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def n_whole(self) -> int:
        """The number of tokens of the whole text."""
        return len(self) + self.n_beyond

    @property
    def n_unknown(self) -> int:
        """The number of tokens that stand for characters outside of the vocabulary, which the model does not see."""
        return 0 if self.unknown_id is None else int((self.token_ids == self.unknown_id).sum())

    @property
    def text_end(self) -> int:
        """The position after the last token of the text: an EOS or [SEP] that the tokenizer adds is left out."""
        own = np.flatnonzero(~(self.is_special & (self.char_start == self.char_end)))
        return int(own[-1]) + 1 if len(own) else len(self)


@dataclass(frozen=True)
class TokenSequence:
    """One sequence of tokens that the model runs, and its positions that are kept.

    A sequence with a `parent` continues it: both have the same token ids before `start`, and these positions are
    computed once for all children of the parent.
    """

    record_id: int
    encoding: Encoding
    keep: Ints
    """Absolute positions to keep, ascending, each in [start, len(encoding))."""
    side: str | None = None
    sequence_id: int = -1
    parent: int | None = None
    """sequence_id of the parent; in the result of a recipe's `prepare`, its index among the record's sequences."""
    start: int = 0
    response_start: int | None = None
    """First position of the response, where there is one."""
    n_truncated: int = 0
    """Tokens cut off the end to fit the context."""
    group: str | None = None
    label: str | None = None
    template: str | None = None
    """The wording around the record's own text, where there are several."""
    score: float | None = None
    """The record's weight in statistics, where it has one."""
    chunk: int | None = None
    """Number of this chunk in its document, where documents are cut into chunks."""
    char_offset: int = 0
    """Where in the document the encoding's text begins."""
    boundary_merged: bool = False
    """Whether the token at `response_start` also holds text before the response."""
    steered: Bools | None = None
    """[n_tokens]: whether interventions act at a position; None in a run without interventions."""
    kind: int = 0
    """Sequences of different kinds, 0 to KINDS - 1, are run under different interventions and share no row."""

    @property
    def alike(self) -> Ints:
        """[n_tokens]: two sequences share a position only where this is equal: token, whether steered, and kind."""
        own = 2 * self.encoding.token_ids + (0 if self.steered is None else self.steered)
        return KINDS * own + self.kind


@dataclass(frozen=True)
class Batch:
    """The input of one forward pass: rows padded on the right, and the rows and columns of the kept positions."""

    input_ids: torch.Tensor
    """[batch, column] int64."""
    positions: torch.Tensor
    """[batch, column] int64: the position that each column has in its sequence."""
    tree: torch.Tensor | None
    """[batch, query column, key column] bool, true where a column may attend; None when every row is one sequence."""
    rows: torch.Tensor
    columns: torch.Tensor
    """[n] each: row and column of each kept position."""
    sequence_ids: Ints
    kept_positions: Ints
    is_special: Bools
    """[n] each: sequence and position of each kept position, and whether it is a special token."""
    steered: torch.Tensor | None = None
    """[batch, column] bool: where interventions act; None where no sequence has `steered`."""
    contents: Ints | None = None
    """[n]: a hash (CRC-32) of the token ids of each kept position's sequence."""


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length, end to end: attention patterns, where position p has n_heads × (p + 1) values."""

    values: torch.Tensor
    widths: Ints


@dataclass(frozen=True)
class Kept:
    """The activations of the kept positions of one batch, without padding."""

    sequence_ids: Ints
    """[n]"""
    positions: Ints
    """[n]"""
    is_special: Bools
    """[n]: special tokens are kept, but left out of statistics."""
    activations: Mapping[str, torch.Tensor | Ragged]
    """Hook point → [n, width], on the model's device; after `forward_steered` see `forward.steered.LOGPROB`."""
    contents: Ints | None = None
    """[n]: as in `Batch`. SAE health samples tokens by it, or by `sequence_ids` where it is None."""
    is_sink: Bools | None = None
    """[n]: attention sinks are kept, but left out of statistics; None where no sinks were looked for."""

    @property
    def plain(self) -> Bools:
        """[n]: the rows that statistics include, neither special tokens nor sinks."""
        return ~self.is_special if self.is_sink is None else ~(self.is_special | self.is_sink)
