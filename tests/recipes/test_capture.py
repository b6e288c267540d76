"""`capture`: which positions are read, and that cutting a text never moves them."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from actkit.backends import Model, describe, load
from actkit.config import ModelSpec, OutputSpec, ReadSpec, TokenSpec
from actkit.errors import UsageError
from actkit.hooks import HookPoint
from actkit.pipeline.data import Record
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Job
from actkit.recipes import capture
from actkit.recipes.runner import ingredients

POINTS = (HookPoint(1, "hook_resid_post"), HookPoint(2, "hook_mlp_out"))


@pytest.fixture(scope="module")
def model() -> Model:
    return load(describe(ModelSpec(device="cpu")), POINTS)


def run(model: Model, out: Path, **options: Any) -> Finished:
    recipe = capture.recipe(capture.CaptureSpec(**options), ingredients(model.description, points=POINTS))
    return extract(Job(recipe, model, POINTS, OutputSpec(out, overwrite=True)))


def kept(finished: Finished) -> list[list[int]]:
    """The positions kept of each sequence."""
    table = pd.read_parquet(finished.path / "activations")
    table = table[table["layer"] == 1]
    return [list(rows) for _, rows in table.groupby("sequence_id")["position"]]


def test_positions(model: Model, tmp_path: Path) -> None:
    prompts = ("One two three.", "Four.")
    every = kept(run(model, tmp_path / "all", prompts=prompts))
    lengths = pd.read_parquet(tmp_path / "all" / "sequences")["n_tokens"].tolist()
    assert every == [list(range(n)) for n in lengths]
    assert kept(run(model, tmp_path / "r", prompts=prompts, positions="last")) == [[n - 1] for n in lengths]
    assert kept(run(model, tmp_path / "r", prompts=prompts, positions="0,-1,-1, 1")) == [[0, 1, n - 1] for n in lengths]


def test_the_numbers_are_the_same_whatever_is_kept(model: Model, tmp_path: Path) -> None:
    prompts = ("One two three.", "Four.")
    run(model, tmp_path / "all", prompts=prompts)
    run(model, tmp_path / "last", prompts=prompts, positions="last")
    keys = ["sequence_id", "position", "hook_point"]
    every = pd.read_parquet(tmp_path / "all/activations").set_index(keys)["activation"]
    for key, vector in pd.read_parquet(tmp_path / "last/activations").set_index(keys)["activation"].items():
        assert abs(vector - every[key]).max() <= 1e-5 * abs(every[key]).max()


def test_response_positions(model: Model, tmp_path: Path) -> None:
    """The response is run under teacher forcing and read where it stands, as plain text and as chat."""
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"prompt": "What is it?", "response": " A plum tree."}) + '\n{"prompt": "no answer"}\n')
    for chat in (False, True):
        finished = run(model, tmp_path / "run", path=str(path), positions="response", chat=chat)
        tokens = pd.read_parquet(finished.path / "tokens")
        read = tokens[tokens["position"].isin(kept(finished)[0])]
        assert "".join(read["token"]) == " A plum tree."
        row = pd.read_parquet(finished.path / "sequences").iloc[0]
        assert row["response_start"] == read["position"].iloc[0]
        assert pd.read_parquet(finished.path / "rejected")["reason"].tolist()[0].startswith("no response")


def test_a_conversation_with_an_empty_answer_has_no_response_to_read(model: Model, tmp_path: Path) -> None:
    """It would be counted as written, with no row to show for it."""
    path = tmp_path / "in.jsonl"
    ask = {"role": "user", "content": "What is it?"}
    records = [{"messages": [ask, {"role": "assistant", "content": text}]} for text in ("", " ", "A plum.")]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    finished = run(model, tmp_path / "run", path=str(path), positions="response")
    assert finished.facts["counts"]["written"] == len(kept(finished))
    assert pd.read_parquet(finished.path / "rejected")["reason"].str.startswith("the response is empty").tolist() == [
        True
    ]


def test_chat_puts_a_prompt_where_the_answer_would_begin(model: Model, tmp_path: Path) -> None:
    finished = run(model, tmp_path / "run", prompts=("Hi",), chat=True, system="Be kind.")
    text = pd.read_parquet(finished.path / "sequences")["text"][0]
    assert text == "<|bos|><|system|>Be kind.<|end|><|user|>Hi<|end|><|assistant|>"


def test_messages_in_a_field(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    path.write_text(json.dumps({"messages": messages}) + "\n" + json.dumps({"messages": [{"role": "user"}]}) + "\n")
    finished = run(model, tmp_path / "run", path=str(path), positions="response")
    tokens = pd.read_parquet(finished.path / "tokens")
    assert "".join(tokens[tokens["position"].isin(kept(finished)[0])]["token"]) == "Hello."
    assert pd.read_parquet(finished.path / "rejected")["field"].tolist() == ["messages[0].content"]


def test_truncation_never_moves_or_drops_a_position_that_is_read(model: Model, tmp_path: Path) -> None:
    """A text beyond the maximum length is cut and counted where all positions are read, and rejected where a position
    counted from its end is (TRAPS 14)."""
    prompts = ("short one", "a much longer prompt, of more tokens than are allowed here")
    tokens = TokenSpec(max_length=6)
    finished = run(model, tmp_path / "all", prompts=prompts, tokens=tokens)
    sequences = pd.read_parquet(finished.path / "sequences")
    whole = pd.read_parquet(run(model, tmp_path / "whole", prompts=prompts).path / "sequences")
    assert sequences["n_tokens"].tolist() == [min(n, 6) for n in whole["n_tokens"]]
    assert (sequences["n_truncated"] + sequences["n_tokens"]).tolist() == whole["n_tokens"].tolist()
    assert finished.facts["counts"]["truncated"] == 1
    for positions in ("last", "-1"):
        cut = run(model, tmp_path / "r", prompts=(*prompts, "fine words"), tokens=tokens, positions=positions)
        rejected = pd.read_parquet(cut.path / "rejected")
        assert rejected["record_id"].tolist() == [1]
        assert "beyond the maximum length" in rejected["reason"][0]
    assert kept(run(model, tmp_path / "r", prompts=prompts, tokens=tokens, positions="0,2")) == [[0, 2], [0, 2]]


def test_max_length_cannot_extend_the_context(model: Model, tmp_path: Path) -> None:
    """Positions beyond the model's context were never trained, and with learned ones do not exist."""
    finished = run(model, tmp_path / "run", prompts=("word " * 900,), tokens=TokenSpec(max_length=2000))
    assert pd.read_parquet(finished.path / "sequences")["n_tokens"].tolist() == [512]


def test_a_position_that_a_text_does_not_have_is_a_reason(model: Model, tmp_path: Path) -> None:
    finished = run(model, tmp_path / "run", prompts=("a", "a longer prompt of several words"), positions="5")
    assert pd.read_parquet(finished.path / "rejected")["record_id"].tolist() == [0]
    assert "position 5 is not among its" in pd.read_parquet(finished.path / "rejected")["reason"][0]


def test_positions_that_cannot_be_understood(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="positions middle"):
        run(model, tmp_path / "run", prompts=("x",), positions="middle")


def test_bos_is_kept_and_marked(model: Model, tmp_path: Path) -> None:
    """BOS stays in the input and in the rows, flagged; positions are absolute (TRAPS 17)."""
    finished = run(model, tmp_path / "run", prompts=("Hi there",))
    tokens = pd.read_parquet(finished.path / "tokens")
    assert tokens["position"].tolist() == list(range(len(tokens)))
    assert tokens["is_special"].tolist() == [True] + [False] * (len(tokens) - 1)
    without = run(model, tmp_path / "without", prompts=("Hi there",), tokens=TokenSpec(bos="never"))
    assert pd.read_parquet(without.path / "tokens")["token_id"].tolist() == tokens["token_id"].tolist()[1:]


def test_pad_and_end_tokens_inside_a_text_are_not_masked(model: Model, tmp_path: Path) -> None:
    """Masks made from ids drop real tokens where pad and end are one (TRAPS 12): here both stand inside the text, and
    the rows after them are those of the text alone."""
    texts = (
        "before <|end|> between <|pad|> after",
        "some longer text beside it, so that there is padding in the batch too",
    )
    beside = run(model, tmp_path / "beside", prompts=texts)
    alone = run(model, tmp_path / "alone", prompts=texts[:1])
    both = [pd.read_parquet(run.path / "activations") for run in (beside, alone)]
    left = both[0][both[0]["sequence_id"] == 0].reset_index(drop=True)
    assert len(left) == len(both[1])
    for a, b in zip(left["activation"], both[1]["activation"], strict=True):
        assert abs(a - b).max() <= 1e-5 * abs(b).max()
    assert pd.read_parquet(beside.path / "sequences")["n_special_in_text"].tolist() == [2, 0]


@pytest.mark.parametrize("field", [None, "prompt"])
def test_json_lines_of_no_known_suffix_are_not_run_as_text(
    model: Model, tmp_path: Path, field: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard input nothing says that they are JSON but they themselves, or a field that is asked for."""
    lines = json.dumps({"prompt": "What is it?", "response": " A plum tree."}) + "\n" + json.dumps({"prompt": "So?"})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    run(model, tmp_path / "pipe", path="-", prompt_field=field)
    (tmp_path / "lines").write_text(lines)
    run(model, tmp_path / "file", path=str(tmp_path / "lines"), prompt_field=field)
    for name in ("pipe", "file"):
        assert pd.read_parquet(tmp_path / name / "sequences")["text"].tolist() == ["What is it? A plum tree.", "So?"]


def test_records_are_read_wherever_they_come_from(tmp_path: Path) -> None:
    """A folder, an archive and a saved dataset have no suffix that says what is in them."""
    import datasets

    rows = [{"prompt": "What is it?", "response": " A plum."}, {"prompt": "So?", "response": " Yes."}]
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_text(lines[0])
    (tmp_path / "folder" / "b.json").write_text(f"[{lines[1]}]")
    (tmp_path / "lines").write_text("".join(lines))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("a/b.jsonl", "".join(lines))
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a").write_text(lines[0])
    (tmp_path / "mixed" / "b.jsonl").write_text(lines[1])
    for where in ("folder", "archive.zip", "saved", "lines", "mixed/*"):
        for named in ([], ["prompt"]):
            found = list(capture._read(str(tmp_path / where), named, ReadSpec())[0])
            assert [record.value for record in found if isinstance(record, Record)] == rows, where


@pytest.mark.parametrize("line", ['{"a": 1}', "{prompt}", '"prompt"', "[" * 100_000, "\ufeff"])
def test_lines_that_only_look_like_json_are_text(model: Model, tmp_path: Path, line: str) -> None:
    (tmp_path / "lines").write_text(f"{line}\nSo?\n", encoding="utf-8")
    finished = run(model, tmp_path / "run", path=str(tmp_path / "lines"), tokens=TokenSpec(max_length=4))
    assert pd.read_parquet(finished.path / "sequences")["text"].tolist()[-1] == "So?"


def test_special_tokens_that_were_cut_off_are_not_counted(model: Model, tmp_path: Path) -> None:
    """They act on nothing; the BOS that the tokenizer adds was never typed."""
    text = "one <|end|> two three four five six <|end|> <|pad|>"
    finished = run(model, tmp_path / "run", prompts=(text,), tokens=TokenSpec(max_length=6))
    assert pd.read_parquet(finished.path / "sequences")["n_special_in_text"].tolist() == [1]


def test_patterns_are_stored_row_by_row(tmp_path: Path) -> None:
    """Position p of an attention pattern has n_heads × (p + 1) values; each head's sum to one."""
    points = (HookPoint(0, "attn.hook_pattern"), HookPoint(1, "hook_resid_post"))
    model = load(describe(ModelSpec(device="cpu")), points)
    spec = capture.CaptureSpec(prompts=("One two three.", "Four."))
    recipe = capture.recipe(spec, ingredients(model.description, points=points))
    finished = extract(Job(recipe, model, points, OutputSpec(tmp_path / "run")))
    table = pd.read_parquet(finished.path / "activations")
    for row in table[table["hook_point"] == "blocks.0.attn.hook_pattern"].itertuples():
        assert row.activation.reshape(6, row.position + 1).sum(1) == pytest.approx([1.0] * 6, rel=1e-5)
    assert {len(vector) for vector in table[table["layer"] == 1]["activation"]} == {192}
    assert pd.read_parquet(finished.path / "layer_stats")["hook_point"].unique().tolist() == [
        "blocks.1.hook_resid_post"
    ]
