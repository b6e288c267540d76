"""Cases for `calls`: a finished run of somebody else's making, looked at: pages, pictures, viewer, runs made from it.

Steering too. Of runs that others are made from, and that are steered, each such look computes.
"""

import secrets
from collections.abc import Callable

import uvicorn
from starlette.testclient import TestClient

from actkit.plots.pictures import OF_COMMAND
from tests.fuzz.run_cases import RUN, Reader, build, case, facts_of

__all__ = ["case", "looks", "warm"]


LEAVES_NO = ("out.partial",)
TOKEN = "token"
ASKED = ("/", "/sequence?run=0&id=0", "/sequence?run=0&id=5", "/record?run=0&id=1", "/feature?run=0&sae=0&id=7")


def serve(server: uvicorn.Server, sockets: object = None) -> None:
    """What a browser would ask of the viewer, in place of waiting for one."""
    with TestClient(server.config.app, base_url="http://127.0.0.1") as client:  # type: ignore[arg-type]
        client.cookies.set("actkit", TOKEN)
        for path in ASKED:
            answer = client.get(path)
            assert answer.status_code in (200, 400, 404, 500) and "Traceback" not in answer.text, (path, answer.text)
            if path != "/":
                assert isinstance(answer.json(), dict)


def looks(name: str) -> list[Reader]:
    """Command lines that look at a run."""
    facts = facts_of(name)
    command = facts["command"]
    page, out = ("-o", "page.html", "--overwrite"), ("-o", "out", "--overwrite", "-q")
    found: list[Reader] = [("report", RUN, *page, "-q"), ("report", RUN, name, *page, "-q"), ("view", RUN, "-q")]
    found += [("plot", RUN, picture.name, *page) for picture in OF_COMMAND[command]]
    found += [("show", RUN, "--table", table, "-n", "2") for table in facts["tables"]]
    found += [("show", RUN, "--sequence", "1"), ("show", RUN)]
    found += [("show", RUN, "--feature", "7")] if facts.get("saes") else []
    if command in ("concept", "reward-detect"):
        found += [(command, "--from", RUN, *out)] * 3
        steer = ("steer", RUN, "--random", "2", "--answer-tokens", "2", *out)
        found += [(*steer, *(("--layers", "2", "--strengths", "1") if command == "concept" else ()))]
    if command == "concept":
        found += [("capture", "-p", "ab", "--directions", RUN, *out)]
    return found


def warm(actkit: Callable[[list[str]], object]) -> None:
    """The runs, what is imported for them, and a viewer that nobody waits for."""
    uvicorn.Server.run = serve  # type: ignore[assignment]
    secrets.token_urlsafe = lambda _bytes=None: TOKEN  # type: ignore[assignment]
    build(actkit, looks)
