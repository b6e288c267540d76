"""The change that each intervention made to each text, read back from a run's log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from actkit.analysis.columns import Bools, Floats, Ints
from actkit.runs.reader import rows_of_table, table_of

COST, ANSWERS, TEXTS, WORDS = "cost", "answers", "texts", "words"
"""Metrics: the loss on neutral text; answers of both kinds; the likelihood of labelled texts; words that come next."""
NEUTRAL = "neutral"
SIDES = {"positive": 1, "negative": -1}


@dataclass(frozen=True)
class Changes:
    """Changes of one metric in one split: a row a text and side, a column an intervention, [m, k]."""

    metric: str
    split: str
    record_ids: Ints
    side: Ints
    """[m] 1 for the positive side, -1 for the negative side."""
    stems: Ints
    """[m] numbers that stand for the stem."""
    change: Floats
    """[m, k] nats a token, steered less unsteered."""

    def of_records(self) -> tuple[Ints, Floats]:
        """Return records [n], ascending, and each record's change of positive less that of negative, [n, k]."""
        ids, at = np.unique(self.record_ids, return_inverse=True)
        total = np.zeros((len(ids), self.change.shape[1]))
        np.add.at(total, at, self.side[:, None] * self.change)
        return ids, total

    def of_side(self, sign: int) -> Floats:
        """[k] the mean change of one side; NaN where no text has it."""
        rows = self.side == sign
        return self.change[rows].mean(0) if rows.any() else np.full(self.change.shape[1], np.nan)


@dataclass(frozen=True)
class Measured:
    """All that a run measured."""

    samples: Sequence[Changes]
    kl: Floats
    """[k] nats a token on neutral text; NaN without it."""


def read_samples(run: Path, n_interventions: int) -> Measured:
    """Read the changes in every metric and split of a run of `steer`."""
    table = table_of(run, "logprobs")
    names = ("logprob", "kl", "words_positive", "words_negative")
    values = {name: _wide(table, name, n_interventions) for name in names}
    n_tokens = _wide(table, "n_tokens", n_interventions)[:, :1]
    texts = _Texts.read(run, np.unique(table["sequence_id"].to_numpy()))
    per_token = values["logprob"] / np.maximum(n_tokens, 1)
    change = per_token - per_token[:, :1]

    def samples(metric: str, split: str, rows: Bools, what: Floats, side: Ints) -> Changes:
        return Changes(metric, split, texts.record_ids[rows], side[rows], texts.stems[rows], what[rows])

    found = []
    for split in dict.fromkeys(texts.splits):
        here = np.array([name == split for name in texts.splits])
        if split == NEUTRAL:
            found.append(samples(COST, split, here, -change, np.ones(len(here), dtype=np.int64)))
            continue
        alone = here & ~texts.answers & (texts.side != 0)
        if (here & texts.answers).any():
            found.append(samples(ANSWERS, split, here & texts.answers, change, texts.side))
        if alone.any():
            found.append(samples(TEXTS, split, alone, change, texts.side))
        if alone.any() and not np.isnan(values["words_positive"][alone]).all():
            found.append(_words(texts, split, alone, values))
    neutral = np.array([name == NEUTRAL for name in texts.splits])
    tokens = n_tokens[neutral].sum()
    return Measured(found, values["kl"][neutral].sum(0) / tokens if tokens else np.full(n_interventions, np.nan))


@dataclass(frozen=True)
class _Texts:
    """Facts of the sequences; all [m]."""

    record_ids: Ints
    side: Ints
    """1 positive, -1 negative, 0 neither."""
    splits: list[str]
    stems: Ints
    answers: Bools
    """Whether it is one of two answers to a prompt, rather than a text alone."""

    @classmethod
    def read(cls, run: Path, sequence_ids: Ints) -> "_Texts":
        """Read the facts of these sequences [m] from `sequences` and `steered_texts`."""
        rows = rows_of_table(run, "sequences", ["sequence_id", "record_id", "label"])
        texts = rows_of_table(run, "steered_texts", ["record_id", "split", "stem", "positive"])
        by_sequence, by_record = {row["sequence_id"]: row for row in rows}, {row["record_id"]: row for row in texts}
        own = [by_sequence[sequence_id] for sequence_id in sequence_ids.tolist()]
        records = [by_record[row["record_id"]] for row in own]
        number = {stem: index for index, stem in enumerate(dict.fromkeys(record["stem"] for record in records))}
        return cls(
            np.array([row["record_id"] for row in own], dtype=np.int64),
            np.array([SIDES.get(row["label"] or "", 0) for row in own], dtype=np.int64),
            [record["split"] for record in records],
            np.array([number[record["stem"]] for record in records], dtype=np.int64),
            np.array([record["positive"] is not None for record in records], dtype=np.bool_),
        )


def _words(texts: _Texts, split: str, rows: Bools, values: dict[str, Floats]) -> Changes:
    """Give each text two rows: how much likelier the positive words become after it, and the negative ones."""
    records, stems = (np.tile(numbers[rows], 2) for numbers in (texts.record_ids, texts.stems))
    change = [values[name][rows] - values[name][rows, :1] for name in ("words_positive", "words_negative")]
    return Changes(WORDS, split, records, np.repeat([1, -1], int(rows.sum())), stems, np.concatenate(change))


def _wide(table: pa.Table, name: str, k: int) -> Floats:
    """[sequences, interventions] a column of `logprobs`; NaN where a sequence was not run under an intervention."""
    _, row = np.unique(table["sequence_id"].to_numpy(), return_inverse=True)
    found: Floats = np.full((int(row.max(initial=-1)) + 1, k), np.nan)
    found[row, table["intervention_id"].to_numpy()] = table[name].to_numpy().astype(np.float64)
    return found
