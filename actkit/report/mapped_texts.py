"""The texts of a run, laid out once so that the viewer cuts contexts out of them without decoding forty parts."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.by_sequence import TokenizedText, tokens_along
from actkit.runs.mapped_table import MappedTable, mapped_table
from actkit.runs.reader import path_of

ROW = ("sequence_id", "record_id", "label", "parent_id", "char_offset", "n_tokens", "text")
TOKEN = ("sequence_id", "position", "token", "char_start", "char_end", "is_special")
BYTES_A_TOKEN, ROOM = 48, 2
"""What a token takes in the temporary files with its share of the text, about; and how often that is to be free."""
BESIDE = 16
"""Tokens looked at beyond those that are asked for: tokens that share a character are drawn as one."""


@dataclass(frozen=True)
class MappedTexts:
    """The sequences and tokens of a run."""

    sequences: MappedTable
    tokens: MappedTable

    def near(self, sequence: int, position: int, around: int) -> TokenizedText:
        """A sequence with its tokens within `around` of a position alone, and the text of these.

        Raises KeyError for a sequence that there is not, RunError where one that it continues is not there.
        """
        rows = {sequence: self._row(sequence)}
        ahead = rows[sequence]["parent_id"]
        while ahead is not None and ahead not in rows and self.sequences.of_sequence(ahead) is not None:
            rows[ahead] = self._row(ahead)
            ahead = rows[ahead]["parent_id"]
        first, last = position - around - BESIDE, position + around + BESIDE
        own = {owner: self._tokens(owner, first, last) for owner in path_of(sequence, rows)}
        tokens = tuple(tokens_along(rows, own, sequence))
        if not tokens:
            return TokenizedText({**rows[sequence], "text": ""}, ())
        begin, end = tokens[0]["char_start"], max(token["char_end"] for token in tokens)
        text = rows[sequence]["text"] or ""
        for inside in tokens:
            inside["char_start"] -= begin
            inside["char_end"] -= begin
        return TokenizedText({**rows[sequence], "text": text[begin:end]}, tokens)

    def _row(self, sequence: int) -> dict[str, Any]:
        found = self.sequences.of_sequence(sequence)
        if found is None:
            raise KeyError(sequence)
        row: dict[str, Any] = found.to_pylist()[0]
        return row

    def _tokens(self, sequence: int, first: int, last: int) -> list[dict[str, Any]]:
        rows = self.tokens.of_sequence(sequence)
        if rows is None:
            return []
        begin, end = rows["position"].to_numpy().searchsorted([first, last + 1]).tolist()
        return [{**row, "role": None} for row in rows.slice(begin, end - begin).to_pylist()]


def mapped_texts(run: Path, n_tokens: int) -> MappedTexts | None:
    """The texts of a run of about `n_tokens`; None where the folder for temporary files has no room for them.

    Raises WriteError where it fills meanwhile.
    """
    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM * BYTES_A_TOKEN * n_tokens:
        return None
    return MappedTexts(mapped_table(run, "sequences", ROW), mapped_table(run, "tokens", TOKEN, _names_of_special))


def _names_of_special(tokens: pa.Table) -> pa.Table:
    """The texts of special tokens alone: those of the others are in the sequence's."""
    names = pc.if_else(tokens["is_special"], tokens["token"].cast(pa.string()), pa.scalar(None, pa.string()))
    return tokens.set_column(tokens.column_names.index("token"), "token", names)
