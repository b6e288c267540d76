"""A server that stands for Google Cloud Storage: as much of its JSON interface as gcsfs asks for.

It holds objects in memory, lists them page by page, and keeps to `ifGenerationMatch=0`. What it shows is that gcsfs is
called rightly, and what actkit says of its errors; not how Google would answer.
"""

import base64
import hashlib
import http.server
import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.serving import served

PAGE = 3
"""Objects in one page of a listing."""


@dataclass
class Bucket:
    """The one bucket, `bucket`."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    refused: int | None = None
    """The status that every request gets."""
    uploads: dict[str, bytearray] = field(default_factory=dict)

    def about(self, name: str) -> dict[str, Any]:
        data = self.objects[name]
        digest = base64.b64encode(hashlib.md5(data).digest()).decode()
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": "bucket",
            "size": str(len(data)),
            "md5Hash": digest,
            "generation": "1",
        }

    def listing(self, prefix: str, delimiter: str, token: str) -> dict[str, Any]:
        inside = sorted(name for name in self.objects if name.startswith(prefix))
        folders, items = set(), []
        for name in inside:
            rest = name.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.about(name))
        start = int(token or 0)
        more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(items) else {}
        return {
            "kind": "storage#objects",
            "items": items[start : start + PAGE],
            "prefixes": sorted(folders) if not start else [],
            **more,
        }


def _handler(bucket: Bucket) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body: Any, status: int = 200, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def fail(self, status: int) -> None:
            self.answer({"error": {"code": status, "message": f"status {status}"}}, status)

        def asked(self) -> tuple[str, str | None, dict[str, str], bytes]:
            """Bucket, object, parameters and body."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            found = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?", path)
            name = found and found[2] and urllib.parse.unquote(found[2])
            return found[1] if found else "", name or None, dict(urllib.parse.parse_qsl(query)), body

        def do_GET(self) -> None:
            where, name, query, _ = self.asked()
            if bucket.refused:
                return self.fail(bucket.refused)
            if where != "bucket" or (name and name not in bucket.objects):
                return self.fail(404)
            if name is None:
                is_list = self.path.partition("?")[0].endswith("/o")
                listed = bucket.listing(query.get("prefix", ""), query.get("delimiter", ""), query.get("pageToken", ""))
                return self.answer(listed if is_list else {"name": "bucket"})
            if query.get("alt") != "media":
                return self.answer(bucket.about(name))
            data, wanted = bucket.objects[name], self.headers.get("Range")
            if not wanted:
                return self.answer(data)
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            if start >= len(data):
                return self.fail(416)
            return self.answer(data[start : end + 1], 206, Content_Range=f"bytes {start}-{end}/{len(data)}")

        def do_POST(self) -> None:
            where, _, query, body = self.asked()
            if bucket.refused or where != "bucket":
                return self.fail(bucket.refused or 404)
            if "upload_id" in query:
                return self.uploaded(query["upload_id"], body)
            if query.get("uploadType") == "multipart":
                edge = b"\n--" + self.headers["Content-Type"].partition('boundary="')[2].rstrip('"').encode()
                about, data = (part.partition(b"\n\n")[2] for part in (b"\n" + body).split(edge)[1:3])
                name = json.loads(about)["name"]
            else:
                name, data = query["name"], b""
            if query.get("ifGenerationMatch") == "0" and name in bucket.objects:
                return self.fail(412)
            if query.get("uploadType") == "multipart":
                bucket.objects[name] = data
                return self.answer(bucket.about(name))
            bucket.uploads[name] = bytearray()
            where = f"{bucket.url}/upload/storage/v1/b/bucket/o?upload_id={urllib.parse.quote(name)}"
            return self.answer({}, Location=where)

        def uploaded(self, name: str, body: bytes) -> None:
            """A piece of a large object; it is there once the last one is."""
            bucket.uploads[name] += body
            size = self.headers["Content-Range"].rpartition("/")[2]
            if size == "*" or len(bucket.uploads[name]) < int(size):
                return self.answer({}, 308, Range=f"bytes=0-{len(bucket.uploads[name]) - 1}")
            bucket.objects[name] = bytes(bucket.uploads.pop(name))
            return self.answer(bucket.about(name))

        def do_DELETE(self) -> None:
            where, name, query, _ = self.asked()
            if "upload_id" in query:
                return self.answer(b"", 499)
            if bucket.refused or where != "bucket" or name not in bucket.objects:
                return self.fail(bucket.refused or 404)
            del bucket.objects[str(name)]
            return self.answer(b"", 204)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def gs_server() -> Iterator[Bucket]:
    """The server on 127.0.0.1, with an empty bucket."""
    bucket = Bucket()
    with served(_handler(bucket)) as bucket.url:
        yield bucket
