"""The viewer: a report's page over loopback. It reads a text or a feature when a browser asks for it.

It answers a browser on this machine that was given the address with its token. The token becomes a cookie, which no
script reads and no other site sends. It refuses a Host that is no loopback name, a request that another site began, and
any method but GET and HEAD. Parameters are whole numbers; none of them is a path or a query.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from actkit.errors import ActkitError, RunError, in_short
from actkit.report.live import LiveRun
from actkit.report.pack import safe_json
from actkit.report.write import block_elements, page_parts, policy, script_text

COOKIE = "actkit"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
DIGITS = 18
"""Digits of a parameter, which then fits into 64 bits."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Viewer:
    """The runs that are shown, and the token that opens them."""

    runs: Sequence[LiveRun]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def page(self) -> bytes:
        """The page, without the data of any single text or feature."""
        pictures = [run.pictures for run in self.runs]
        head, tail, blocks = page_parts([run.run for run in self.runs], pictures, live=True)
        blocks["index"] = [run.index for run in self.runs]
        return head.encode("utf-8", "replace") + block_elements(blocks) + tail.encode("utf-8", "replace")


def application(viewer: Viewer) -> Starlette:
    """Make the application that serves a viewer. It makes the page at once, which takes long."""
    whole = viewer.page()

    async def page(request: Request) -> Response:
        if "token" in request.query_params:
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, viewer.token, httponly=True, samesite="strict", path="/")
            return answer
        return Response(whole, media_type="text/html")

    def data(names: Sequence[str], read: Callable[[LiveRun, Mapping[str, int]], Any]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            try:
                asked = _numbers(request.query_params.multi_items(), ("run", *names))
                if not 0 <= asked["run"] < len(viewer.runs):
                    raise RunError(f"no run {asked['run']}")
                found = await run_in_threadpool(read, viewer.runs[asked["run"]], asked)
            except ActkitError as error:
                return _json({"error": error.message}, 404 if isinstance(error, RunError) else 400)
            except Exception as error:  # reading a file damaged since the page was made may raise anything
                what = in_short(f"{type(error).__name__}: {error}")
                return _json({"error": f"{what}; actkit verify says whether the run is damaged"}, 500)
            return _json(found, 200)

        return answer

    routes = [
        Route("/", page),
        Route("/sequence", data(("id",), lambda run, asked: run.sequence(asked["id"]))),
        Route("/feature", data(("sae", "id"), lambda run, asked: run.feature(asked["sae"], asked["id"]))),
        Route("/record", data(("id",), lambda run, asked: run.record(asked["id"]))),
    ]
    made = Starlette(routes=routes)
    made.router.redirect_slashes = False  # each address has one spelling, and no answer redirects
    made.add_middleware(BaseHTTPMiddleware, dispatch=_guard(viewer.token))
    return made


def _guard(token: str) -> Callable[..., Any]:
    """Refuse requests that are not the user's own, and give every answer its headers."""
    headers = {**HEADERS, "Content-Security-Policy": policy(script_text(), live=True) + "; frame-ancestors 'none'"}

    async def guard(request: Request, call: Callable[..., Any]) -> Response:
        answer = _refused(request, token) or await call(request)
        answer.headers.update(headers)
        return answer

    return guard


def _refused(request: Request, token: str) -> Response | None:
    if request.method not in ("GET", "HEAD"):
        return Response("GET and HEAD only", 405, {"Allow": "GET, HEAD"})
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        return Response("not a name of this machine", 421)
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return Response("asked for by another site", 403)
    given = request.query_params.getlist("token")
    if request.url.path == "/" and len(given) == 1 and secrets.compare_digest(given[0].encode(), token.encode()):
        return None
    if given or not secrets.compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
        return Response("the address that actkit view printed has a token", 403)
    return None


def _is_loopback(host: str) -> bool:
    """Whether a Host header is a loopback name, with any port or none."""
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    return name.lower() in LOOPBACK and (not port or (port.isascii() and port.isdigit() and len(port) <= 5))


def _numbers(given: Sequence[tuple[str, str]], names: Sequence[str]) -> dict[str, int]:
    """Read the parameters: each must be there once, a whole number. Raises ActkitError."""
    if sorted(name for name, _ in given) != sorted(names):
        raise ActkitError(f"the parameters are {', '.join(names)}")
    for name, value in given:
        if not (value.isascii() and value.isdigit() and len(value) <= DIGITS):
            raise ActkitError(f"{name} is a whole number")
    return {name: int(value) for name, value in given}


def _json(value: Any, status: int) -> Response:
    return Response(safe_json(value), status, media_type="application/json")
