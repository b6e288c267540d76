"""Records at hand, in whatever holds them in a notebook, are written as the file that the command line would read."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import actkit
from actkit.api.run_location import placed, rows_in
from actkit.errors import InputError, RunError, UsageError

COLUMNS = {"text": ["One.", "Two."], "label": [1, 0]}
ROWS = [{"text": "One.", "label": 1}, {"text": "Two.", "label": 0}]
MESSAGES = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}]


def written(records: Any) -> list[Any]:
    """What a run would read of them."""
    with placed(None) as place:
        return [json.loads(line) for line in Path(place.write_input(rows_in(records))).read_text().splitlines()]


TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(COLUMNS, index=[7, 3]),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "Arrow": lambda: pa.table(COLUMNS),
    "datasets": lambda: datasets.Dataset.from_dict(COLUMNS),
    "datasets, as tensors": lambda: datasets.Dataset.from_dict(COLUMNS).with_format("torch"),
    "datasets, streamed": lambda: datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset(),
    "a generator": lambda: (row for row in ROWS),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_its_rows(table: str) -> None:
    assert written(TABLES[table]()) == ROWS


def test_classes_of_a_dataset_in_memory_are_read_by_name() -> None:
    """0 is called positive there, which as a number would be read the other way round."""
    names = datasets.ClassLabel(names=["positive", "negative"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names, "by": {"ada": names}})
    rows = {"text": ["a"], "label": [0], "by": [{"ada": 1}]}
    found = datasets.Dataset.from_dict(rows, features=features)
    for dataset in (found, found.with_format("torch"), found.to_iterable_dataset()):
        assert written(dataset) == [{"text": "a", "label": "positive", "by": {"ada": "negative"}}]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array(MESSAGES, dtype=object), MESSAGES),  # as pandas reads lists from Parquet
        (np.array(MESSAGES[:1], dtype=object), MESSAGES[:1]),
        (pd.Timestamp("2026-11-28"), "2026-11-28T00:00:00"),
        (datetime(2026, 11, 28, tzinfo=UTC), "2026-11-28T00:00:00+00:00"),
        (date(2026, 11, 28), "2026-11-28"),
        (pd.NA, None),
        (pd.NaT, None),
        (Decimal("1.00"), "1.00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (np.str_("a"), "a"),
        (np.bool_(True), True),
        (torch.tensor([1, 2]), [1, 2]),
    ],
)
def test_what_stands_in_cells_besides_texts_and_numbers(value: Any, said: Any) -> None:
    assert written([{"prompt": "a", "other": value}]) == [{"prompt": "a", "other": said}]


def by_pandas(rows: Any) -> pd.DataFrame:
    return pa.Table.from_pylist(rows).to_pandas()


@pytest.mark.parametrize("table", [pa.Table.from_pylist, pl.DataFrame, datasets.Dataset.from_list, by_pandas])
def test_objects_of_a_table_have_the_fields_that_they_were_written_with(table: Callable[[Any], Any]) -> None:
    rows = [
        {"tools": [{"name": "a", "parameters": {"x": "text"}}]},
        {"tools": [{"name": "b", "parameters": {"y": "text"}}]},
    ]
    assert written(table(rows)) == rows


def test_columns_and_splits_without_a_table_around_them_are_no_records() -> None:
    for given in (COLUMNS, datasets.DatasetDict({"text": datasets.Dataset.from_dict(COLUMNS), "label": None})):
        with pytest.raises(UsageError, match="of text, label is no list of records"):
            rows_in(given)


def test_texts_of_numpy_are_texts(tiny: Any, tmp_path: Path) -> None:
    run = actkit.capture(np.array(["One two.", "Three."]), tiny, layers=1, positions="last", out=tmp_path / "run")
    assert run.to_pandas("sequences")["text"].tolist() == ["One two.", "Three."]


def test_two_columns_of_one_name_are_refused() -> None:
    """pandas makes a record of the last of them alone."""
    with pytest.raises(InputError, match="two columns are named 'prompt'"):
        rows_in(pd.DataFrame([["One.", "Two."]], columns=["prompt", "prompt"]))


def test_a_text_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one was the folder that one is in, and a word the folder of that name."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_text('{"prompt": "Other."}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="nothing was kept"):
        actkit.capture("", layers=1)
    with pytest.raises(InputError, match="may be a text, or the folder of that name"):
        actkit.capture("data", layers=1)
    assert list(actkit.capture(["data"], layers=1, out="one").to_pandas("sequences")["text"]) == ["data"]
    assert list(actkit.capture(Path("data"), layers=1, out="two").to_pandas("sequences")["text"]) == ["Other."]


def test_a_chat_under_other_names_is_one_conversation() -> None:
    chat = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Tea?"}]
    (text,) = actkit.capture(chat, layers=1, out="run").to_pandas("sequences")["text"]
    assert "Be brief.<|end|><|user|>Tea?<|end|>" in text


def test_splits_are_named(tmp_path: Path) -> None:
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list([{"prompt": "x"}])})
    with pytest.raises(UsageError, match="DatasetDict of train is no list of records"):
        actkit.capture(splits, layers=1)


@pytest.mark.parametrize("rows", [[("One.", 1), ("Two.", 0)], zip(["One.", "Two."], [1, 0], strict=True)])
def test_values_without_names_are_no_record(rows: Any, tmp_path: Path) -> None:
    """The hint was a line of jq for a file that nobody has."""
    with pytest.raises(UsageError, match="record 0 is a tuple, whose values have no names") as caught:
        actkit.reward_detect(rows, out=tmp_path / "run")
    assert "columns=[" in str(caught.value) and "jq" not in str(caught.value)
    assert not list(tmp_path.glob("run*"))
    chats = [[{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}]]
    assert actkit.sae_extract(chats, out=tmp_path / "chats").facts["counts"]["written"] == 1
