"""The texts around the tokens that a table's features are shown by: gathered in one pass, and read block by block."""

from pathlib import Path

import numpy as np

from actkit.analysis.scratch_file import Spill
from actkit.analysis.windows import Windows, texts_of, windows_of
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
        self._kept: list[list[tuple[Ints, Ints]]] = [[] for _ in range(n_blocks)]
        """Of each block, part by part: which tokens, and the lengths of their texts."""
        try:
            for where, data, lengths in texts_of(run, sequences, positions, blocks):
                number = int(blocks[where[0]])
                self._files[number].write(data)
                self._kept[number].append((where - self._firsts[number], lengths))
        except BaseException:
            self.close()
            raise

    def block(self, number: int) -> Windows:
        """The texts of one block's tokens, in their order."""
        kept = self._kept[number] if number < len(self._kept) else []
        n_bytes = sum(int(lengths.sum()) for _, lengths in kept)
        data = self._files[number].read(0, n_bytes, np.uint8) if kept else np.zeros(0, dtype=np.uint8)
        return windows_of([own for own, _ in kept], [lengths for _, lengths in kept], data)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            file.close()
