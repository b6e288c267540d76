"""The texts around the tokens that a table's features are shown by: gathered in one pass, and read block by block."""

from pathlib import Path
from types import TracebackType

import numpy as np

from actkit.analysis.contexts import Windows, joined, texts_of
from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Ints


class ContextFile:
    """Texts around tokens [n], of which each block's wait in a temporary file of their own."""

    def __init__(self, run: Path, sequences: Ints, positions: Ints, blocks: Ints, scratch: Path) -> None:
        """One pass over the run's text; `blocks` [n] says, ascending, in which block each token is read again.

        Raises WriteError where a file in `scratch` cannot be written.
        """
        n_blocks = int(blocks.max(initial=-1)) + 1
        self._firsts = np.searchsorted(blocks, np.arange(n_blocks + 1))
        self._files = [Spill(scratch) for _ in range(n_blocks)]
        self._kept: list[list[tuple[Ints, int, Ints]]] = [[] for _ in range(n_blocks)]
        """Of each block, part by part: which tokens, where their texts begin in the file, and their lengths."""
        try:
            for where, texts in texts_of(run, sequences, positions):
                for number in np.unique(blocks[where]).tolist():
                    mine = np.flatnonzero(blocks[where] == number)
                    own = texts.taken(mine)
                    begin = self._files[number].write(own.to_bytes())
                    self._kept[number].append((where[mine], begin, own.lengths))
        except BaseException:
            self.close()
            raise

    def block(self, number: int) -> Windows:
        """The texts of one block's tokens, in their order."""
        if number >= len(self._files):
            return joined([])
        found, tokens = [], []
        for where, begin, lengths in self._kept[number]:
            data = self._files[number].read(begin, int(lengths.sum()), np.uint8)
            found.append(Windows.from_bytes(data, lengths))
            tokens.append(where)
        return joined(found).taken(np.argsort(np.concatenate(tokens)))

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> "ContextFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
