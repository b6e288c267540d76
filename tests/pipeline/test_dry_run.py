"""A plan counts the shards that go by: rows and bytes of each table, and an example as the model would see it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actkit.pipeline.data import Encoding, Record, Rejected, TokenSequence
from actkit.pipeline.dry_run import ShardTally
from actkit.pipeline.recipe import Recipe, Rules
from actkit.pipeline.record_tables import tokens_table
from actkit.pipeline.reducers.activations import TableSize
from actkit.pipeline.shards.shard import Shard
from actkit.runs.progress import Progress
from actkit.runs.writer import RunDirectory

NAMES: Any = {"convert_ids_to_tokens": lambda ids: [f"t{number}" for number in ids]}
TOKENIZER: Any = SimpleNamespace(batch_decode=lambda ids, **_: [f"t{row[0]}" for row in ids], **NAMES)
DESCRIPTION: Any = SimpleNamespace(tokenizer=TOKENIZER)


def sequence(number: int, n: int, keep: list[int], parent: int | None = None, start: int = 0) -> TokenSequence:
    at = np.arange(n)
    encoding = Encoding("x" * n, at + 10, at, at + 1, at == 0, (None,) * n)
    return TokenSequence(0, encoding, np.array(keep, dtype=np.int64), None, number, parent, start)


def shard(*sequences: TokenSequence, **more: Any) -> Shard:
    return Shard({0: Record(0, "in.jsonl", 3, {})}, list(sequences), **more)


def recipe(**stored: TableSize) -> Recipe:
    return Recipe("x", lambda: (_ for _ in ()), lambda _record: None, {}, rules=Rules(), stored=stored)  # type: ignore[arg-type, misc, return-value]


def size(rows: int, n_bytes: int | None, at_most: bool = False) -> dict[str, Any]:
    return {"rows": rows, "bytes": n_bytes, "at_most": at_most}


def test_shards_are_summed_and_tables_sized_by_what_the_first_takes(tmp_path: Any) -> None:
    tally = ShardTally()
    first = shard(sequence(0, 4, [1, 2, 3]), sequence(1, 3, [2]))
    tally.add(first, DESCRIPTION)
    tally.add(shard(sequence(2, 4, [0])), DESCRIPTION)
    assert (tally.shards, tally.sequences, tally.kept) == (2, 3, 5)
    found = tally.tables(
        recipe(
            activations=TableSize("position", 2, 100.0),
            features=TableSize("position", 1),
            pooled_features=TableSize("sequence", 3, 10.0, at_most=True),
        ),
        Progress(tokens=11, rejected=2),
    )
    assert found["activations"] == size(10, 500)
    assert found["features"] == size(5, None)
    assert found["pooled_features"] == size(9, 30, at_most=True)
    assert (found["sequences"]["rows"], found["tokens"]["rows"], found["rejected"]) == (3, 11, size(2, 0))
    (tmp_path / "x.partial").mkdir()
    written = RunDirectory(tmp_path / "x", {}).write(
        "tokens", {"": tokens_table(first.sequences, NAMES["convert_ids_to_tokens"])}
    )
    rows = pq.read_metadata(tmp_path / "x.partial/tokens/part-00000.parquet").num_rows
    per_row = written.bytes / rows
    assert found["tokens"]["bytes"] == pytest.approx(11 * per_row, rel=0.1)


def test_rows_of_a_recipes_own_tables_and_of_rejected_ones() -> None:
    tally = ShardTally()
    pairs = {0: {"pair_id": 0}, 1: {"pair_id": 1}}
    some = shard(sequence(0, 2, [1]), rejected=[Rejected(1, "in.jsonl", 4, None, "empty line")])
    tally.add(some, DESCRIPTION)
    assert tally.bytes_a_row["rejected"] > 0 and tally.rows == {}
    later = Shard(rows={"pairs": pairs})
    for _ in range(2):
        tally.add(later, DESCRIPTION)
    assert tally.rows == {"pairs": 4} and tally.tables(recipe(), Progress())["pairs"] == size(4, 0)


def test_the_example_is_the_first_whole_sequence_with_what_is_read_of_those_it_continues() -> None:
    tally = ShardTally()
    shared, child, other = sequence(0, 3, [1]), sequence(1, 5, [4], parent=0, start=3), sequence(2, 2, [1])
    tally.add(Shard(), DESCRIPTION)
    assert tally.example is None
    tally.add(shard(shared, child, other), DESCRIPTION)
    example = tally.example
    assert example is not None and example["place"] == "in.jsonl:3"
    assert (example["token_ids"], example["positions"]) == ([10, 11, 12, 13, 14], [1, 4])
    assert example["tokens"] == ["t10", "t11", "t12", "t13", "t14"] and example["text"] == "xxxxx"
    tally.add(shard(other), DESCRIPTION)
    assert tally.example is example, "the first stays"


def test_a_sequence_of_which_nothing_is_read_is_no_example() -> None:
    tally = ShardTally()
    tally.add(shard(sequence(0, 3, []), sequence(1, 2, [1])), DESCRIPTION)
    assert tally.example is not None and tally.example["token_ids"] == [10, 11]
    nothing = ShardTally()
    nothing.add(shard(sequence(0, 3, [])), DESCRIPTION)
    assert nothing.example is None and nothing.bytes_a_row["tokens"] > 0
