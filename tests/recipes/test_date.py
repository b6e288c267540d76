"""A chat template that reads the clock: one date a run, wherever and whenever the run goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from actkit.config import BatchSpec, ModelSpec, OutputSpec
from actkit.engines import driver
from actkit.pipeline.tokens import templates
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.progress import Progress
from tests.command_line import Run
from tests.conftest import small_tokenizer

ModelDir = Callable[[str], Path]
PROMPTS = ("one", "two", "three", "four")


@pytest.fixture
def dated(model_dir: ModelDir, tmp_path: Path) -> Path:
    """A model whose template writes the date."""
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    tokenizer = small_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}<user>{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def turn(clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it `clock` where a run begins."""
    monkeypatch.setattr(templates, "now", lambda: templates.datetime.fromisoformat(clock))


def dates(run: Path) -> set[str]:
    return {text[:11] for text in pd.read_parquet(run / "sequences")["text"]}


@pytest.mark.slow
def test_a_run_that_goes_on_after_midnight_is_one_run(
    dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    out = tmp_path / "run"

    def stopped(progress: Progress) -> None:
        if progress.written == len(PROMPTS):
            raise KeyboardInterrupt

    def capture(resume: bool, on_progress: Callable[[Progress], None] = lambda _: None) -> Path:
        model, output = ModelSpec(str(dated), device="cpu"), OutputSpec(out, resume=resume)
        dense = DenseSpec(model, output, layers="1", batch=BatchSpec(shard_sequences=1))
        return run_capture(CaptureSpec(PROMPTS, chat=True), dense, on_progress).path

    turn("2026-12-01T23:59:00", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        capture(False, stopped)
    turn("2026-12-02T00:01:00", monkeypatch)
    assert 0 < len(pd.read_parquet(f"{out}.partial/sequences")) < len(PROMPTS)
    assert dates(capture(True)) == {"01 Dec 2026"}
    facts = json.loads((out / "run.json").read_text())
    assert facts["options"]["date"] == facts["fingerprint"]["option.date"] == "2026-12-01T23:59:00"
    assert capture(True) == out  # complete: nothing is different
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["date"] == "2026-12-01T23:59:00"
    again = actkit("capture", "--config", out / "config.yaml", "-o", tmp_path / "again")
    assert again.status == 0 and dates(tmp_path / "again") == {"01 Dec 2026"}
    assert actkit("verify", out).status == 0


def test_another_date_is_another_run(dated: Path, tmp_path: Path, actkit: Run) -> None:
    call = ["capture", "-p", "one", "--chat", "--model", dated, "--layers", 1, "-o", tmp_path / "run"]
    assert actkit(*call, "--date", "2020-02-29").status == 0
    assert dates(tmp_path / "run") == {"29 Feb 2020"}
    other = actkit(*call, "--resume", "--date", "2020-03-01")
    assert other.status == 1 and "date was" in other.err
    wrong = actkit(*call, "--overwrite", "--date", "yesterday")
    assert wrong.status == 2 and "--date yesterday" in wrong.err


def test_a_template_without_a_clock_has_no_date(tmp_path: Path, actkit: Run) -> None:
    assert actkit("capture", "-p", "one", "--chat", "--layers", 1, "-o", tmp_path / "run").status == 0
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["options"]["date"] is None and "date" not in (tmp_path / "run/config.yaml").read_text()


@pytest.mark.slow
def test_tasks_that_begin_on_different_days_are_one_run(
    dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    (tmp_path / "in.jsonl").write_text("".join(f'{{"prompt": "{word}"}}\n' for word in PROMPTS))
    arguments = (
        "capture",
        tmp_path / "in.jsonl",
        "--chat",
        "--model",
        dated,
        "--layers",
        "1",
        "--shard-sequences",
        "1",
    )
    for number, clock in enumerate(("2026-12-01T23:59:00", "2026-12-02T00:01:00")):
        turn(clock, monkeypatch)
        assert actkit(*arguments, "-o", tmp_path / "run", "--shard", f"{number}/2", "-q").status == 0
    merged = actkit("merge", tmp_path / "run", "-q")
    assert merged.status == 0 and dates(tmp_path / "run") == {"01 Dec 2026"}, merged.err


def test_workers_that_go_on_another_day_have_the_date_of_what_is_there(
    dated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    """Each share was begun with a date, and refuses another."""
    turn("2026-12-01T23:59:00", monkeypatch)
    model, out = ModelSpec(str(dated), device="cpu"), tmp_path / "run"
    share = ("capture", "-p", "one", "--chat", "--model", dated, "--layers", "1", "-o", out, "--shard", "1/2", "-q")
    assert actkit(*share).status == 0
    turn("2026-12-02T00:01:00", monkeypatch)
    for resume, date in ((True, "2026-12-01T23:59:00"), (False, "2026-12-02T00:01:00")):
        common = DenseSpec(model, OutputSpec(out, resume=resume), layers="1")
        assert driver.dated(CaptureSpec(prompts=("one",), chat=True), common).tokens.date == date
