"""A run on a web server, for fsspec: the web has no folders to list, but a run's last manifest lists its files."""

import json
from typing import Any

from fsspec.spec import AbstractFileSystem

from actkit.remote.web import WebFile

LISTS = "manifest.json"
"""The file of a run that names all others."""
MISSED = {"manifest.json", "verify.json", "run.log"}


class WebFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """Read-only. A folder is what a manifest in it, or in the one above it, has files in."""

    protocol = "actkit-web"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix(f"{cls.protocol}://").rstrip("/")

    def info(self, path: str, **_more: Any) -> dict[str, Any]:
        """Size and kind of a file or folder. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        folder, _, name = path.rpartition("/")
        for root, inside in ((folder, name), (folder.rpartition("/")[0], path[len(folder.rpartition("/")[0]) + 1 :])):
            files = self._files(root)
            if inside in files:
                return {"name": path, "size": files[inside], "type": "file"}
            if any(file.startswith(f"{inside}/") for file in files):
                return {"name": path, "size": 0, "type": "directory"}
            if files and root == folder and name not in MISSED:
                raise FileNotFoundError(path)
        if self._files(path):
            return {"name": path, "size": 0, "type": "directory"}
        with WebFile(path) as file:
            return {"name": path, "size": file.size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_more: Any) -> list[Any]:
        """The entries of a folder."""
        path = self._strip_protocol(path)
        root, inside = (path, "") if self._files(path) else (path.rpartition("/")[0], path.rpartition("/")[2] + "/")
        found = {}
        for name, size in self._files(root).items():
            if name.startswith(inside):
                first, is_folder, _ = name[len(inside) :].partition("/")
                kind = "directory" if is_folder else "file"
                found[first] = {"name": f"{path}/{first}", "size": 0 if is_folder else size, "type": kind}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else [entry["name"] for entry in found.values()]

    def _open(self, path: str, mode: str = "rb", **_more: Any) -> Any:
        if mode != "rb":
            raise OSError("the web is read only")
        return WebFile(self._strip_protocol(path))

    def open(self, path: str, mode: str = "rb", **_more: Any) -> Any:
        """The file; without a cache, since whoever reads a table knows which bytes."""
        return self._open(path, mode)

    def _files(self, folder: str) -> dict[str, int]:
        """The files that a run's last manifest names, and their bytes; none where there is no manifest."""
        if folder not in self.dircache:
            found: dict[str, int] = {}
            if folder.count("/") > 2:
                try:
                    with WebFile(f"{folder}/{LISTS}") as file:
                        data = file.read()
                    found = {name: about["bytes"] for name, about in json.loads(data)["files"].items()}
                    found[LISTS] = len(data)
                except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
                    found = {}
            self.dircache[folder] = found
        return dict(self.dircache[folder])
