"""The hub's interface, as far as a push and a look at what was pushed use it: repositories of datasets in memory."""

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.serving import served

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds, and how it behaves."""

    token: str
    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Objects of LFS by their sha256."""
    uploads: list[str] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    fails_at: tuple[str, int] | None = None
    """Part of an address, and the status that it answers."""
    authorizations: set[str] = field(default_factory=set)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The server, on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body: Any = b"", status: int = 200, **headers: str) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def serve(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            path = urllib.parse.unquote(url.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while length := int(self.rfile.readline(), 16):
                    body += self.rfile.read(length)
                    self.rfile.readline()
                self.rfile.readline()
            hub.authorizations.add(self.headers.get("Authorization", ""))
            if hub.fails_at is not None and hub.fails_at[0] in path:
                return self.answer({"error": "no"}, hub.fails_at[1])
            if self.command == "PUT":
                oid = path.rpartition("/")[2]
                assert hashlib.sha256(body).hexdigest() == oid
                hub.large[oid] = body
                hub.uploads.append(oid)
                return self.answer()
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.answer({"error": "Invalid username or password."}, 401)
            if path == "/api/repos/create":
                asked = json.loads(body)
                repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.append(repo)
                status = 409 if repo in hub.repos else 200
                hub.repos.setdefault(repo, {".gitattributes": b"*.parquet filter=lfs"})
                return self.answer({"url": f"{hub.url}/datasets/{repo}"}, status)
            if path == "/api/validate-yaml":
                return self.answer({"errors": [], "warnings": []})
            found = re.match(r"/(?:api/)?datasets/([^/]+/[^/]+?)(\.git|$|/)(.*)", path)
            if found is None or found[1] not in hub.repos:
                return self.answer({"error": "no repo"}, 404, X_Error_Code="RepoNotFound")
            return self.in_repo(found[1], hub.repos[found[1]], found[3].lstrip("/"), body)

        def in_repo(self, repo: str, files: dict[str, bytes], what: str, body: bytes) -> None:
            kind, _, rest = what.partition("/")
            if kind == "preupload":
                modes = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for file in json.loads(body)["files"]
                ]
                return self.answer({"files": modes})
            if what.startswith("info/lfs"):
                objects = [
                    row
                    if row["oid"] in hub.large
                    else {**row, "actions": {"upload": {"href": f"{hub.url}/upload/{row['oid']}", "header": {}}}}
                    for row in json.loads(body)["objects"]
                ]
                return self.answer({"transfer": "basic", "objects": objects})
            if kind == "commit":
                lines = [json.loads(line) for line in body.splitlines()]
                hub.commits.append([])
                for line in lines[1:]:
                    value = line["value"]
                    hub.commits[-1].append(value["path"])
                    if line["key"] == "lfsFile":
                        files[value["path"]] = hub.large[value["oid"]]
                    elif line["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    else:
                        files.pop(value["path"], None)
                return self.answer({"commitUrl": f"{hub.url}/datasets/{repo}/commit/{COMMIT}", "commitOid": COMMIT})
            about = [self.about(name, data) for name, data in sorted(files.items())]
            if kind == "tree":
                inside = rest.partition("/")[2]
                return self.answer([entry for entry in about if entry["path"].startswith(inside)])
            if kind == "paths-info":
                text = body.decode()
                wanted = json.loads(text)["paths"] if text.startswith("{") else urllib.parse.parse_qs(text)["paths"]
                folders = [
                    {"type": "directory", "path": folder, "oid": "0" * 40}
                    for folder in wanted
                    if any(name.startswith(folder + "/") for name in files)
                ]
                return self.answer([entry for entry in about if entry["path"] in wanted] + folders)
            if kind == "resolve":
                name = rest.partition("/")[2]
                if name not in files:
                    return self.answer({"error": "none"}, 404, X_Error_Code="EntryNotFound")
                data, wanted = files[name], self.headers.get("Range")
                more = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X_Repo_Commit": COMMIT}
                if wanted:
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    end = min(int(last or len(data)), len(data) - 1)
                    more["Content_Range"] = f"bytes {first}-{end}/{len(data)}"
                    return self.answer(data[int(first) : end + 1], 206, **more)
                return self.answer(data, **more)
            if kind in ("", "revision"):
                return self.answer({"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
            return self.answer({"error": what}, 404)

        def about(self, name: str, data: bytes) -> dict[str, Any]:
            found = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            if name.endswith(".parquet"):
                found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            return found

        do_GET = do_POST = do_PUT = do_HEAD = serve  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as hub.url:
        yield hub
