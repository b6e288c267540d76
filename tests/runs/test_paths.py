"""What a run's files are called: in the order of their numbers, however many there are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.pipeline.resume.session import reconcile
from actkit.runs.paths import is_run, is_unfinished_run, numbered, part_name, part_number
from actkit.runs.progress import Progress
from actkit.runs.reader import parts

NUMBERS = (0, 7, 99_998, 99_999, 100_000, 100_001, 1_000_000)


def test_parts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for number in reversed(NUMBERS):
        path = folder / f"{part_name(number)}.parquet"
        path.touch()
        assert part_number(path) == number
    others = ("part-1", "part-0100000", "part-00000.x", "part-", "part-00000x", "part--0001", "part-" + "9" * 30)
    for name in others:
        (folder / f"{name}.parquet").touch()
        assert part_number(Path(f"{name}.parquet")) is None
    (folder / "part-00001.json").touch()
    assert [part_number(path) for path in parts(tmp_path, "tokens")] == list(NUMBERS)
    assert [path.name for path in numbered(folder, ".json")] == ["part-00001.json"]


def test_a_run_reconciles_beyond_part_99_999(tmp_path: Path) -> None:
    """As text, part-100000 is before part-99999: such runs failed at their end."""
    (tmp_path / "sequences").mkdir()
    for record, number in enumerate((99_998, 99_999, 100_000, 100_001)):
        table = pa.table({"record_id": [record], "chunk": pa.nulls(1, pa.int32()), "n_truncated": [0]})
        pq.write_table(table, tmp_path / "sequences" / f"{part_name(number)}.parquet")
    reconcile(tmp_path, Progress(read=4, written=4))
    with pytest.raises(RunError):
        reconcile(tmp_path, Progress(read=5, written=5))


def test_a_part_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "part-00000.parquet").symlink_to("/dev/zero")
    with pytest.raises(RunError, match=r"part-00000.parquet is no regular file"):
        parts(tmp_path, "tokens")


def test_a_run_is_told_by_what_its_files_say(tmp_path: Path) -> None:
    assert not is_run(tmp_path) and not is_unfinished_run(tmp_path) and not is_run(tmp_path / "nowhere")
    (tmp_path / "run.json").write_text('{"name": "another program\'s"}')
    (tmp_path / "fingerprint.json").write_text("[1]")
    assert not is_run(tmp_path) and not is_unfinished_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema_version": 2, "command": "dpo", "tables": {}}')
    (tmp_path / "fingerprint.json").write_text('{"fingerprint": {}, "replaces": false, "sessions": []}')
    assert is_run(tmp_path) and is_unfinished_run(tmp_path)
