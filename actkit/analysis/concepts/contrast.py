"""Read contrast pairs back from a run: which texts belong together, and a vector for each side and hook point."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from actkit.analysis.concepts.paired import Paired, VectorFile
from actkit.analysis.digests import codes_of, digests_of
from actkit.analysis.scratch_file import Spill
from actkit.runs.reader import Floats, Ints, Rows, is_special, part_of, parts, rows_of, special_keys

MOST = 1000
"""Different answers that are counted; where there are more, answers do not differ by the same few words."""
LONGEST = 40
"""The most characters of an answer that counts as such a word."""
Vectors = Floats | VectorFile
IN_MEMORY = 1 << 21
"""The most numbers of both sides at one hook point that are not put into a file: 8 MB."""


@dataclass
class AnswerWords:
    """Counts of the words that answers differ by, on the positive and on the negative side, such as (A) and (B).

    Where (A) is always the answer that shows a trait, a direction of the letter tells the sides apart as well as a
    direction of the trait, on held-out pairs too. Some sets of multiple-choice questions are made like that; others
    exchange the letters in half of the questions.
    """

    pairs: int = 0
    """Pairs that have answers."""
    positive: Counter[str] = field(default_factory=Counter)
    negative: Counter[str] = field(default_factory=Counter)

    def count(self, texts: Iterable[tuple[str, str]]) -> None:
        """Count pairs of a positive and a negative text, each whole and ending with the answer."""
        for both in texts:
            self.pairs += 1
            for counts, words in zip((self.positive, self.negative), differing(*both), strict=True):
                key = words if len(words) <= LONGEST else ""
                counts[key if key in counts or len(counts) < MOST else ""] += 1

    @property
    def told(self) -> float:
        """The share of sides that the words alone tell; 0.5 where each word is positive as often as negative.

        Also 0.5 where there are more words than a quarter of the pairs: answers then do not differ by a few words.
        """
        words = {*self.positive, *self.negative}
        if not self.pairs or "" in words or len(words) > max(self.pairs / 4, 2):
            return 0.5
        return sum(max(self.positive[word], self.negative[word]) for word in words) / (2 * self.pairs)


def differing(first: str, second: str) -> tuple[str, str]:
    """Return two texts without the beginning and the end that they have in common, in whole words."""
    both = first, second
    begin = _common(*both)
    if any(text[begin : begin + 1].isalnum() for text in both):
        while begin and first[begin - 1].isalnum():
            begin -= 1
    end = _common(first[begin:][::-1], second[begin:][::-1])
    if any(text[begin : len(text) - end][-1:].isalnum() for text in both):
        while end and first[len(first) - end].isalnum():
            end -= 1
    return first[begin : len(first) - end], second[begin : len(second) - end]


def _common(first: str, second: str) -> int:
    """Return the number of characters at the beginning that two texts have in common."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Pairs:
    """The pairs of a run, in order; all arrays [n_pairs]."""

    record_ids: Ints
    positive: Ints
    negative: Ints
    """sequence_id of each side."""
    stems: Ints
    templates: Ints
    """Numbers that stand for the pair's stem and template."""
    n_stems: int
    n_joined: int
    """Stems that were merged with another stem, since they have a text in common with it."""
    template_names: tuple[str | None, ...]
    lengths: Ints
    """[2, n_pairs] tokens of the positive and of the negative text."""
    answers: AnswerWords = field(default_factory=AnswerWords)


@dataclass(frozen=True)
class Sides:
    """Both sides of all pairs at one hook point."""

    layer: int
    hook_point: str
    pairs: Paired


def read_pairs(run: Path) -> Pairs:
    """Read the pairs of a run whose sequences are labelled positive and negative.

    Stems that have a text in common are merged: otherwise a text could be both fitted on and held out.
    """
    columns = ["sequence_id", "record_id", "label", "group", "template", "n_tokens", "response_start", "text"]
    answers = AnswerWords()
    sides: list[tuple[pa.Table, pa.Table]] = []
    names, texts = [], []
    for part in parts(run, "sequences"):
        table = part_of(run, "sequences", part, columns)
        both = [table.filter(pc.equal(table["label"], side)) for side in ("positive", "negative")]
        answered = [table["text"].filter(pc.is_valid(table["response_start"])).to_pylist() for table in both]
        answers.count(zip(*answered, strict=False))
        names.append(digests_of(pc.fill_null(both[0]["group"], "")))
        texts.append([digests_of(table["text"]) for table in both])
        sides.append(tuple(table.select(["sequence_id", "record_id", "template", "n_tokens"]) for table in both))
    positive, negative = (pa.concat_tables(tables) for tables in zip(*sides, strict=True))
    groups = codes_of(np.concatenate(names))
    of_texts = codes_of(np.concatenate([codes for side in zip(*texts, strict=True) for codes in side]))
    stems = joined(groups, *np.split(of_texts, 2))
    encoded = positive["template"].combine_chunks().dictionary_encode(null_encoding="encode")
    n_stems = int(stems.max(initial=-1)) + 1
    return Pairs(
        positive["record_id"].to_numpy(),
        positive["sequence_id"].to_numpy(),
        negative["sequence_id"].to_numpy(),
        stems,
        encoded.indices.to_numpy().astype(np.int64),
        n_stems,
        int(groups.max(initial=-1)) + 1 - n_stems,
        tuple(encoded.dictionary.to_pylist()),
        np.stack([positive["n_tokens"].to_numpy(), negative["n_tokens"].to_numpy()]),
        answers,
    )


def joined(stems: Ints, *texts: Ints) -> Ints:
    """Number groups of rows [n] that share a stem [n] or one of their `texts` ([n] each), directly or through others.

    Stems and texts are numbers; a text has the same number on either side. Groups are in order of their first row.
    """
    n = len(stems)
    # A stem and a text may have the same number, and are not the same.
    ends = np.concatenate([stems, *(int(stems.max(initial=-1)) + 1 + text for text in texts)]).astype(np.int32) + n
    rows = np.tile(np.arange(n, dtype=np.int32), 1 + len(texts))
    size = int(ends.max(initial=n - 1)) + 1
    graph = sp.coo_array((np.ones(len(rows), dtype=np.int8), (rows, ends)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    _, first, number = np.unique(component[:n], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def read_sides(run: Path, pairs: Pairs, hook_point: str, last_only: bool, file: Spill) -> Sides:
    """Read each side's vector at one hook point: the mean of its stored positions in float64, or the last of them.

    A mean leaves out special tokens and attention sinks, if there are other positions.

    More than IN_MEMORY numbers go to `file`, which must be empty. Raises WriteError where the disk is full.
    """
    layer, width = -1, 0
    for part in parts(run, "activations"):
        special = None if last_only else special_keys(run, part)
        for rows in rows_of(part, hook_point):
            if not width:
                layer, width = rows.layer, rows.activations.shape[1]
                sides = _room(len(pairs.record_ids), width, file)
            ids, means = _means(rows, special)
            for side, sequence_ids in zip(sides, (pairs.positive, pairs.negative), strict=True):
                at = np.minimum(np.searchsorted(sequence_ids, ids), len(sequence_ids) - 1)
                here = sequence_ids[at] == ids
                side[at[here]] = means[here]
    return Sides(layer, hook_point, Paired(*sides, pairs.stems, pairs.templates).knowing_equals())


def sides_bytes(n_texts: int, width: int) -> int:
    """Bytes of the temporary file that holds both sides' vectors of a hook point; 0 where they are kept in memory."""
    return n_texts * width * 4 if n_texts * width > IN_MEMORY else 0


def _room(n: int, width: int, file: Spill) -> tuple[Vectors, Vectors]:
    """Zeros [n, width] for each side, in memory or in a file."""
    if 2 * n * width <= IN_MEMORY:
        return np.zeros((n, width), dtype=np.float32), np.zeros((n, width), dtype=np.float32)
    file.write(np.zeros(1, dtype=np.float32), (2 * n * width - 1) * 4)  # bytes that are never written read as 0
    return VectorFile(file, 0, width, np.arange(n)), VectorFile(file, n * width * 4, width, np.arange(n))


def _means(rows: Rows, special: Ints | None) -> tuple[Ints, Floats]:
    """Return the sequences [k] of some rows, ascending, and the mean [k, d_model] of each sequence's rows.

    Rows of `special` keys are left out, unless a sequence has no others. With None, its last row is taken.
    """
    if special is None:
        last = np.append(rows.sequence_ids[1:] != rows.sequence_ids[:-1], True)
        return rows.sequence_ids[last], rows.activations[last]
    ids, at = np.unique(rows.sequence_ids, return_inverse=True)
    if len(ids) == len(at):
        return ids, rows.activations
    plain = ~is_special(rows, special)
    plain |= (np.bincount(at, weights=plain, minlength=len(ids)) == 0)[at]
    own = np.flatnonzero(plain)
    count = np.bincount(at[own], minlength=len(ids))
    # A product with a matrix of ones and zeros adds up in float64, row after row.
    of_each = sp.csr_array((np.ones(len(own)), (at[own], own)), shape=(len(ids), len(at)))
    total = of_each @ rows.activations
    return ids, (total / count[:, None]).astype(np.float32)
