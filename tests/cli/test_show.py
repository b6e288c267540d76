"""`actkit show`: the first sequences, token by token."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

from actkit.cli.app import main
from actkit.cli.screen.token_strip import drawn, visible
from actkit.errors import RunError
from actkit.report.token_strips import Strip, Token, first_strips

PAIRS = Path(__file__).parents[1] / "data" / "pairs.jsonl"
ACTIVE = re.compile(r"\d+:[\d.]+")
Call = Callable[..., str]


@pytest.fixture
def actkit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command line in an empty directory; returns what it prints on standard output."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        assert ended.value.code in (0, None), capsys.readouterr().err
        return capsys.readouterr().out

    return call


def test_a_pair_is_shown_whole_with_its_boundary_and_where_the_sides_part(actkit: Call) -> None:
    actkit("dpo", str(PAIRS), "--max-samples", "3", "--layers", "1", "-o", "x", "-q")
    strips = first_strips(Path("x"), 3)
    sequences = pd.read_parquet("x/sequences").set_index("sequence_id")
    pairs = pd.read_parquet("x/pairs")
    assert [strip.side for strip in strips] == ["chosen", "rejected", "chosen"]
    for strip in strips:
        row, pair = sequences.loc[strip.sequence_id], pairs[pairs["record_id"] == strip.record_id].iloc[0]
        assert len(strip.tokens) == row["n_tokens"] == pair[f"{strip.side}_length"]
        assert strip.start == pair[f"{strip.side}_divergence"]
        assert strip.response_start == pair[f"{strip.side}_response_start"]
        assert [token.position for token in strip.tokens] == list(range(row["n_tokens"]))
        assert "".join(token.text for token in strip.tokens) == row["text"]
        assert all(token.read for token in strip.tokens)
    shown = actkit("show", "x", "--sequences", "1").splitlines()
    title = next(index for index, line in enumerate(shown) if line.startswith("sequence "))
    assert shown[title] == f"sequence {strips[0].sequence_id}, record 0, chosen: {len(strips[0].tokens)} tokens, " + (
        f"{len(strips[0].tokens)} read"
    )
    below = "\n".join(shown[title + 1 :])
    assert below.count("╎") == below.count("┃") == 2, "once in the line of tokens, once below"
    first = strips[0].tokens[strips[0].start].text
    assert f"╎ {visible(first)}" in below


def test_the_largest_features_stand_under_the_tokens_that_were_read(actkit: Call) -> None:
    text = {"prompt": "Once upon a time", "response": " there was a king"}
    Path("s.jsonl").write_text(json.dumps(text) + "\n", encoding="utf-8")
    actkit("sae-extract", "s.jsonl", "--target-layer", "2", "-o", "x", "-q")
    (strip,) = first_strips(Path("x"), 5)
    (row,) = pd.read_parquet("x/features").to_dict("records")
    read = [token for token in strip.tokens if token.read]
    assert [token.position for token in read] == [row["position"]] and strip.response_start == row["position"] + 1
    assert [feature for feature, _ in read[0].features] == list(row["feature_ids"][:3])
    assert [value for _, value in read[0].features] == pytest.approx(row["feature_activations"][:3])
    lines = actkit("show", "x").splitlines()
    tokens, marks, features = lines[-3:]
    assert ACTIVE.findall(features) == [f"{row['feature_ids'][0]}:{row['feature_activations'][0]:.3g}"]
    column = features.index(ACTIVE.findall(features)[0])
    assert tokens[column:].startswith(visible(read[0].text)) and marks[column] == "─" and "─" not in marks[:column]
    found = json.loads(actkit("show", "x", "--json"))
    assert found["first_sequences"][0]["tokens"][row["position"]]["features"][0][0] == row["feature_ids"][0]
    assert found["counts"]["sequences"] == 1


def test_pooled_features_are_shown_where_they_are_strongest(actkit: Call) -> None:
    lines = [json.dumps({"text": f"Number {index} is good.", "label": index % 2}) for index in range(12)]
    Path("t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    actkit("reward-detect", "t.jsonl", "--target-layer", "2", "-o", "x", "-q")
    (strip,) = first_strips(Path("x"), 1)
    row = pd.read_parquet("x/pooled_features").iloc[0]
    at = dict(zip(row["feature_ids"], row["feature_positions"], strict=True))
    for token in strip.tokens:
        own = sorted((index for index in at if at[index] == token.position), key=list(row["feature_ids"]).index)
        assert [feature for feature, _ in token.features] == own[:3]
    assert ACTIVE.search(actkit("show", "x"))


def test_later_shards_are_found_and_no_more_is_read_than_is_asked(
    actkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [part for index in range(6) for part in ("-p", f"Text {index}.")]
    actkit("capture", *texts, "--layers", "0", "--shard-sequences", "2", "-o", "x", "-q")
    assert [strip.sequence_id for strip in first_strips(Path("x"), 5)] == [0, 1, 2, 3, 4]
    (Path("x") / "tokens" / "part-00001.parquet").write_bytes(b"damaged")
    assert len(first_strips(Path("x"), 2)) == 2


def test_a_directory_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        first_strips(tmp_path, 1)


def strip_of(tokens: list[str], **more: object) -> Strip:
    made = tuple(Token(at, 0, text, False, at == len(tokens) - 1) for at, text in enumerate(tokens))
    about = {"side": None, "label": None, "start": 0, "response_start": None, **more}
    return Strip(0, 0, tokens=made, **about)  # type: ignore[arg-type]


def test_long_sequences_are_shown_around_what_matters() -> None:
    lines = [line.plain for line in drawn(strip_of([f" w{at}" for at in range(200)], response_start=100), 80)]
    shown = " ".join(lines)
    for position in (0, 8, 92, 100, 108, 191, 199):
        assert f"·w{position} " in f"{shown} "
    for position in (9, 91, 109, 190):
        assert f"·w{position} " not in shown
    assert "… 83 …" in shown and "… 82 …" in shown
    assert max(cell_len(line) for line in lines) <= 80


def test_a_stretch_of_two_is_not_left_out() -> None:
    lines = " ".join(line.plain for line in drawn(strip_of([f"w{at}" for at in range(20)]), 200))
    assert "…" not in lines
    lines = " ".join(line.plain for line in drawn(strip_of([f"w{at}" for at in range(21)]), 200))
    assert "… 3 …" in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a", "·a"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("\x00", "\\x00"),
        ("", "∅"),
        ("\u200b", "\\x200b"),
        ("x" * 30, "x" * 21 + "…"),
    ],
)
def test_every_token_can_be_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_wide_characters_keep_the_columns(actkit: Call) -> None:
    tokens, marks, *_ = [line.plain for line in drawn(strip_of(["河", "流", "x"]), 80)][1:]
    assert cell_len(tokens[: tokens.index("x")]) == cell_len(marks[: marks.index("─")])
