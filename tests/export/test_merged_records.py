"""Records of a run as a document of results has them: those that were written and rejected, in their order."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.export.merged_records import answer_start, entries
from actkit.schemas import arrow_schema


@pytest.mark.parametrize(
    ("row", "start"), [({"n_tokens": 9, "response_start": 4}, 4), ({"n_tokens": 9, "response_start": None}, 9)]
)
def test_where_an_answer_begins(row: dict[str, Any], start: int) -> None:
    assert answer_start(row) == start


def test_every_record_with_its_features(six_runs: Mapping[str, Path]) -> None:
    run = six_runs["sae-extract"]
    facts = json.loads((run / "run.json").read_text())
    sae = facts["saes"][0]["name"]
    found = list(entries(run, facts, {sae: "layer_2"}))
    sequences = pq.read_table(run / "sequences").to_pylist()
    assert [entry.record_id for entry in found] == [row["record_id"] for row in sequences]
    features = pq.read_table(run / "features").to_pylist()
    ends = {(row["sequence_id"], row["position"]): row["char_end"] for row in pq.read_table(run / "tokens").to_pylist()}
    for entry, row in zip(found, sequences, strict=True):
        slot = entry.slots["layer_2"]
        own = [each for each in features if each["sequence_id"] == row["sequence_id"]]
        assert (slot["status"], slot["total_tokens"], slot["answer_start_position"]) == (
            "success",
            row["n_tokens"],
            row["response_start"],
        )
        assert slot["activations"] == {
            f"token_{each['position']}": {
                "top_k_features": [
                    {"id": number, "activation": value}
                    for number, value in zip(each["feature_ids"], each["feature_activations"], strict=True)
                ],
                "num_active_features": each["n_active"],
            }
            for each in own
        }
        assert entry.split == ends[row["sequence_id"], row["response_start"] - 1] and entry.group == row["group"]
    last = next(entries(run, {**facts, "positions": "last"}, {sae: "layer_2"}))
    assert set(last.slots["layer_2"]["activations"]) == {"last_token"}


def test_rejected_records_say_why_and_stand_in_their_place(tmp_path: Path) -> None:
    schema = arrow_schema("rejected")
    for part, records in ((0, [0, 2]), (3, [7])):
        columns = {"record_id": pa.array(records, pa.int64()), "reason": pa.array(["empty line"] * len(records))}
        rows = pa.Table.from_arrays(
            [columns.get(f.name, pa.nulls(len(records), f.type)) for f in schema], schema=schema
        )
        (tmp_path / "rejected").mkdir(exist_ok=True)
        pq.write_table(rows, tmp_path / "rejected" / f"part-{part:05d}.parquet")
    found = list(entries(tmp_path, {"positions": "all"}, {"sae": "layer_1"}))
    assert [entry.record_id for entry in found] == [0, 2, 7]
    assert all(entry.slots == {"layer_1": {"activations": {}, "status": "error: empty line"}} for entry in found)
    assert {entry.group for entry in found} == {None} and {entry.split for entry in found} == {0}
