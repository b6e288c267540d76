"""Read structs in Thrift's compact protocol, that of Parquet's footers and page headers: field number → value."""

from typing import Any

DEEPEST = 32
Struct = dict[int, Any]


class Compact:
    """Reads Thrift's compact protocol from bytes. Raises ValueError for bytes that are not in it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        """How many bytes have been read."""

    def struct(self, depth: int = 0) -> Struct:
        """Read the next struct: field number → value."""
        if depth > DEEPEST:
            raise ValueError("a footer that is nested too deeply")
        found: Struct = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # a flag or a byte, within a list
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._number())
        if kind in (9, 10):
            head = self._byte()
            n = self._number() if head >> 4 == 15 else head >> 4
            if n > len(self._data):  # each value takes a byte at least
                raise ValueError("a list longer than the footer")
            return [self._value(head & 15, depth + 1) for _ in range(n)]
        if kind == 11:
            n = self._number()
            kinds = self._byte() if n else 0
            if n > len(self._data):
                raise ValueError("a map longer than the footer")
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(n)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a footer with an unknown type ({kind})")

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ValueError("a footer that ends early")
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, n: int) -> bytes:
        if self.at + n > len(self._data):
            raise ValueError("a footer that ends early")
        self.at += n
        return self._data[self.at - n : self.at]

    def _number(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
            if shift > 63:
                raise ValueError("a footer with a number of too many bytes")

    def _signed(self) -> int:
        number = self._number()
        return (number >> 1) ^ -(number & 1)
