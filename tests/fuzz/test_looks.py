"""Run folders of others' making, looked at: pages, pictures, viewer, runs made from them, steering; a sentence each.

One reader a case, in turn, so that all readers of a kind of run share its cases.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import strategies as st
from starlette.testclient import TestClient

from actkit.plots.pictures import OF_COMMAND
from tests.fuzz.damage import fuzz, no_hang
from tests.fuzz.hostile_runs import Step, cases, make
from tests.fuzz.test_runs import MEMORY, check_call
from tests.verify.conftest import finished  # noqa: F401 - a fixture

Reader = tuple[str, ...]
RUN, TOKEN = "x", "token"
ASKED = ("/", "/sequence?run=0&id=0", "/sequence?run=0&id=5", "/record?run=0&id=1", "/feature?run=0&sae=0&id=7")


def serve(server: object, sockets: object = None) -> None:
    """What a browser would ask of the viewer, in place of waiting for one."""
    with TestClient(server.config.app, base_url="http://127.0.0.1") as client:  # type: ignore[attr-defined]
        client.cookies.set("actkit", TOKEN)
        for path in ASKED:
            answer = client.get(path)
            assert answer.status_code in (200, 400, 404, 500) and "Traceback" not in answer.text, (path, answer.text)
            if path != "/":
                assert isinstance(answer.json(), dict)


def readers(run: Path) -> list[Reader]:
    """Command lines that read the run, without what they write to."""
    facts = json.loads((run / "run.json").read_text())
    page, out = ("-o", "page.html", "--overwrite"), ("-o", "out", "--overwrite", "-q")
    found: list[Reader] = [("report", RUN, *page, "-q"), ("report", RUN, "whole", *page, "-q"), ("view", RUN, "-q")]
    found += [("plot", RUN, picture.name, *page) for picture in OF_COMMAND[facts["command"]]]
    found += [("show", RUN, "--table", table, "-n", "2") for table in facts["tables"]]
    found += [("show", RUN, "--sequence", "1"), ("show", RUN)]
    found += [("show", RUN, "--feature", "7")] if facts.get("saes") else []
    if facts["command"] in ("concept", "reward-detect"):
        found += [(facts["command"], "--from", RUN, *out)] * 3
        steer = ("steer", RUN, "--random", "2", "--answer-tokens", "2", *out)
        found += [(*steer, *(("--layers", "2", "--strengths", "1") if facts["command"] == "concept" else ()))]
    if facts["command"] == "concept":
        found += [("capture", "-p", "ab", "--directions", RUN, *out)]
    return found


CASES = {"pairs": 350, "vectors": 350, "features": 350, "chunks": 350, "pooled": 150, "directions": 150}
"""Of runs that others are made from, and that are steered, fewer: each such look computes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_whoever_looks_at_a_hostile_run_ends_in_a_sentence(
    name: str,
    finished: Callable[[str], Path],  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = finished(name)
    shutil.copytree(whole, tmp_path / "whole")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("uvicorn.Server.run", serve)
    monkeypatch.setattr("secrets.token_urlsafe", lambda _bytes: TOKEN)
    looks = readers(whole)
    ends = Counter[str]()

    def check(case: tuple[tuple[list[Step], str], int]) -> None:
        shutil.rmtree(RUN, ignore_errors=True)
        shutil.copytree(whole, RUN)
        make(Path(RUN), *case[0])
        look = looks[case[1] % len(looks)]
        with no_hang():
            status = check_call(capfd, *look, statuses=(0, 1, 2))
        ends[f"{look[0]} {status}"] += 1
        shutil.rmtree("out", ignore_errors=True)
        assert pa.default_memory_pool().bytes_allocated() < MEMORY
        assert not Path("out.partial").exists()

    fuzz(CASES[name], st.tuples(cases, st.integers(0, 10**4)), check)
    sys.stdout.write(f"{name}: {dict(sorted(ends.items()))}\n")
