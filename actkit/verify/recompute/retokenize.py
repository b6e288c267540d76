"""Whether the stored texts, tokenized again, are the stored token ids; the tokenizer is called as it is.

A text that is a whole rendering of a chat gets no special tokens; plain text gets the BOS that the run was made with.
A shared beginning is a text cut short, of which the tokens are not defined; those that go on from it have the whole
text. A document's chunks are put together again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from actkit.config import Bos
from actkit.pipeline.data import Ints
from actkit.pipeline.tokens.long_texts import tokens_in
from actkit.pipeline.tokens.tokenize import Tokenizer, leading_bos
from actkit.runs.by_sequence import text_of
from actkit.verify.recompute.stored import StoredSequence, read_document

SHARED = "shared"
IN_ONE_PIECE = 1 << 21
"""Characters, of which tokenizing takes up to 400 MB."""
CHAT_ROLES = frozenset(("system", "user", "assistant", "tool"))


@dataclass
class Retokenized:
    """Counts of the sequences that have been tokenized again."""

    n: int = 0
    same: int = 0
    not_defined: int = 0
    """Shared beginnings, and chunks of a document that is not there to its end yet."""
    documents: set[int] = field(default_factory=set)
    """Records of several shards that have been tokenized again."""
    wrong: list[str] = field(default_factory=list)
    """Where token ids differ, the first few."""

    def count(self, same: bool, what: str) -> None:
        """Count one text."""
        self.n += 1
        self.same += same
        if not same and len(self.wrong) < 3:
            self.wrong.append(what)


@dataclass(frozen=True)
class Retokenizer:
    """The tokenizer, and how the run begins a text."""

    tokenizer: Tokenizer
    bos: Bos
    """As it was resolved: for SAEs, what their training had."""
    chat: bool | None
    """Whether texts are renderings of chats; None where a run may have both, and roles tell."""

    def check(self, run: Path, part: str, record: Sequence[StoredSequence], seen: Retokenized) -> None:
        """Tokenize one record's texts again, which are in a shard of `run`, and compare them with its token ids."""
        if any(sequence.row["chunk"] is not None for sequence in record):
            _check_document(self, run, part, record, seen)
            return
        for sequence in record:
            if sequence.row["side"] == SHARED:
                seen.not_defined += 1
                continue
            n_truncated = sequence.row["n_truncated"]
            again = self._ways(sequence)
            n = len(sequence.token_ids)
            same = any(np.array_equal(ids[:n], sequence.token_ids) and len(ids) == n + n_truncated for ids in again)
            seen.count(same, f"{sequence.place}: {difference(again[0], sequence.token_ids)}")

    def _ways(self, sequence: StoredSequence) -> list[Ints]:
        chat = bool(self.tokenizer.chat_template) and not CHAT_ROLES.isdisjoint(sequence.role)
        wanted = [self.chat] if self.chat is not None else [False, True] if chat else [False]
        return [self.ids(sequence.row["text"], "never" if way else self.bos) for way in wanted]

    def ids(self, text: str, bos: Bos) -> Ints:
        """The token ids of a text: in one piece, so that those made in windows are compared with another way."""
        special = bos != "never"
        if len(text) > IN_ONE_PIECE:
            found = tokens_in(self.tokenizer, text, special, len(text))[0].ids
        else:
            fields = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=False)
            found = np.array(fields["input_ids"], dtype=np.int64)
        own = self.tokenizer.bos_token_id
        if special and own is not None and found[:2].tolist() == [own, own]:  # a text that begins with BOS itself
            found = found[1:]
        begin = leading_bos(self.tokenizer, bos) if bos == "always" else None
        return np.concatenate([[begin], found]) if begin is not None and found[:1].tolist() != [begin] else found


def _check_document(
    how: Retokenizer, run: Path, part: str, record: Sequence[StoredSequence], seen: Retokenized
) -> None:
    """The chunks of one document, put together, without the BOS that each begins with."""
    number = record[0].row["record_id"]
    if number in seen.documents:
        return
    found = read_document(run, part, record)
    if found is None:
        seen.not_defined += len(record)
        return
    if len(found) > len(record):
        seen.documents.add(number)
    begin = leading_bos(how.tokenizer, how.bos)
    for chunk in found:
        if begin is not None and chunk.token_ids[:1].tolist() != [begin]:
            seen.count(False, f"{chunk.place}: the chunk does not begin with BOS ({begin})")
            return
    ids = np.concatenate([chunk.token_ids[begin is not None :] for chunk in found])
    again = how.ids(text_of([chunk.row for chunk in found]), "never")
    same = np.array_equal(again, ids)
    says = "" if same else difference(again, ids)
    for chunk in found:
        seen.count(same, f"{chunk.place}: of its document, {says}")


def difference(again: Ints, stored: Ints) -> str:
    """The first place where two rows of token ids differ."""
    shorter = min(len(again), len(stored))
    apart = np.flatnonzero(again[:shorter] != stored[:shorter])
    if len(apart):
        at = int(apart[0])
        return f"token {at} is {stored[at]}, but {again[at]} when the text is tokenized again"
    return f"{len(stored)} tokens, but {len(again)} when the text is tokenized again"
