"""Read JSON values one after another from a file that may be larger than memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from actkit.errors import InputError
from actkit.pipeline.input import files as opened
from actkit.pipeline.input.files import too_long
from actkit.pipeline.input.json_values import DEEPEST, JsonValues, short
from actkit.pipeline.input.packed import DAMAGED

Item = tuple[int, Any, str | None]
"""The line on which a value begins, the value, and its fault, if it has one."""
PIECE = 1 << 16
"""Bytes read at first; a long value is read in ever larger pieces."""
SPACE = re.compile(r"[ \t\n\r]*")


def broken(text: str) -> bool:
    """Whether `text` has bytes that are not UTF-8, as surrogateescape marks them."""
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


class JsonStream:
    """Reads a JSON text piece by piece; `line` is the number of the line reached."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self._text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._buffer, self._at, self._piece = "", 0, PIECE
        self._begun = False
        self._values = JsonValues()
        self.line = 1
        self._failed: Exception | None = None

    def skip(self, character: str) -> bool:
        """Pass white space, then `character` if it is next."""
        self._pass_space()
        found = self._buffer.startswith(character, self._at)
        self._at += len(character) if found else 0
        return found

    def next_character(self) -> str:
        """Return the next character that is not white space, without reading past it; empty at the end."""
        self._pass_space()
        return self._buffer[self._at : self._at + 1]

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that begins here; the caller reads the value of each before it takes the next.

        Raises InputError where no object begins here, or it is broken.
        """
        if not self.skip("{"):
            raise self._broken("no object begins here")
        while not self.skip("}"):
            key, _ = self.value()
            if not isinstance(key, str) or not self.skip(":"):
                raise self._broken("an object needs keys in quotes, each followed by a colon")
            self._pass_space()
            yield key
            if not self.skip(",") and self.next_character() != "}":
                raise self._broken("the object is never closed")

    def keys(self) -> Iterator[str]:
        """Yield the keys of the object that begins here, and read it to its end."""
        for key in self.members():
            yield key
            self.pass_value()

    def elements(self) -> Iterator[Item]:
        """Yield the elements of the array that begins here. Raises InputError for no array, or one that is broken."""
        if not self.skip("["):
            raise self._broken("no array begins here")
        while not self.at_end(closing="]"):
            yield self.item()
            if not self.skip(",") and self.next_character() not in ("]", ""):
                raise self._broken("elements need a comma between them")
        self.skip("]")

    def pass_value(self, depth: int = 0) -> None:
        """Read past the next value, with no more than one element of its arrays and objects in memory."""
        first = self.next_character()
        if depth > DEEPEST:
            raise self._broken("nested too deeply")
        if first == "[":
            self.skip("[")
            self.pass_elements(depth)
        elif first == "{":
            for _ in self.members():
                self.pass_value(depth + 1)
        else:
            self.value()

    def pass_elements(self, depth: int = 0) -> int:
        """Read past the rest of an array whose bracket was read; return the number of elements passed."""
        count = 0
        while not self.at_end(closing="]"):
            self.pass_value(depth + 1)
            count += 1
            self.skip(",")
        self.skip("]")
        return count

    def _error(self, what: str, hint: str) -> InputError:
        return InputError(f"{self._name}:{self.line}: {what}", hint)

    def _broken(self, why: str) -> InputError:
        return self._error(f"not JSON ({why})", "the file may be damaged")

    def at_end(self, closing: str) -> bool:
        """Whether the array or the text ends here. Raises InputError for an array that is never closed."""
        self._pass_space()
        if self._at < len(self._buffer):
            return bool(closing) and self._buffer[self._at] == closing
        if closing:
            raise self._error("the JSON array is never closed", "the file may be cut off")
        return True

    def check_end(self, of: str) -> None:
        """Raise InputError when anything follows an array or object: it would be lost in silence."""
        if not self.at_end(closing=""):
            raise self._error(f"there is more after the end of the {of}", "put it into one array")

    def item(self) -> Item:
        """Return the next value with its line; white space before it must have been passed. See `value`."""
        line = self.line
        return line, *self.value()

    def value(self) -> tuple[Any, str | None]:
        """Read the next value to its end; return it and its fault, if it has one.

        Raises InputError where it is not JSON: then nobody can tell where the next value begins.
        """
        while True:
            try:
                value, end, fault = self._values.at(self._buffer, self._at)
            except RecursionError as error:
                raise self._error("nested too deeply", "flatten the record") from error
            except ValueError as error:
                if not self._may_be_cut(error) or not self._more():
                    why = f"not JSON ({short(error)})"
                    raise self._error(why, "the element that begins on this line is broken") from error
                continue
            # A number that ends near the end of the buffer may continue: parts of `1.5` and `1e+5` read as 1.
            may_go_on = isinstance(value, (int, float)) and end >= len(self._buffer) - 2
            if may_go_on and self._more():
                continue
            if broken(self._buffer[self._at : end]):
                fault = "not valid UTF-8"
            self.line += self._buffer.count("\n", self._at, end)
            self._at = end
            self._piece = PIECE
            return value, fault

    def _may_be_cut(self, error: ValueError) -> bool:
        """Whether the error may come only from a value that is not read to its end; if not, reading on is useless."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        # Half a word, number or pair of \u escapes is found at most 12 characters before the end of the buffer.
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - 16

    def _pass_space(self) -> None:
        while True:
            space = SPACE.match(self._buffer, self._at)
            end = space.end() if space else self._at
            self.line += self._buffer.count("\n", self._at, end)
            self._at = end
            if self._at < len(self._buffer) or not self._more():
                return

    def _more(self) -> bool:
        if len(self._buffer) - self._at > opened.MOST:
            raise self._error(too_long(), "a record is that long; is the file damaged?")
        raw = self._read()
        piece = self._text.decode(raw, final=not raw)
        if not raw and not piece:
            return False
        if piece and not self._begun:
            self._begun = True
            piece = piece.removeprefix("\ufeff")
        # Ever larger pieces: a huge value is then decoded a few times, not once a piece.
        self._piece = min(self._piece * 2, 1 << 26)
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return True

    def _read(self) -> bytes:
        """Return the next bytes; for a damaged file, first the intact part, then raise the error."""
        if self._failed is not None:
            raise self._failed
        parts: list[bytes] = []
        left = self._piece
        while left > 0:
            try:
                part = self._file.read1(left)  # type: ignore[attr-defined]  # which every buffered file has
            except (OSError, *DAMAGED) as error:
                if not parts:
                    raise
                self._failed = error
                break
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
