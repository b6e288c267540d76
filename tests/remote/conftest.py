"""A store on this machine: moto's server, which stands for S3, and a web server whose manners a test chooses.

moto is a mock: what it shows of S3 is that the right requests are made, not how AWS would answer them under load.
"""

import http.server
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest

from actkit.remote import store
from tests.remote.az_server import az_server
from tests.remote.gs_server import gs_server
from tests.remote.hub_server import Hub, serving
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
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket"):
        for row in page.get("Contents", ()):
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


@dataclass
class Store:
    """A store of one kind: its objects by name, and how to have it refuse whatever it is asked."""

    scheme: str
    objects: MutableMapping[str, bytes]
    refuse: Callable[[int], None]

    def at(self, key: str) -> str:
        return f"{self.scheme}://bucket/{key}"


@contextmanager
def other_store(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store of Google's (`gs`) or Azure's (`az`), and the settings by which its package finds it."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # as `file_system` has it before the import
    package = pytest.importorskip({"gs": "gcsfs", "az": "adlfs"}[kind])
    system = package.GCSFileSystem if kind == "gs" else package.AzureBlobFileSystem
    monkeypatch.setattr(store, "PAUSES", (0.01,))
    with ExitStack() as stack:
        if kind == "gs":
            bucket = stack.enter_context(gs_server())
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
            # What FSSPEC_GCS_TOKEN=anon does, which is read when fsspec is imported.
            monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
            found = Store("gs", bucket.objects, lambda status: setattr(bucket, "refused", status))
        else:
            container = stack.enter_context(az_server())
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", container.connection)
            found = Store(
                "az",
                container.blobs,
                lambda status: setattr(container, "refused", (status, "AuthorizationFailure")),
            )
        system.clear_instance_cache()
        yield found
        system.clear_instance_cache()


@pytest.fixture(params=["gs", "az"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Each of the two."""
    with other_store(request.param, monkeypatch) as found:
        yield found


TOKEN = "hf_" + "s3cr3tt0k3n" * 3


@contextmanager
def hub_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without datasets, and the settings by which its client finds it."""
    from huggingface_hub import HfFileSystem, constants

    with serving(Hub(TOKEN)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        HfFileSystem.clear_instance_cache()
        yield hub
        HfFileSystem.clear_instance_cache()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The same, for a test."""
    with hub_of(monkeypatch) as found:
        yield found
