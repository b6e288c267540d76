"""The viewer: the same page over loopback, and everything that a stranger could try against it."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from actkit.report.live import LiveRun
from actkit.report.server import Viewer, application
from actkit.runs.run import open_run
from tests.pages import TEXTS, arguments_of, shell_lines
from tests.report.browser import watched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def viewer(six_runs: Mapping[str, Path]) -> Iterator[tuple[Viewer, int]]:
    """A viewer of the corpus and of the pairs, and its port."""
    shown = Viewer([LiveRun(open_run(six_runs[name])) for name in ("feature-dataset", "dpo")])
    for run in shown.runs:
        run.prepare()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(shown), log_level="error", server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield shown, listening.getsockname()[1]
    server.should_exit = True
    thread.join()
    listening.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request; `host` and `cookie` as given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"host": f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


@pytest.mark.slow
def test_the_token_opens_the_page_and_becomes_a_cookie(viewer: tuple[Viewer, int]) -> None:
    shown, port = viewer
    status, headers, _ = ask(port, f"/?token={shown.token}")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    status, headers, body = ask(port, "/", cookie=cookie.split(";")[0])
    assert status == 200 and b'data-live="true"' in body and shown.token.encode() not in body
    assert len(shown.token) >= 32 and shown.token not in repr(shown)


@pytest.mark.parametrize(
    "path", ["/", "/?token=x", "/?token=", "/sequence?run=0&id=0", "/feature?run=0&sae=0&id=1", "/nothing"]
)
def test_without_the_token_nothing_is_told(viewer: tuple[Viewer, int], path: str) -> None:
    shown, port = viewer
    assert ask(port, path)[0] == 403
    assert ask(port, path, cookie="actkit=guess")[0] == 403
    assert ask(port, f"{path}{'&' if '?' in path else '?'}token={shown.token}")[0] != 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True), ("localhost", True), ("LOCALHOST:80", True), ("[::1]:8", True), ("127.0.0.1:65535", True),
        ("attacker.invalid", False), ("127.0.0.1.attacker.invalid", False), ("localhost.attacker.invalid:1", False),
        ("127.0.0.1:1@attacker.invalid", False),
        ("0.0.0.0", False), ("127.1", False), ("", False), ("localhost:x", False),
        ("localhost:", True), ("2130706433", False), ("[::1", False),
    ],
)  # fmt: skip
def test_only_a_loopback_name_is_a_host(viewer: tuple[Viewer, int], host: str, allowed: bool) -> None:
    """A name that was bound to 127.0.0.1 by somebody else's server must not be answered."""
    shown, port = viewer
    status = ask(port, "/sequence?run=0&id=0", host=host, cookie=f"actkit={shown.token}")[0]
    assert (status == 200) is allowed, status


def test_other_methods_and_other_sites_are_refused(viewer: tuple[Viewer, int]) -> None:
    shown, port = viewer
    cookie = f"actkit={shown.token}"
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        assert ask(port, "/", method, cookie=cookie)[0] == 405, method
    assert ask(port, "/", "HEAD", cookie=cookie)[0] == 200
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200), ("x", 403)):
        assert ask(port, "/sequence?run=0&id=0", cookie=cookie, sec_fetch_site=site)[0] == status, site


@pytest.mark.parametrize(
    "path",
    [
        "/sequence?run=0", "/sequence?run=0&id=", "/sequence?run=0&id=-1", "/sequence?run=0&id=1.5",
        "/sequence?run=0&id=1e3",
        "/sequence?run=0&id=../../etc/passwd", "/sequence?run=0&id=%00", "/sequence?run=0&id=1;drop",
        "/sequence?run=0&id=٣",
        "/sequence?run=0&id=1&id=2", "/sequence?run=0&id=1&x=1", "/sequence?run=9&id=0", "/sequence?run=0&id=999999999",
        "/sequence?run=0&id=99999999999999999999", "/feature?run=0&sae=7&id=0", "/feature?run=0&sae=0&id=4096",
        "/record?run=0", "/../etc/passwd", "/run.json", "/static/x",
    ],
)  # fmt: skip
def test_parameters_are_whole_numbers_that_exist(viewer: tuple[Viewer, int], path: str) -> None:
    from urllib.parse import quote

    shown, port = viewer
    status, headers, body = ask(port, quote(path, safe="/?&=%.;"), cookie=f"actkit={shown.token}")
    assert status in (400, 404) and b"Traceback" not in body and b"root:" not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_every_answer_has_the_headers(viewer: tuple[Viewer, int]) -> None:
    shown, port = viewer
    for path, cookie in (
        ("/", shown.token),
        ("/", "x"),
        ("/feature?run=0&sae=0&id=1", shown.token),
        ("/none", shown.token),
    ):
        _, headers, _ = ask(port, path, cookie=f"actkit={cookie}")
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store" and headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe-eval" not in policy and "frame-ancestors 'none'" in policy
        assert "access-control-allow-origin" not in headers and "server" not in headers


def test_a_text_and_a_feature_are_what_the_tables_hold(viewer: tuple[Viewer, int]) -> None:
    shown, port = viewer
    run, cookie = shown.runs[0].run, f"actkit={shown.token}"
    row = run.table("sequences").to_pylist()[3]
    view = json.loads(ask(port, f"/sequence?run=0&id={row['sequence_id']}", cookie=cookie)[2])
    ordinary = [text for at, text in enumerate(view["texts"]) if at not in view["special"]]
    assert "".join(ordinary) == row["text"]
    features = run.to_pandas("features")
    own = features[features["sequence_id"] == row["sequence_id"]].set_index("position")
    for first, found in zip(view["first"], view["features"][0], strict=True):
        ids, values = own.loc[first, "feature_ids"][:32], own.loc[first, "feature_activations"][:32]
        assert found[0] == ids.tolist()
        for feature, level, value in zip(*found, values, strict=True):
            top = float(shown.runs[0].scales[0].maxima[feature])
            assert abs(level / 255 * top - value) <= top / 510 + 1e-6 or level == 1
    best = run.to_pandas("feature_stats").nlargest(1, "max").iloc[0]
    page = json.loads(ask(port, f"/feature?run=0&sae=0&id={best['feature_id']}", cookie=cookie)[2])
    assert page["n_active"] == best["n_active"] and page["max"] == pytest.approx(best["max"])
    assert [context["position"] for context in page["contexts"]] == [
        context["position"] for context in best["contexts"]
    ]
    assert json.loads(ask(port, "/record?run=1&id=2", cookie=cookie)[2])["sequence"] is not None


@pytest.mark.slow
def test_the_page_lives_in_a_browser(viewer: tuple[Viewer, int], browser: Any) -> None:
    shown, port = viewer
    address = f"http://127.0.0.1:{port}/"
    feature = int(shown.runs[0].index["features"][0][0][0])
    with watched(browser, allowed=(address, "blob:", "data:")) as seen:
        seen.go(f"{address}?token={shown.token}")
        assert shown.token not in seen.page.url, "the token does not stay in the address"
        assert f"Feature {feature}" in seen.to(f"#/0/feature/0/{feature}")
        assert "chosen" in seen.to("#/1/record/1") and "rejected" in seen.page.inner_text("#detail")
        assert not seen.problems, seen.problems
        assert seen.page.evaluate("document.cookie") == "", "no script reads the cookie"


def test_the_command_says_what_is_missing(
    six_runs: Mapping[str, Path], actkit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    found = actkit("view", six_runs["dpo"])
    assert found.status == 2 and "actkit[view]" in found.err and "uvicorn" in found.err


def test_the_address_that_view_prints_answers_at_once_and_ctrl_c_ends_it_without_a_complaint(
    six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/x").symlink_to(six_runs["capture"])
    (line,) = (arguments for page in TEXTS for arguments in map(arguments_of, shell_lines(page)) if "view" in arguments)
    call = [sys.executable, "-m", "actkit", *line, "--quiet"]
    with subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        address = urlsplit(server.stdout.readline().strip())
        assert ask(address.port or 0, f"/?{address.query}")[0] == 303
        server.send_signal(signal.SIGINT)
        assert (server.wait(60), server.stderr.read()) == (0, "")
