"""jsonl: whole documents again, every token with its features, as the tables have them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import actkit
from actkit.export.formats import export
from tests.export.conftest import CPU, DOCUMENTS, SAES, lines, shards

NAMES = [f"tiny/{sae.sae_id}" for sae in SAES]


def exported(run: Path, out: Path, **options: Any) -> list[Any]:
    return [json.loads(line) for line in export(run, "jsonl", out, **options).read_text(encoding="utf-8").splitlines()]


def check(run: Path, found: list[Any], special: bool) -> None:
    tokens = pd.read_parquet(run / "tokens").merge(
        pd.read_parquet(run / "sequences")[["sequence_id", "record_id", "chunk"]], on="sequence_id"
    )
    features = pd.read_parquet(run / "features").set_index(["sae", "sequence_id", "position"])
    for line in found:
        own = tokens[tokens["record_id"] == line["record_id"]].sort_values(["chunk", "position"])
        own = own if special else own[own["position"] > 0]
        assert line["tokens"] == own["token_id"].tolist()
        assert line["token_texts"] == own["token"].tolist()
        assert line["offsets"] == own["char_start"].tolist()
        assert line["offset_ends"] == own["char_end"].tolist()
        keys = [(line["sae"], row.sequence_id, row.position) for row in own.itertuples()]
        rows = features.loc[keys]
        assert line["active_features"] == [ids.tolist() for ids in rows["feature_ids"]]
        assert line["activations"] == [activation.tolist() for activation in rows["feature_activations"]]
        assert any(line["active_features"])


@pytest.mark.quick(1)
@pytest.mark.parametrize("special", [False, True])
def test_each_document_is_a_line_for_each_sae(stories_run: Path, tmp_path: Path, special: bool) -> None:
    """Cut into chunks of 11 tokens with a BOS each, some in the middle of a character, over several shards."""
    assert shards(stories_run, "features") > 1
    assert pd.read_parquet(stories_run / "sequences")["chunk"].max() > 2
    found = exported(stories_run, tmp_path / "x.jsonl", special=special or None)
    assert [(line["record_id"], line["sae"]) for line in found] == [
        (number, name) for number in range(len(DOCUMENTS)) for name in NAMES
    ]
    assert [line["text"] for line in found[::2]] == DOCUMENTS
    check(stories_run, found, special)


def test_without_bos_rows_offsets_cover_the_document(stories_run: Path, tmp_path: Path) -> None:
    for line in exported(stories_run, tmp_path / "x.jsonl"):
        covered = 0
        for start, end in zip(line["offsets"], line["offset_ends"], strict=True):
            assert start <= covered <= end
            covered = end
        assert covered == len(line["text"])


def test_special_tokens_of_the_text_itself_stay(stories_run: Path, tmp_path: Path) -> None:
    line = exported(stories_run, tmp_path / "x.jsonl")[2 * 2]
    assert "<|end|>" in [
        line["text"][start:end].strip() for start, end in zip(line["offsets"], line["offset_ends"], strict=True)
    ]


def test_a_character_split_between_chunks_is_one_character(tmp_path: Path) -> None:
    text = "🌲🌊🌹🌍🎈🦊" * 3
    path = lines(tmp_path / "in.jsonl", [{"text": text}])
    spec = actkit.SparseSpec(CPU, SAES[:1], actkit.OutputSpec(tmp_path / "run"))
    run = actkit.run_feature_dataset(actkit.FeatureDatasetSpec(path, context_size=6), spec).path
    sequences = pd.read_parquet(run / "sequences")
    assert sequences["text"].str.len().sum() > len(text)
    [line] = exported(run, tmp_path / "x.jsonl")
    assert (line["text"], line["sae"]) == (text, NAMES[0])
    check(run, [line], special=False)


def test_a_special_token_that_begins_the_text_is_no_added_one(tmp_path: Path) -> None:
    path = lines(tmp_path / "in.jsonl", [{"text": "<|end|> and on"}])
    spec = actkit.SparseSpec(CPU, SAES[:1], actkit.OutputSpec(tmp_path / "run"))
    tokens = actkit.TokenSpec(bos="never")
    run = actkit.run_feature_dataset(actkit.FeatureDatasetSpec(path, tokens=tokens), spec).path
    assert pd.read_parquet(run / "tokens")["is_special"].tolist()[0]
    [line] = exported(run, tmp_path / "x.jsonl")
    check(run, [line], special=True)
