"""The lines of the page about stores, the hub and the web, run as they stand against servers on this machine."""

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import Run
from tests.pages import TEXTS, arguments_of, blocks, shell_lines
from tests.remote.conftest import Web, other_store
from tests.remote.hub_server import Hub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # huggingface_hub's own
    pytest.mark.filterwarnings("ignore:.*are of one token a text"),
]
PAIRS = [{"prompt": f"Is {n} even?", "chosen": f"Yes, {n}.", "rejected": f"No, {n}."} for n in range(12)]


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_every_line_of_the_page_runs(
    s3: Any, web: Web, hub: Hub, actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.chdir(tmp_path)
    prompts = lines_of([{"prompt": f"What is {n}?"} for n in range(5)])
    Path("prompts.jsonl").write_bytes(prompts)
    s3.put_object(Bucket="bucket", Key="prompts.jsonl.gz", Body=gzip.compress(prompts))
    labelled = "".join(f"Text {n},{('positive', 'negative')[n % 2]}\n" for n in range(24))
    web.files["/labelled.csv"] = f"text,label\n{labelled}".encode()
    answers = lines_of([{"prompt": f"What is {n}?", "response": f" It is {n}."} for n in range(4)])
    hub.repos["owner/name"] = {"data/train.jsonl": answers}
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(PAIRS), table)
    with other_store("gs", monkeypatch) as store:
        store.objects["pairs/a.parquet"] = table.getvalue()
        made = 0
        for line in shell_lines("cloud"):
            found = actkit(*arguments_of(line.replace("https://host", web.url)))
            assert found.status == 0, (line, found.err)
            made += 1
    assert made >= 6
    # What was pushed is read as the page says: under the repository's name, here a folder of its files.
    for name, data in hub.repos["me/name"].items():
        path = Path("me/name", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    Path("me/name/.gitattributes").unlink()
    (block,) = blocks("py", TEXTS["cloud"])
    datasets.disable_progress_bars()
    calls = re.findall(r'load_dataset\("[^"]+", "[^"]+"\)', block)
    read = [
        eval(call, {"load_dataset": lambda *of: datasets.load_dataset(*of, cache_dir=str(tmp_path / "cache"))})
        for call in calls
    ]
    assert len(read) == 2 and read[0]["train"].to_list() == read[1]["train"].to_list() != []
