"""`dpo` on pairs of every kind: where they diverge, what is stored once, what each status means."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.backends import Model, describe, load
from actkit.config import ModelSpec, OutputSpec, TokenSpec
from actkit.errors import InputError
from actkit.hooks import HookPoint
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Job
from actkit.recipes import dpo
from actkit.recipes.conversations.pair_records import pairs_in
from actkit.recipes.conversations.pairs import PairsSpec
from actkit.recipes.runner import ingredients

POINTS = (HookPoint(1, "hook_resid_post"),)


@pytest.fixture(scope="module")
def model() -> Model:
    return load(describe(ModelSpec(device="cpu")), POINTS)


def run(model: Model, tmp_path: Path, pairs: list[Any], **options: Any) -> Finished:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    recipe = dpo.recipe(dpo.DpoSpec(str(path), **options), ingredients(model.description, points=POINTS))
    return extract(Job(recipe, model, POINTS, OutputSpec(tmp_path / "run", overwrite=True)))


def chat(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


OK = {"chosen": chat("Name a fruit.", "An apple, of course."), "rejected": chat("Name a fruit.", "An onion.")}


def test_a_pair_is_stored_as_what_is_shared_and_what_is_not(model: Model, tmp_path: Path) -> None:
    """Shared positions come before the divergence and once; both sides go on from it to their ends."""
    finished = run(model, tmp_path, [OK])
    pair = pd.read_parquet(finished.path / "pairs").iloc[0]
    tokens = pd.read_parquet(finished.path / "tokens")
    sequences = pd.read_parquet(finished.path / "sequences").set_index("side")
    rows = pd.read_parquet(finished.path / "activations").groupby("sequence_id")["position"].apply(list)
    apart = pair["chosen_divergence"]
    assert pair["status"] == "ok" and apart == pair["rejected_divergence"]
    assert rows[sequences.loc["shared", "sequence_id"]] == list(range(apart))
    for side in ("chosen", "rejected"):
        assert rows[sequences.loc[side, "sequence_id"]] == list(range(apart, pair[f"{side}_length"]))
        assert sequences.loc[side, "parent_id"] == sequences.loc["shared", "sequence_id"]
        assert sequences.loc[side, "start"] == apart
        assert (
            sequences.loc[side, "text"]
            == f"<|bos|><|user|>Name a fruit.<|end|><|assistant|>{OK[side][1]['content']}<|end|>"
        )
    here = tokens[tokens["position"] == apart]
    assert here["token_id"].nunique() == 2
    assert (
        sequences.loc["shared", "text"]
        == sequences.loc["chosen", "text"][: tokens[tokens["position"] < apart]["char_end"].max()]
    )


@pytest.mark.parametrize(
    ("chosen", "rejected", "status"),
    [
        (OK["chosen"], OK["rejected"], "ok"),
        (chat("Name a fruit.", "Plum."), chat("Name a root.", "Plum."), "prompts_differ"),
        (chat("Name a fruit.", "Plum."), [*chat("Name a fruit.", "Plum."), *chat("More.", "Fig.")], "prompts_differ"),
    ],
)
def test_statuses_with_a_chat_template(model: Model, tmp_path: Path, chosen: Any, rejected: Any, status: str) -> None:
    """A status for each kind of pair, and no crash (TRAPS 13)."""
    finished = run(model, tmp_path, [{"chosen": chosen, "rejected": rejected}])
    assert pd.read_parquet(finished.path / "pairs")["status"].tolist() == [status]


@pytest.mark.parametrize(
    ("chosen", "rejected", "status", "nulls"),
    [
        ("An apple", "An apple tree", "chosen_is_prefix", (True, False)),
        ("An apple tree", "An apple", "rejected_is_prefix", (False, True)),
    ],
)
def test_one_side_a_strict_prefix_of_the_other(
    model: Model, tmp_path: Path, chosen: str, rejected: str, status: str, nulls: tuple[bool, bool]
) -> None:
    """Without a template nothing ends an answer, so one side may simply stop: it has no token at the divergence."""
    finished = run(model, tmp_path, [{"prompt": "Name a fruit: ", "chosen": chosen, "rejected": rejected}], chat=False)
    pair = pd.read_parquet(finished.path / "pairs").iloc[0]
    assert pair["status"] == status
    assert tuple(pair[["chosen_divergence", "rejected_divergence"]].isna()) == nulls
    sequences = pd.read_parquet(finished.path / "sequences")
    assert sequences["side"].tolist() == ["shared", "chosen", "rejected"]
    diffs = pd.read_parquet(finished.path / "pair_diffs").iloc[0]
    assert pd.isna(diffs["divergence_cosine"]) and not pd.isna(diffs["response_cosine"])


def test_different_texts_of_the_same_tokens_are_identical(model: Model, tmp_path: Path) -> None:
    """A template that trims makes two answers one: nothing diverges, and everything is shared."""
    template = model.description.tokenizer.chat_template
    model.description.tokenizer.chat_template = template.replace("message['content']", "message['content'] | trim")
    try:
        finished = run(model, tmp_path, [{"chosen": chat("Fruit?", "Plum."), "rejected": chat("Fruit?", " Plum. ")}])
    finally:
        model.description.tokenizer.chat_template = template
    pair = pd.read_parquet(finished.path / "pairs").iloc[0]
    assert pair["status"] == "identical"
    assert pd.isna(pair["chosen_divergence"]) and pd.isna(pair["rejected_divergence"])
    assert pd.read_parquet(finished.path / "sequences")["side"].tolist() == ["shared"]
    assert pd.read_parquet(finished.path / "pair_diffs")["response_diff_norm"].tolist() == [0.0]


def test_no_shared_token_at_all(model: Model, tmp_path: Path) -> None:
    """Without BOS two prompts can differ from the first token on: then nothing is shared."""
    pair = {"prompt": "x", "chosen": "a", "rejected": "b"}
    other = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    finished = run(model, tmp_path, [pair], chat=False, tokens=TokenSpec(bos="never"), input_format="trl")
    assert pd.read_parquet(finished.path / "pairs")["chosen_divergence"].tolist() == [1]
    finished = run(
        model,
        tmp_path,
        [{"chosen": [*chat("q", "a")], "rejected": [*chat("z", "a")]}],
        chat=False,
        tokens=TokenSpec(bos="never"),
        input_format="chatml",
    )
    assert pd.read_parquet(finished.path / "sequences")["side"].tolist()[-2:] == ["chosen", "rejected"]
    finished = run(model, tmp_path, [other], chat=False, tokens=TokenSpec(bos="never"))
    assert pd.read_parquet(finished.path / "sequences")["text"].tolist()[1] == other["chosen"]


@pytest.mark.parametrize(("positions", "sides"), [("from-divergence", "all"), ("divergence", "one")])
def test_positions(model: Model, tmp_path: Path, positions: str, sides: str) -> None:
    """from-divergence leaves the shared positions out; divergence keeps one position a side; numbers are the same."""
    (tmp_path / "whole").mkdir()
    whole = run(model, tmp_path / "whole", [OK])
    part = run(model, tmp_path, [OK], positions=positions)
    every = pd.read_parquet(whole.path / "activations").set_index(["sequence_id", "position"])["activation"]
    kept = pd.read_parquet(part.path / "activations").set_index(["sequence_id", "position"])["activation"]
    pair = pd.read_parquet(part.path / "pairs").iloc[0]
    apart, lengths = pair["chosen_divergence"], (pair["chosen_length"], pair["rejected_length"])
    ends = lengths if sides == "all" else (apart + 1, apart + 1)
    assert kept.index.tolist() == [(1 + n, p) for n, end in enumerate(ends) for p in range(apart, end)]
    for key, vector in kept.items():
        assert abs(vector - every[key]).max() <= 1e-5 * abs(every[key]).max()


def test_bad_pairs_are_rejected_with_line_field_and_reason(model: Model, tmp_path: Path) -> None:
    long = chat("Count.", "one two three " * 200)
    bad: list[Any] = [
        OK,
        {"chosen": OK["chosen"]},
        {"chosen": OK["chosen"], "rejected": OK["chosen"]},
        {"chosen": OK["chosen"], "rejected": [{"role": "user", "content": "x"}]},
        {"chosen": OK["chosen"], "rejected": chat("Name a fruit.", " ")},
        {"chosen": long, "rejected": OK["rejected"]},
        {"chosen": chat("\ud800", "x"), "rejected": OK["rejected"]},
    ]
    finished = run(model, tmp_path, bad)
    rejected = pd.read_parquet(finished.path / "rejected").fillna("")
    assert list(zip(rejected["line"], rejected["field"], strict=True)) == [
        (2, "rejected"),
        (3, "rejected"),
        (4, "rejected"),
        (5, "rejected"),
        (6, "chosen"),
        (7, ""),
    ]
    assert rejected["reason"].tolist() == [
        "missing",
        "chosen and rejected are equal",
        "no assistant message",
        "the assistant's answer is empty",
        "longer than the context of 512 tokens",
        "the text holds half a character (a lone surrogate)",
    ]
    assert finished.facts["counts"]["written"] == 1


def test_input_in_no_known_format_is_an_error_that_shows_its_fields(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the first record has the fields answer, question") as caught:
        run(model, tmp_path, [{"question": "x", "answer": "y"}])
    assert "chatml" in caught.value.hint


def test_tokens_of_the_answer_carry_its_role(model: Model, tmp_path: Path) -> None:
    finished = run(model, tmp_path, [OK])
    tokens = pd.read_parquet(finished.path / "tokens")
    start = pd.read_parquet(finished.path / "pairs")["chosen_response_start"].iloc[0]
    chosen = tokens[tokens["sequence_id"].isin([0, 1])]
    answer = chosen[chosen["position"] >= start]
    assert "".join(answer["token"]) == "An apple, of course.<|end|>"
    assert answer["role"].tolist() == ["assistant"] * (len(answer) - 1) + ["template"]


def test_special_tokens_typed_in_an_answer_are_not_counted_in_what_is_shared(model: Model, tmp_path: Path) -> None:
    pair = {"chosen": chat("Say <|user|>.", "No: <|assistant|> <|bos|>"), "rejected": chat("Say <|user|>.", "Yes.")}
    sequences = pd.read_parquet(run(model, tmp_path, [pair]).path / "sequences").set_index("side")
    assert sequences["n_special_in_text"].to_dict() == {"shared": 1, "chosen": 3, "rejected": 1}


def test_what_is_shared_of_a_character_is_not_in_the_shared_text(model: Model, tmp_path: Path) -> None:
    """The first bytes of two emoji are the same tokens: the shared text must not show the chosen one's."""
    pair = {"prompt": "Smile: ", "chosen": "😀 yes", "rejected": "😁 no"}
    finished = run(model, tmp_path, [pair], chat=False)
    sequences = pd.read_parquet(finished.path / "sequences").set_index("side")
    tokens = pd.read_parquet(finished.path / "tokens").groupby("sequence_id")[["char_start", "char_end"]].max()
    apart = pd.read_parquet(finished.path / "pairs")["chosen_divergence"][0]
    assert apart > sequences.loc["shared", "response_start"]
    assert sequences.loc["shared", "text"] == "Smile: \ufffd"
    # The spans are those of the whole texts, so that they say where the answer begins.
    assert tokens.loc[sequences.loc["shared", "sequence_id"]].tolist() == [7, 8]


@pytest.mark.parametrize("ends", ["chosen", "rejected"])
def test_a_shared_token_is_the_templates_where_one_answer_ends(model: Model, tmp_path: Path, ends: str) -> None:
    """After `b` one side has the template's line end, the other its own, of the same token: only its mean has it."""
    tokenizer = model.description.tokenizer
    template = tokenizer.chat_template
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    sides = {"chosen": chat("a", "b\nc"), "rejected": chat("a", "b\nc")} | {ends: chat("a", "b")}
    try:
        finished = run(model, tmp_path, [sides])
    finally:
        tokenizer.chat_template = template
    pair, diffs = (pd.read_parquet(finished.path / table).iloc[0] for table in ("pairs", "pair_diffs"))
    assert pair["status"] == f"{ends}_is_prefix"
    other = ({"chosen", "rejected"} - {ends}).pop()
    sequences, tokens = (pd.read_parquet(finished.path / table) for table in ("sequences", "tokens"))
    own = tokens.merge(sequences[["sequence_id", "side"]], on="sequence_id")
    whole = own[own["side"].isin(["shared", other])].sort_values("position")["token"].tolist()
    begins, length = pair[f"{other}_response_start"], pair[f"{other}_length"]
    assert "".join(whole[begins:length]).lstrip() == "b\nc\n"
    assert diffs[f"{other}_response_positions"] == length - begins - 1
    assert diffs[f"{ends}_response_positions"] == 1


def test_records_of_one_scored_answer_each_get_the_line_that_makes_pairs_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scored = [("It is warm there.", 0.9), ("No.", 0.1)]
    rows = [{"prompt": f"Question {n}?", "text": text, "points": points} for n in range(3) for text, points in scored]
    pq.write_table(pa.Table.from_pylist(rows), "scored.parquet")
    with pytest.raises(InputError, match="no preference pairs") as raised:
        list(pairs_in("scored.parquet", PairsSpec()))
    assert "each record is one answer with a score, points" in raised.value.hint
    line = shlex.split(raised.value.hint[raised.value.hint.index("python -c") :].partition("; actkit docs")[0])
    subprocess.run([sys.executable, *line[1:]], check=True)
    assert len(list(pairs_in("pairs.jsonl", PairsSpec()))) == 3
