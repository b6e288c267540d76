"""Index of the features active on each token text, with recall and precision, for the search of a page.

The commonest token texts are numbered, and each token of the run has its number (2 bytes); then one pass over
`feature_positions`, a feature at a time, counts how often each is active on each text. Special tokens are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.runs.reader import Ints, left_out, parts, tokens_of

TEXTS = 3_000
"""The commonest token texts, for which a reader can search."""
FEWEST = 3
"""A text of fewer tokens is left out, since its recall would be a share of two."""
BEST = 10
"""Features kept of each text, by F1."""
MOST_TOKENS = 50_000_000
"""Tokens that are numbered, 100 MB; of a longer run only the first."""
NONE = np.uint16(65535)


@dataclass
class TokenIndex:
    """Token texts, and the tokens of a run that have them."""

    texts: list[str]
    counts: Ints
    """[n_texts] tokens with each text."""
    sequence_ids: Ints
    begins: Ints
    """[n_sequences] the row of each sequence's first own token, less that token's position."""
    numbers: npt.NDArray[np.uint16] = field(repr=False)
    """[n_tokens] number of each token's text; NONE for rare texts and special tokens."""
    special: npt.NDArray[np.bool_] = field(repr=False)
    best: list[tuple[npt.NDArray[np.float64], Ints, Ints, Ints]] = field(default_factory=list, repr=False)
    """For each SAE: F1, feature, hits and active tokens [n_texts, BEST]."""

    def rows(self, places: pa.Table) -> Ints:
        """Return the rows of a table's sequences and positions among the numbered tokens; -1 where there is none."""
        sequence_ids, positions = places["sequence_id"].to_numpy(), places["position"].to_numpy().astype(np.int64)
        at = np.minimum(np.searchsorted(self.sequence_ids, sequence_ids), max(len(self.sequence_ids) - 1, 0))
        rows = self.begins[at] + positions
        there = (self.sequence_ids[at] == sequence_ids) & (rows < len(self.numbers))
        found: Ints = np.where(there, rows, -1)
        return found

    def is_special(self, rows: Ints) -> npt.NDArray[np.bool_]:
        """Return [n] whether each of `rows` is known to be a special token."""
        known: npt.NDArray[np.bool_] = rows >= 0
        return known & self.special[rows] if len(self.special) else np.zeros(len(rows), dtype=np.bool_)

    def start_sae(self) -> None:
        """Begin to count another SAE."""
        shape = (len(self.texts), BEST)
        none = [np.zeros(shape, dtype=np.int64) for _ in range(3)]
        self.best.append((np.zeros(shape), none[0], none[1], none[2]))

    def count(self, feature: int, rows: Ints) -> None:
        """Count one feature of the current SAE, active on the tokens `rows`."""
        rows = rows[rows >= 0]
        rows = rows[~self.special[rows]]
        numbers = self.numbers[rows]
        numbers = numbers[numbers != NONE]
        if not len(numbers):
            return
        hits = np.bincount(numbers, minlength=len(self.texts))
        texts = np.flatnonzero(hits)
        f1 = 2 * hits[texts] / (len(rows) + self.counts[texts])
        scores, features, of_hits, active = self.best[-1]
        better = f1 > scores[texts, -1]
        for text, value in zip(texts[better].tolist(), f1[better].tolist(), strict=True):
            at = int(np.searchsorted(-scores[text], -value, side="right"))
            for array, new in ((scores, value), (features, feature), (of_hits, hits[text]), (active, len(rows))):
                array[text, at + 1 :] = array[text, at:-1].copy()
                array[text, at] = new

    def found(self) -> list[Any]:
        """Return for a page: [text, tokens, for each SAE its features as [feature, hits, active]]."""
        listed = []
        for number, text in enumerate(self.texts):
            of_saes = []
            for _, *arrays in self.best:
                rows = zip(*(array[number].tolist() for array in arrays), strict=True)
                of_saes.append([list(row) for row in rows if row[1]])
            listed.append([text, int(self.counts[number]), of_saes])
        return listed


def token_index(run: Path) -> TokenIndex:
    """Number the tokens of a run; no feature is counted yet."""
    totals: dict[str, int] = {}
    for part in parts(run, "tokens"):
        tokens = tokens_of(run, part, ["token"])
        ordinary = tokens.filter(pc.invert(left_out(tokens)))["token"].cast("string").combine_chunks()
        for count in pc.value_counts(ordinary).to_pylist():
            totals[count["values"]] = totals.get(count["values"], 0) + count["counts"]
    kept = sorted((text for text, n in totals.items() if n >= FEWEST), key=lambda text: (-totals[text], text))[:TEXTS]
    number: Mapping[str, int] = {text: at for at, text in enumerate(kept)}
    # Each begins with an empty array, so that a run without tokens has columns too.
    none = np.zeros(0, dtype=np.int64)
    ids, begins, n = [none], [none], 0
    numbers, special = [none.astype(np.uint16)], [none.astype(np.bool_)]
    for part in parts(run, "tokens"):
        if n >= MOST_TOKENS:
            break
        tokens = tokens_of(run, part, ["sequence_id", "position", "token"])
        encoded = tokens["token"].cast("string").combine_chunks().dictionary_encode()
        of_text = np.array([number.get(text, int(NONE)) for text in encoded.dictionary.to_pylist()], dtype=np.uint16)
        own = of_text[encoded.indices.to_numpy()] if len(tokens) else np.zeros(0, dtype=np.uint16)
        is_special = left_out(tokens).to_numpy(zero_copy_only=False).astype(np.bool_)
        own[is_special] = NONE
        sequences, positions = tokens["sequence_id"].to_numpy(), tokens["position"].to_numpy()
        first = np.flatnonzero(np.diff(sequences, prepend=-1))
        ids.append(sequences[first])
        begins.append(n + first - positions[first])
        numbers.append(own)
        special.append(is_special)
        n += len(own)
    counts = np.array([totals[text] for text in kept], dtype=np.int64)
    whole = [np.concatenate(column) for column in (ids, begins)]
    return TokenIndex(kept, counts, whole[0], whole[1], np.concatenate(numbers), np.concatenate(special))
