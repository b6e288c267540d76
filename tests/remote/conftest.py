"""A store on this machine: moto's server, which stands for S3, and a web server whose manners a test chooses.

moto is a mock: what it shows of S3 is that the right requests are made, not how AWS would answer them under load.
"""

import http.server
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.serving import served


@dataclass
class Web:
    """A web server: `files` by path, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    breaks_after: int | None = None
    """Bytes of each answer after which the connection ends."""
    sent: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on 127.0.0.1."""
    state = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            state.requests.append((path, self.headers.get("Range", "")))
            state.headers.append(dict(self.headers))
            if path in state.statuses:
                return self.send_error(state.statuses[path])
            if path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[path])
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if path not in state.files:
                return self.send_error(404)
            data, start = state.files[path], 0
            wanted = self.headers.get("Range")
            if wanted and state.ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last or len(data) - 1)
                if start >= len(data):
                    return self.send_error(416)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
                data = data[start : end + 1]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"e1"')
            self.end_headers()
            part = data if state.breaks_after is None else data[: state.breaks_after]
            for at in range(0, len(part), 1 << 16):
                try:
                    self.wfile.write(part[at : at + (1 << 16)])
                except OSError:
                    return None
                state.sent += len(part[at : at + (1 << 16)])
            self.close_connection = True
            return None

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as state.url:
        yield state


@pytest.fixture(scope="session")
def store_server() -> Iterator[str]:
    """moto's server; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(store_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client of an empty store with the bucket `bucket`, whose credentials are in the environment."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": store_server,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-that-is-nowhere",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    for row in client.list_objects_v2(Bucket="bucket").get("Contents", ()):
        client.delete_object(Bucket="bucket", Key=row["Key"])
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def put(s3: Any) -> Callable[[str, bytes], str]:
    """Put an object into `bucket`; its address."""

    def put(key: str, data: bytes) -> str:
        s3.put_object(Bucket="bucket", Key=key, Body=data)
        return f"s3://bucket/{key}"

    return put
