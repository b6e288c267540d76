"""The viewer: whatever is asked of it, whatever became of its runs meanwhile, it answers with data or a sentence."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from actkit.report.live import LiveRun
from actkit.report.server import COOKIE, Viewer, application
from actkit.runs.run import open_run
from tests.fuzz.calls import COUNT
from tests.fuzz.damage import NAUGHTY, no_hang
from tests.fuzz.hostile_runs import drawn, make
from tests.verify.conftest import finished  # noqa: F401 - a fixture

ROUTES = {"/": (), "/sequence": ("run", "id"), "/feature": ("run", "sae", "id"), "/record": ("run", "id")}
ELSEWHERE = ("/..", "/../secret.txt", "/%2e%2e/secret.txt", "//secret.txt", "/sequence/../secret.txt", "/run.json",
             "/sequences/part-00000.parquet", "/sequence/", "/SEQUENCE", "/feature/0", "/%00", "/\\..\\secret.txt",
             "/sequence;x", "/record%3Frun=0")  # fmt: skip
VALUES = ("0", "1", "2", "7", "-1", "+1", "00", "1.0", "1e3", "0x1", "", " 1", "1 ", "\u0663", "\u00b2", "9" * 18,
          "9" * 19, "9" * 4000, str(2**63 - 1), str(2**63), "nan", "null", "[]", "../secret.txt", "0;1", "0,1", "\x00",
          "\ud7ff", "true")  # fmt: skip
HOSTS = ("127.0.0.1", "localhost:8000", "[::1]", "attacker.invalid", "127.0.0.1.attacker.invalid", "", "localhost:x")
METHODS = ("GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW")
SECRET = "what lies beside the run"
TRIED = ("features", "pairs")


def request(number: int) -> tuple[str, str, dict[str, str]]:
    """The method, address and headers of a case: a right request, of which none to three things are otherwise."""
    draw = random.Random(number)
    path = draw.choice([*ROUTES, *ROUTES, *ROUTES, draw.choice(ELSEWHERE)])
    asked = [(name, draw.choice(("0", "0", "1", "2"))) for name in ROUTES.get(path, ("run", "id"))]
    method, headers = "GET", {"host": "127.0.0.1", "cookie": f"{COOKIE}=token"}
    for _ in range(draw.randrange(4)):
        match draw.choice(("value", "value", "value", "name", "twice", "less", "more", "method", "header", "text")):
            case "value" if asked:
                at = draw.randrange(len(asked))
                asked[at] = asked[at][0], draw.choice(VALUES)
            case "name" if asked:
                at = draw.randrange(len(asked))
                asked[at] = draw.choice(("Run", "ID", "path", "token", "", "id[]", "__class__")), asked[at][1]
            case "twice" if asked:
                asked.append(draw.choice(asked))
            case "less" if asked:
                asked.pop(draw.randrange(len(asked)))
            case "more":
                asked.append((draw.choice(("x", "token", "run", "path")), draw.choice(VALUES)))
            case "method":
                method = draw.choice(METHODS)
            case "header":
                name = draw.choice(("host", "cookie", "sec-fetch-site", "range", "accept-encoding", "x-forwarded-host"))
                headers[name] = draw.choice((*HOSTS, "cross-site", "bytes=0-1", f"{COOKIE}=", "a=b; " * 99))
            case _:
                asked.append(("id", draw.choice(NAUGHTY)))
    query = "&".join(f"{quote(name)}={quote(value, errors='replace')}" for name, value in asked)
    return method, f"{path}?{query}" if asked else path, headers


def check(client: TestClient, method: str, path: str, headers: dict[str, str], *, whole: bool) -> int:
    """One answer: data, or a sentence; no trace of Python, nothing of what lies beside the run."""
    client.cookies.clear()
    with no_hang():
        answer = client.request(method, path, headers=headers, follow_redirects=False)
    case = (method, path, headers, answer.status_code, answer.text[:300])
    assert answer.status_code in ((200, 303, 400, 403, 404, 405, 421) if whole else (200, 400, 404, 500)), case
    assert "Traceback" not in answer.text and SECRET not in answer.text and 'File "' not in answer.text, case
    assert "\x1b" not in answer.text and answer.headers["x-content-type-options"] == "nosniff", case
    is_data = answer.headers.get("content-type") == "application/json" and method == "GET"
    if is_data:
        found = json.loads(answer.text)
        assert isinstance(found, dict) and (answer.status_code == 200 or 0 < len(found["error"]) < 600), case
    assert is_data or answer.status_code != 500, case
    return answer.status_code


@pytest.fixture
def looked_at(finished: Callable[[str], Path], tmp_path: Path) -> Callable[[str], tuple[Path, TestClient]]:  # noqa: F811
    """Name → a copy of its run beside a file that nobody is to see, and a client of its viewer."""

    def made(name: str) -> tuple[Path, TestClient]:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
        run = Path(shutil.copytree(finished(name), tmp_path / name))
        live = LiveRun(open_run(run))
        live.prepare()
        return run, TestClient(application(Viewer([live], "token")), base_url="http://127.0.0.1")

    return made


@pytest.mark.parametrize("cases", [pytest.param(50, id="some"), pytest.param(COUNT, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TRIED)
def test_whatever_is_asked_gets_data_or_a_sentence(
    name: str, cases: int, looked_at: Callable[[str], tuple[Path, TestClient]]
) -> None:
    _, client = looked_at(name)
    seen = {check(client, *request(number), whole=True) for number in range(cases)}
    assert seen >= {200, 400, 403, 404, 405, 421}


@pytest.mark.parametrize(
    "cases", [pytest.param(2, id="some"), pytest.param(COUNT // 12, id="many", marks=pytest.mark.slow)]
)
def test_a_run_that_is_damaged_while_it_is_looked_at_ends_in_a_sentence(
    cases: int, looked_at: Callable[[str], tuple[Path, TestClient]]
) -> None:
    """The page was made of the whole run; what is asked for then is read from the damaged one."""
    headers = {"host": "127.0.0.1", "cookie": f"{COOKIE}=token"}
    for number in range(cases):
        run, client = looked_at(TRIED[number % len(TRIED)])
        make(run, *drawn("viewer", number))
        for path in ("/sequence?run=0&id=0", "/sequence?run=0&id=5", "/record?run=0&id=1", "/feature?run=0&sae=0&id=7"):
            check(client, "GET", path, headers, whole=False)
