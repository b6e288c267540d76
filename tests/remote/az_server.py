"""A server that stands for Azure's blobs: as much of their REST interface as adlfs asks for.

It holds blobs in memory, lists them page by page, and keeps to `If-None-Match: *`. What it shows is that adlfs is
called rightly, and what actkit says of its errors; not how Azure would answer. It checks no signature.
"""

import base64
import hashlib
import http.server
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from tests.serving import served

PAGE = 3
"""Blobs in one page of a listing."""
DATE = "Sat, 28 Nov 2026 10:00:00 GMT"


@dataclass
class Container:
    """The one container, `bucket`, of the account `account`."""

    url: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    refused: tuple[int, str] | None = None
    """The status and Azure's word for it that every request gets."""

    @property
    def connection(self) -> str:
        """The connection string."""
        key = base64.b64encode(b"secret-that-is-nowhere").decode()
        return f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={key};BlobEndpoint={self.url}/account;"

    def listing(self, prefix: str, delimiter: str, marker: str) -> bytes:
        found: dict[str, str] = {}
        for name in sorted(self.blobs):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.partition(delimiter)[0] + delimiter
                found[folder] = f"<BlobPrefix><Name>{escape(folder)}</Name></BlobPrefix>"
            else:
                found[name] = (
                    f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{DATE}</Last-Modified>"
                    f"<Etag>e</Etag><Content-Length>{len(self.blobs[name])}</Content-Length>"
                    "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
                )
        start = int(marker or 0)
        shown, more = list(found.values())[start : start + PAGE], start + PAGE < len(found)
        following = f"<NextMarker>{start + PAGE}</NextMarker>" if more else "<NextMarker />"
        return (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="bucket">'
            f"<Prefix>{escape(prefix)}</Prefix><Delimiter>{escape(delimiter)}</Delimiter>"
            f"<Blobs>{''.join(shown)}</Blobs>{following}</EnumerationResults>"
        ).encode()


def _handler(container: Container) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body: bytes = b"", status: int = 200, length: int | None = None, **headers: str) -> None:
            self.send_response(status)
            own = {"ETag": '"e"', "Last_Modified": DATE, "x_ms_version": "2025-01-05", "x_ms_blob_type": "BlockBlob"}
            size = str(len(body) if length is None else length)
            for name, value in {"Content_Length": size, "x_ms_request_id": "1", **own, **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def fail(self, status: int, code: str) -> None:
            text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
            self.answer(text.encode(), status, x_ms_error_code=code, Content_Type="application/xml")

        def asked(self) -> tuple[str | None, dict[str, str], bytes] | None:
            """Blob, parameters and body; None where the answer has been given."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            found = re.fullmatch(r"/account/([^/]+)(?:/(.+))?", path)
            if container.refused:
                return self.fail(*container.refused)
            if found is None or found[1] != "bucket":
                return self.fail(404, "ContainerNotFound")
            name = urllib.parse.unquote(found[2]) if found[2] else None
            if name is not None and name not in container.blobs and self.command != "PUT":
                return self.fail(404, "BlobNotFound")
            return name, dict(urllib.parse.parse_qsl(query)), body

        def do_GET(self) -> None:
            if (asked := self.asked()) is None:
                return None
            name, query, _ = asked
            if name is None:
                parts = (query.get(key, "") for key in ("prefix", "delimiter", "marker"))
                listed = container.listing(*parts) if query.get("comp") == "list" else b""
                return self.answer(listed, Content_Type="application/xml")
            data, wanted = container.blobs[name], self.headers.get("x-ms-range") or self.headers.get("Range")
            if not wanted:
                return self.answer(data)
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            if start >= len(data):
                return self.fail(416, "InvalidRange")
            return self.answer(data[start : end + 1], 206, Content_Range=f"bytes {start}-{end}/{len(data)}")

        def do_HEAD(self) -> None:
            if (asked := self.asked()) is not None:
                self.answer(length=len(container.blobs[asked[0]]) if asked[0] is not None else 0)

        def do_PUT(self) -> None:
            if (asked := self.asked()) is None:
                return None
            name, _, body = asked
            if self.headers.get("If-None-Match") == "*" and name in container.blobs:
                return self.fail(409, "BlobAlreadyExists")
            container.blobs[str(name)] = body
            return self.answer(status=201, Content_MD5=base64.b64encode(hashlib.md5(body).digest()).decode())

        def do_DELETE(self) -> None:
            if (asked := self.asked()) is not None:
                del container.blobs[str(asked[0])]
                self.answer(status=202)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def az_server() -> Iterator[Container]:
    """The server on 127.0.0.1, with an empty container."""
    container = Container()
    with served(_handler(container)) as container.url:
        yield container
