"""Tokenize the stored texts again with the plain tokenizer, and compare the result with the stored tokens.

A rendered chat gets no special tokens; plain text gets the BOS that the run was made with. The tokens of a shared
beginning are not defined, since its text is cut short; the sequences that continue it have the whole text. A document's
chunks are joined first. Where token ids agree, each token's name, characters and `is_special` must agree too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actkit.backends.token_texts import token_texts
from actkit.config import Bos
from actkit.pipeline.data import Ints
from actkit.pipeline.tokens.long_texts import Tokens, tokens_in
from actkit.pipeline.tokens.spans import counted, covering
from actkit.pipeline.tokens.tokenize import Tokenizer, are_among, leading_bos, special_ids
from actkit.runs.by_sequence import text_of
from actkit.verify.recompute.stored import SPELLED, StoredSequence, read_document

SHARED = "shared"
IN_ONE_PIECE = 1 << 21
"""Characters that are tokenized at once, which takes up to 400 MB."""
CHAT_ROLES = frozenset(("system", "user", "assistant", "tool"))


@dataclass
class Retokenized:
    """Counts of the sequences that have been tokenized again."""

    n: int = 0
    same: int = 0
    not_defined: int = 0
    """Shared beginnings, and chunks of a document whose other chunks are not all there yet."""
    documents: set[int] = field(default_factory=set)
    """Records of several shards that have been tokenized again."""
    wrong: list[str] = field(default_factory=list)
    """The first three differences in words, and each wrong text of a shared beginning."""

    def count(self, same: bool, what: str) -> None:
        """Count one text; `what` says how it differs."""
        self.n += 1
        self.same += same
        if not same and len(self.wrong) < 3:
            self.wrong.append(what)


@dataclass(frozen=True)
class Retokenizer:
    """The tokenizer, and the rules by which the run begins a text."""

    tokenizer: Tokenizer
    bos: Bos
    """As the run resolved it: for SAEs, as in their training."""
    chat: bool | None
    """Whether texts are rendered chats; None where a run may have both, and roles tell which."""
    spells: bool = True
    """Whether names and characters of tokens are compared too: other versions may give others."""

    def check(self, run: Path, part: str, record: Sequence[StoredSequence], seen: Retokenized) -> None:
        """Tokenize the texts of one record in a shard of `run` again, and compare them with its stored tokens."""
        if any(sequence.row["chunk"] is not None for sequence in record):
            _check_document(self, run, part, record, seen)
            return
        first: dict[Any, StoredSequence] = {}
        for sequence in record:
            first.setdefault(sequence.row["parent_id"], sequence)
        for sequence in record:
            whole = first.get(sequence.row["sequence_id"])
            if sequence.row["side"] == SHARED and whole is not None:
                seen.not_defined += 1
                if self.spells and sequence.row["text"] != _beginning(whole, len(sequence.token_ids)):
                    seen.wrong.append(f"{sequence.place}: not the text that {whole.place} begins with")
                continue
            n = len(sequence.token_ids)
            again = self._ways(sequence)
            n_whole = n + sequence.row["n_truncated"]
            fits = [
                found for found in again if len(found) == n_whole and np.array_equal(found.ids[:n], sequence.token_ids)
            ]
            if not fits:
                seen.count(False, f"{sequence.place}: {difference(again[0].ids, sequence.token_ids)}")
                continue
            # The tokens of a shared beginning have their characters in the first sequence that continues it.
            own = 0 if first[sequence.row["parent_id"]] is sequence else sequence.row["start"]
            what = self.misspelled(fits[0].part(own, n), sequence.spelled.slice(own), own)
            seen.count(what is None, f"{sequence.place}: {what}")

    def misspelled(self, again: Tokens, stored: pa.Table, at: int = 0, before: int = 0) -> str | None:
        """Describe the first token whose name, characters or `is_special` differ; None where all agree.

        `at` is the index of the first token; `before` counts the characters before the text that was tokenized again.
        """
        if not self.spells:
            return None
        tokenizer: Any = self.tokenizer
        distinct, which = np.unique(again.ids, return_inverse=True)
        names = np.array(token_texts(tokenizer, distinct.tolist()), dtype=object)
        special = are_among(again.ids, special_ids(tokenizer)[0])
        right = (names[which], again.start + before, again.end + before, special)
        for name, values in zip(SPELLED, right, strict=True):
            old = stored[name].to_numpy()
            apart = np.flatnonzero(old != values)
            if len(apart):
                row = int(apart[0])
                was, new = stored[name][row].as_py(), values.tolist()[row]
                return f"{name} of token {at + row} is {was!r:.60}, but {new!r:.60} by the tokenizer"
        return None

    def _ways(self, sequence: StoredSequence) -> list[Tokens]:
        chat = bool(self.tokenizer.chat_template) and not CHAT_ROLES.isdisjoint(sequence.role)
        wanted = [self.chat] if self.chat is not None else [False, True] if chat else [False]
        return [self.tokens(sequence.row["text"], "never" if way else self.bos) for way in wanted]

    def tokens(self, text: str, bos: Bos) -> Tokens:
        """The tokens of a text, made in one piece, as a check of runs that tokenize in windows."""
        special = bos != "never"
        if len(text) > IN_ONE_PIECE:
            found = tokens_in(self.tokenizer, text, special, len(text))[0]
        else:
            fields = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
            ids = list(fields["input_ids"])
            spans = counted(self.tokenizer, ids, [tuple(span) for span in fields["offset_mapping"]], text)
            found = Tokens(np.array(ids, dtype=np.int64), *np.array(spans, dtype=np.int64).reshape(len(ids), 2).T)
        own = self.tokenizer.bos_token_id
        if special and own is not None and found.ids[:2].tolist() == [own, own]:  # a text that begins with BOS itself
            found = found.part(1)
        begin = leading_bos(self.tokenizer, bos) if bos == "always" else None
        if begin is not None and found.ids[:1].tolist() != [begin]:
            found = Tokens(
                *(np.concatenate([[begins], column]) for begins, column in zip((begin, 0, 0), found, strict=True))
            )
        return Tokens(found.ids, *covering(found.start, found.end, len(text)))


def _beginning(whole: StoredSequence, length: int) -> str:
    """The text of the first `length` tokens of a sequence; U+FFFD for a character that is cut."""
    end = whole.spelled["char_end"][length - 1].as_py()
    least = end if length >= len(whole.spelled) else min(end, whole.spelled["char_start"][length].as_py())
    text: str = whole.row["text"][:least] + "\ufffd" * (end - least)
    return text


def _check_document(
    how: Retokenizer, run: Path, part: str, record: Sequence[StoredSequence], seen: Retokenized
) -> None:
    """Join the chunks of one document, without the BOS that each begins with, and compare their tokens."""
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
    again = how.tokens(text_of([chunk.row for chunk in found]), "never")
    if np.array_equal(again.ids, ids):
        stored = pa.concat_tables([chunk.spelled.slice(begin is not None) for chunk in found])
        # If the text itself begins with BOS, the first chunk's BOS is that one.
        says = how.misspelled(again, stored, before=found[0].row["char_offset"])
    else:
        says = difference(again.ids, ids)
    for chunk in found:
        seen.count(says is None, f"{chunk.place}: of its document, {says}")


def difference(again: Ints, stored: Ints) -> str:
    """Describe the first place where two rows of token ids differ."""
    shorter = min(len(again), len(stored))
    apart = np.flatnonzero(again[:shorter] != stored[:shorter])
    if len(apart):
        at = int(apart[0])
        return f"token {at} is {stored[at]}, but {again[at]} when the text is tokenized again"
    return f"{len(stored)} tokens, but {len(again)} when the text is tokenized again"
