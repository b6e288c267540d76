"""What the older scripts' flags do in common: files in their formats, levels of the log, keys of YAML."""

import json
from pathlib import Path

import h5py
import pytest
import torch

from tests.command_line import Run

PAIRS = [{"prompt": f"Is {n} even?", "chosen": f" Yes, {n}.", "rejected": f" No, {n}."} for n in range(3)]


def lines(path: str, rows: list[dict[str, str]]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_an_ending_names_a_format_and_the_run_is_beside_it(actkit: Run) -> None:
    made = actkit("dpo", "--data", lines("pairs.jsonl", PAIRS), "--output", "out/pairs.h5", "--layers", "1")
    assert (made.status, made.out) == (0, "out/pairs\n"), made.err
    with h5py.File("out/pairs.h5") as file:
        assert len(file["metadata"]) == 3 and list(file["activations/sample_0_chosen"]) == ["blocks.1.hook_resid_post"]
    assert Path("out/pairs/run.json").exists() and not Path("out/pairs.h5.partial").exists()
    again = actkit("dpo", "pairs.jsonl", "-o", "out/pairs.h5", "--layers", "1")
    assert again.status == 1 and "out/pairs.h5 exists already" in again.err
    wrong = actkit("dpo", "pairs.jsonl", "-o", "x.gguf")
    assert wrong.status == 2 and "gguf does not fit dpo" in wrong.err and not Path("x").exists()


def test_output_of_capture_writes_pt_and_json(actkit: Run) -> None:
    made = actkit(
        "capture", "--prompt", "Tell me a story", "--output", "my_activations", "--layers", "1,2", "--use-hooks"
    )
    assert made.status == 0, made.err
    assert list(torch.load("my_activations.pt", weights_only=True)["activations"]) == [1, 2]
    assert set(json.loads(Path("my_activations.json").read_text())["statistics"]) == {"1", "2"}


@pytest.mark.slow
def test_capture_of_a_concept_holds_both_sides_and_no_directions(actkit: Run) -> None:
    arguments = ("--concept", "honesty", "--layers", "1", "--max-samples", "3")
    made = actkit("capture", *arguments, "--output", "honesty_acts")
    assert made.status == 0, made.err
    found = torch.load("honesty_acts.pt", weights_only=True)
    assert found["positive"]["activations"][1].shape[0] == found["negative"]["activations"][1].shape[0] == 3
    assert found["concept"] == "honesty" and found["captured_layers"] == [1]
    assert not Path("honesty_acts/directions").exists() and Path("honesty_acts/contrasts").exists()
    assert actkit("verify", "honesty_acts", "--recompute", "1").status == 0
    again = actkit("concept", "--config", "honesty_acts/config.yaml", "-o", "again", "-q")
    assert again.status == 0 and not Path("again/directions").exists()
    both = actkit("capture", "--prompt", "x", *arguments)
    assert both.status == 2 and "--concept and prompts" in both.err


@pytest.mark.slow
def test_the_log_has_what_the_console_said_and_each_rejected_record(actkit: Run) -> None:
    Path("in.jsonl").write_text('{"prompt": "One."}\nbad\n', encoding="utf-8")
    quiet = actkit("capture", "in.jsonl", "-o", "x", "--layers", "1", "--log-level", "ERROR")
    assert (quiet.status, quiet.out, quiet.err) == (0, "x\n", "")
    log = Path("x/run.log").read_text(encoding="utf-8")
    assert "INFO     capture with tiny" in log and "DEBUG    rejected: in.jsonl:2: not JSON" in log
    assert log.count("layer_stats") == 1
    loud = actkit("capture", "in.jsonl", "-o", "y", "--layers", "1", "--verbose")
    assert "rejected: in.jsonl:2: not JSON" in loud.err
    usual = actkit("capture", "in.jsonl", "-o", "z", "--layers", "1")
    assert "\nrejected: in.jsonl" not in usual.err and "model: tiny, a toy" in usual.err.splitlines()[0]
    assert actkit("verify", "x").status == 0, "a log is no part of what is verified"
    Path("x/run.log").write_text("something else", encoding="utf-8")
    assert actkit("verify", "x").status == 0
    wrong = actkit("capture", "in.jsonl", "--log-level", "LOUD")
    assert wrong.status == 2 and "DEBUG, INFO, WARNING, ERROR, CRITICAL" in wrong.err
    assert not list(Path().glob("runs/*"))


def test_the_log_of_a_run_that_fails_says_why_and_goes_on_where_it_is_continued(
    actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("in.jsonl").write_text('{"prompt": "One."}\n' * 4 + "bad\n", encoding="utf-8")
    arguments = ("capture", "in.jsonl", "-o", "x", "--layers", "1", "--shard-sequences", "2")
    failed = actkit(*arguments, "--on-bad-record", "fail")
    assert failed.status == 1
    log = Path("x.partial/run.log").read_text(encoding="utf-8")
    assert "ERROR    error: in.jsonl:5: not JSON" in log
    Path("in.jsonl").write_text('{"prompt": "One."}\n' * 5, encoding="utf-8")
    resumed = actkit(*arguments, "--on-bad-record", "fail", "--resume")
    assert resumed.status == 0, resumed.err
    whole = Path("x/run.log").read_text(encoding="utf-8")
    assert whole.startswith(log) and "5 of 5 records" in whole[len(log) :]


def test_aliases_of_flags_work_in_yaml(actkit: Run) -> None:
    lines("answers.jsonl", [{"prompt": "One?", "response": " Two."}])
    Path("c.yaml").write_text("input: answers.jsonl\nlayer: 2\noutput_dir: runs/aliases\nmax-examples: 1\n")
    made = actkit("sae-extract", "--config", "c.yaml", "-q")
    assert (made.status, made.out) == (0, "runs/aliases\n"), made.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("layers:\n  first: 1\n", "layers.first is not known"),
        ("model:\n  layers: 1\n", "write `layers: …` without a section"),
        ("detector:\n  colour: 1\n", "the section detector may have activation_threshold"),
        ("model:\n  model_name:\n    deep: tiny\n", "model.model_name is not known"),
    ],
)
def test_a_mapping_where_a_word_belongs_names_the_flat_key(text: str, says: str, actkit: Run) -> None:
    Path("c.yaml").write_text(text, encoding="utf-8")
    wrong = actkit("capture", "-p", "x", "--config", "c.yaml")
    assert wrong.status == 2 and says in wrong.err and "hint: " in wrong.err and not list(Path().glob("runs/*"))


def test_the_extraction_script_is_told_which_model_it_meant(actkit: Run) -> None:
    lines("in.jsonl", [{"prompt": "One?", "response": " Two."}])
    made = actkit(
        "sae-extract", "--input", "in.jsonl", "--target-layer", "20", "--sae-id", "layer_20/width_16k/canonical"
    )
    assert made.status == 2 and "--preset gemma-2-9b-it" in made.err
