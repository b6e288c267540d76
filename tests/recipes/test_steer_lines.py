"""The lines of the page about steering, run on small runs of the bundled model."""

import json
from pathlib import Path

import pytest

from tests.command_line import Run
from tests.pages import arguments_of, shell_lines
from tests.recipes.steered import concept_run, feedback_run


@pytest.mark.slow
def test_every_line_of_the_page_runs(actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, build in (("enthusiasm", concept_run), ("refusal", concept_run), ("feedback", feedback_run)):
        folder = Path("made", name)
        folder.mkdir(parents=True)
        Path("runs").mkdir(exist_ok=True)
        build(folder).rename(f"runs/{name}")
    rows = [{"prompt": f"What of {n}?", "positive": "I love it.", "negative": "I hate it."} for n in range(12)]
    Path("abc.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    Path("praise.txt").write_text("good\ngreat\n", encoding="utf-8")
    Path("blame.txt").write_text("bad\nawful\n", encoding="utf-8")
    lines = shell_lines("steer")
    assert len(lines) >= 7
    for number, line in enumerate(lines):
        # Of the four layers of the bundled model; fewer controls, where nobody looks at them.
        name, *rest = arguments_of(line.replace("--layers 11-19", "--layers 1-2").replace("--random 20", "--random 4"))
        fewer = () if "--random" in rest or name != "steer" else ("--random", "4")
        found = actkit(name, *rest, *fewer, "-o", f"runs/{number}")
        assert found.status == 0 and Path(f"runs/{number}").is_dir(), (line, found.err)
