"""JSON values one after another out of a file that may be larger than memory."""

import io
import json
from typing import Any

from actkit.errors import InputError


def short(error: Exception) -> str:
    """What a JSON error says, without its position."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(": line ")[0][:200]


PIECE = 1 << 16
"""Characters read at a time to begin with."""


class JsonStream:
    """A JSON text read piece by piece, with the number of the line that it has reached."""

    def __init__(self, file: io.TextIOWrapper, name: str) -> None:
        self._file, self._name = file, name
        self._buffer, self._at, self._piece = "", 0, PIECE
        self.line = 1
        self._decoder = json.JSONDecoder()

    def skip(self, character: str) -> bool:
        """Pass white space, then `character` if it is next."""
        self._pass_space()
        found = self._buffer.startswith(character, self._at)
        self._at += len(character) if found else 0
        return found

    def at_end(self, closing: str) -> bool:
        """Whether the array or the text ends here; an array that is never closed raises InputError."""
        self._pass_space()
        if self._at < len(self._buffer):
            return bool(closing) and self._buffer[self._at] == closing
        if closing:
            raise InputError(f"{self._name}:{self.line}: the JSON array is never closed", "the file may be cut off")
        return True

    def close_array(self) -> None:
        """Pass the end of the array. Raises InputError when anything follows it, which would be lost in silence."""
        self.skip("]")
        if not self.at_end(closing=""):
            raise InputError(
                f"{self._name}:{self.line}: there is more after the end of the JSON array", "put it into one array"
            )

    def value(self) -> Any:
        """The next value; reads on until it is whole."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError as error:
                raise InputError(f"{self._name}:{self.line}: nested too deeply", "flatten the record") from error
            except ValueError as error:
                if not self._may_be_cut(error) or not self._more():
                    raise InputError(
                        f"{self._name}:{self.line}: not JSON ({short(error)})",
                        "the element that begins on this line is broken",
                    ) from error
                continue
            # A number that ends near the end of the buffer may go on: of `1.5` or `1e+5`, `1.` and `1e+` read as 1.
            if end >= len(self._buffer) - 2 and self._more():
                continue
            self.line += self._buffer.count("\n", self._at, end)
            self._at = end
            self._piece = PIECE
            return value

    def _may_be_cut(self, error: ValueError) -> bool:
        """Whether the value may be no worse than not yet read to its end; if not, reading on would be for nothing."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        # Half a word, number or pair of \u escapes is found at most 12 characters before the end of the buffer.
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - 16

    def _pass_space(self) -> None:
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at].isspace():
                self.line += self._buffer[self._at] == "\n"
                self._at += 1
            if self._at < len(self._buffer) or not self._more():
                return

    def _more(self) -> bool:
        try:
            piece = self._file.read(self._piece)
        except UnicodeDecodeError as error:
            raise InputError(f"{self._name}: not valid UTF-8 after line {self.line}", "save it as UTF-8") from error
        if not piece:
            return False
        # Ever larger pieces: one huge value is then decoded a few times, not once a piece.
        self._piece = min(self._piece * 2, 1 << 26)
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return True
