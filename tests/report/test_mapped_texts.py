"""The viewer cuts contexts out of texts that are mapped into memory: the same contexts, no part decoded."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from actkit.cli.app import main
from actkit.report.live import LiveRun
from actkit.report.mapped_texts import mapped_texts
from actkit.runs.run import open_run

SAE = ("--sae-release", "tiny", "--sae-id", "blocks.2.hook_resid_post")
LONG = "Once there was a 🦔 in the garden — and naïve 日本 rain. " * 6


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Documents in pieces with characters of several tokens, in several parts; pairs, whose sides continue a prefix."""
    tmp_path = tmp_path_factory.mktemp("mapped")
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"{LONG} {at} {LONG}"}) + "\n" for at in range(4)))
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"{LONG} {at}?", "chosen": " Yes 🦔 it is.", "rejected": " No, it is not."} for at in range(3)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines: list[tuple[Any, ...]] = [
        ("feature-dataset", texts, "--max-length", "64", "--shard-sequences", "3"),
        ("dpo", pairs, "--layers", "2", "--top-k", "20"),
    ]
    for name, *rest in lines:
        with pytest.raises(SystemExit) as ended:
            main([name, *map(str, rest), *SAE, "-o", str(tmp_path / name), "-q"])
        assert ended.value.code == 0
    return [tmp_path / name for name, *_ in lines]


@pytest.mark.slow
def test_contexts_are_those_of_the_tables_and_no_part_of_the_texts_is_decoded(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in runs:
        live = LiveRun(open_run(path))
        live.prepare()
        assert live.texts is not None
        active = (live.scales[0].maxima > 0).nonzero()[0].tolist()[::50]
        assert len(active) > 5
        pages: dict[bool, list[Any]] = {}
        for mapped in (False, True):
            shown = LiveRun(open_run(path), live.scales)
            shown.__dict__["texts"] = live.texts if mapped else None
            read = _reads(monkeypatch)
            pages[mapped] = [shown.feature(0, number) for number in active]
            assert any("tokens" in name or "sequences" in name for name in read) != mapped
        assert pages[True] == pages[False]
        assert any("🦔" in context["text"] for page in pages[True] for context in page["contexts"])


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables whose parts are opened from now on."""
    monkeypatch.undo()
    opened: list[str] = []

    class Watched(pq.ParquetFile):
        def __init__(self, source: Any, *rest: Any, **more: Any) -> None:
            opened.append(Path(source).parent.name)
            super().__init__(source, *rest, **more)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    return opened


def test_a_record_is_found_by_its_number(runs: list[Path]) -> None:
    live = LiveRun(open_run(runs[0]))
    table = live.run.table("sequences", ["sequence_id", "record_id"]).to_pylist()
    for record in range(4):
        first = min(row["sequence_id"] for row in table if row["record_id"] == record)
        assert live.record(record) == {"sequence": first}
    assert live.record(4) == {"sequence": None}


def test_without_room_for_temporary_files_the_tables_are_read(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1})())
    assert mapped_texts(runs[0], 1000) is None
