"""Files that are refused with the line that makes of them what is read: the line is run, where its program is there."""

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import Run

ROWS = [["I really liked the tea.", "pos"], ["The lamp was broken.", "neg"]]
ANSWERS = ["It's it.", "No.", "Perhaps?"]
CHOICES = [{"q": f"What is {at}?", "answers": ANSWERS, "best_answer": at % 3} for at in range(4)]


def mended(hint: str, folder: Path) -> list[str]:
    """The lines of the file that a hint's line makes, pasted as it stands; none where its program is missing."""
    line = re.search(r"(jq|iconv) -.* > (\S+)", hint)
    assert line is not None, hint
    if shutil.which(line[1]) is None:
        return []
    subprocess.run(["bash", "-c", line[0].removesuffix(";")], cwd=folder, check=True, timeout=30)
    return (folder / line[2].removesuffix(";")).read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("lines", [False, True])
def test_lists_of_values_are_named_by_the_line_in_the_hint(lines: bool, actkit: Run, tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row) for row in ROWS) if lines else json.dumps(ROWS)
    name = f"it.{'jsonl' if lines else 'json'}"
    (tmp_path / name).write_text(text)
    for command in ("reward-detect", "capture", "sae-extract"):
        refused = actkit(command, tmp_path / name, "--target-layer", "2", "-o", tmp_path / "x", "-q")
        assert refused.status == 1 and "not an object but a list" in refused.err
    for row, named in zip(ROWS, mended(refused.err, tmp_path), strict=False):
        assert json.loads(named) == {"text": row[0], "label": row[1]}


@pytest.mark.parametrize(
    ("name", "text"), [("it.txt", "Où est le café ?\nÀ bientôt.\n"), ("a b.csv", "Satz;Wert\nSchön.;1\n")]
)
def test_a_file_that_is_not_in_utf8_says_how_to_make_it_so(name: str, text: str, actkit: Run, tmp_path: Path) -> None:
    """The line named FILE and NEW: pasted, it made a file that nothing took for CSV."""
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    refused = actkit("capture", tmp_path / name, "-o", tmp_path / "x", "-q")
    assert refused.status == 1 and "not valid UTF-8" in refused.err
    line = re.search(r"iconv .* > ('.*?'|\S+)", refused.err)
    assert line is not None and line[0] in actkit("peek", tmp_path / name).out
    assert line[0] in actkit("dpo", tmp_path / name, "-o", tmp_path / "x", "-q").err
    if shutil.which("iconv") is not None:
        subprocess.run(["bash", "-c", line[0]], check=True, timeout=30)
        (made,) = set(tmp_path.iterdir()) - {tmp_path / name}
        assert made.read_text(encoding="utf-8") == text
        assert ("column" in actkit("peek", made).out) == name.endswith("csv")


@pytest.mark.slow
def test_answers_whose_best_is_a_number_become_pairs_by_the_line_in_the_hint(actkit: Run, tmp_path: Path) -> None:
    (tmp_path / "it.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHOICES))
    refused = actkit("dpo", tmp_path / "it.jsonl", "-o", tmp_path / "x", "-q")
    assert refused.status == 1 and "best_answer gives the best of answers by its number" in refused.err
    pairs = [json.loads(line) for line in mended(refused.err.split(" actkit docs")[0], tmp_path)]
    if pairs:
        assert len(pairs) == 8
        assert pairs[2] == {"q": "What is 1?", "chosen": "No.", "rejected": "It's it."}
        assert actkit("dpo", tmp_path / "PAIRS.jsonl", "--prompt-field", "q", "-o", tmp_path / "x", "-q").status == 0
    # A number that is no answer's, or counts something else, is no hint.
    (tmp_path / "it.jsonl").write_text("".join(json.dumps({**row, "best_answer": 7}) + "\n" for row in CHOICES))
    assert "by its number" not in actkit("dpo", tmp_path / "it.jsonl", "-o", tmp_path / "y", "-q").err


def test_parquet_in_an_archive_says_how_to_get_it_out(actkit: Run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["One."]}), tmp_path / "a b.parquet")
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.write(tmp_path / "a b.parquet", "data/a b.parquet")
    refused = actkit("feature-dataset", tmp_path / "it.zip", "--target-layer", "2", "-o", tmp_path / "x", "-q")
    assert refused.status == 1
    assert f"unzip {tmp_path}/it.zip 'data/a b.parquet', and give 'data/a b.parquet'" in refused.err


@pytest.mark.slow
def test_messages_of_a_file_and_printed_objects_are_made_records_by_the_line_in_the_hint(
    actkit: Run, tmp_path: Path
) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "It's it?"}]
    (tmp_path / "it s.json").write_text(json.dumps(turns))
    refused = actkit("capture", tmp_path / "it s.json", "-l", 1, "-o", tmp_path / "x", "-q")
    for line in mended(refused.err, tmp_path):
        assert json.loads(line) == {"messages": turns}
    row = {"prompt": "So", "id": None, "said": "It's it."}
    (tmp_path / "it s.jsonl").write_text(f"{row}\n")
    refused = actkit("capture", tmp_path / "it s.jsonl", "-l", 1, "-o", tmp_path / "x", "-q")
    before = {*tmp_path.iterdir()}
    line = re.search(r"python3 -c '.*?' < ('.*?'|\S+) > ('.*?'|\S+)", refused.err)
    assert line is not None, refused.err
    if shutil.which("python3") is not None:
        subprocess.run(["bash", "-c", line[0]], cwd=tmp_path, check=True, timeout=30)
        (made,) = {*tmp_path.iterdir()} - before
        assert json.loads(made.read_text()) == row
