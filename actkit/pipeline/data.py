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
    """`text[char_start:char_end]` is what a token stands for; several tokens may share one character."""
    is_special: Bools
    """BOS, role markers and the like: ids that are no text."""
    role: tuple[str | None, ...]
    """In a chat the role of the message that a token belongs to, or `template`; None elsewhere."""
    special_in_text: int = 0
    """How many special tokens were typed inside the text itself, where they act as control tokens."""
    unknown_id: int | None = None
    """The token that stands for characters outside of the vocabulary, where the tokenizer has one."""
    n_beyond: int = 0
    """Tokens of a long text after these. They were only counted, since no model runs so many."""

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def n_whole(self) -> int:
        """Tokens of the whole text."""
        return len(self) + self.n_beyond

    @property
    def n_unknown(self) -> int:
        """The number of tokens for characters outside of the vocabulary: the model does not see what they were."""
        return 0 if self.unknown_id is None else int((self.token_ids == self.unknown_id).sum())

    @property
    def text_end(self) -> int:
        """One past the last token of the text: an EOS or [SEP] that the tokenizer puts after it is left out."""
        own = np.flatnonzero(~(self.is_special & (self.char_start == self.char_end)))
        return int(own[-1]) + 1 if len(own) else len(self)


@dataclass(frozen=True)
class TokenSequence:
    """One path of tokens through the model, and the positions of it that are kept.

    A sequence with a `parent` continues it: positions before `start` are the parent's, have the same token ids there,
    and are computed once for all of the parent's children.
    """

    record_id: int
    encoding: Encoding
    keep: Ints
    """Absolute positions to keep, ascending, each in [start, len(encoding))."""
    side: str | None = None
    sequence_id: int = -1
    parent: int | None = None
    """sequence_id of the parent; within a recipe's answer, its index in that answer."""
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
    """Number of this piece in its document, where documents are cut into chunks."""
    char_offset: int = 0
    """Where in the document the encoding's text begins."""
    boundary_merged: bool = False
    """The token at `response_start` also holds text before the response."""
    steered: Bools | None = None
    """[n_tokens]: the positions at which interventions act; None where the model runs as it is."""
    kind: int = 0
    """Sequences of different kinds, 0 to KINDS - 1, are run under different interventions and share no row."""

    @property
    def alike(self) -> Ints:
        """[n_tokens]: two sequences share a position only where this is equal: token, whether steered, and kind."""
        own = 2 * self.encoding.token_ids + (0 if self.steered is None else self.steered)
        return KINDS * own + self.kind


@dataclass(frozen=True)
class Batch:
    """The input of one forward pass: rows padded on the right, and the places of the kept positions."""

    input_ids: torch.Tensor
    """[batch, column] int64."""
    positions: torch.Tensor
    """[batch, column] int64: the position that each column has in its sequence."""
    tree: torch.Tensor | None
    """[batch, query column, key column] bool, true where a column may attend; None when every row is one sequence."""
    rows: torch.Tensor
    columns: torch.Tensor
    """[n] each: where the kept positions are."""
    sequence_ids: Ints
    kept_positions: Ints
    is_special: Bools
    """[n] each: the sequence and the position of each kept one, and whether it is a special token."""
    steered: torch.Tensor | None = None
    """[batch, column] bool: where interventions act; None where no sequence says."""
    contents: Ints | None = None
    """[n]: a number for the token ids of each kept position's sequence."""


@dataclass(frozen=True)
class Ragged:
    """Rows of unequal length, end to end: attention patterns, where position p has n_heads × (p + 1) values."""

    values: torch.Tensor
    widths: Ints


@dataclass(frozen=True)
class Kept:
    """The activations of the kept positions of one batch: no padding ever gets here."""

    sequence_ids: Ints
    """[n]"""
    positions: Ints
    """[n]"""
    is_special: Bools
    """[n]: special tokens are kept, but left out of statistics."""
    activations: Mapping[str, torch.Tensor | Ragged]
    """Hook point → [n, d_model], on the model's device."""
    contents: Ints | None = None
    """[n]: a number for the token ids of each row's sequence, the seed of sampling tokens; None without it."""
    is_sink: Bools | None = None
    """[n]: attention sinks are kept, and left out likewise; None where that is not looked at."""

    @property
    def plain(self) -> Bools:
        """[n]: what statistics are over, neither special tokens nor sinks."""
        return ~self.is_special if self.is_sink is None else ~(self.is_special | self.is_sink)
