"""Make the fsspec file system of an address, with limits for waiting and reading ahead; `WebFileSystem` for the web."""

import importlib
import json
import os
from contextlib import suppress
from typing import Any

from fsspec.spec import AbstractFileSystem

from actkit.remote.failures import check_no_password, lacking
from actkit.remote.url import SCHEMES, as_url, is_web, scheme_of
from actkit.remote.web import WebFile

WEB = "actkit-web"
"""The name of `WebFileSystem` in fsspec, and in pyarrow through it."""
SETTINGS: dict[str, dict[str, Any]] = {
    # Readers ask for Parquet's footers and column chunks whole: reading ahead, 50 MB by default, is wasted.
    "s3": {
        "default_cache_type": "none",
        "config_kwargs": {"connect_timeout": 3, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 2}},
    },
    "abfs": {"default_cache_type": "none"},
}
"""Settings for fsspec, unless the user's own configuration of fsspec has them."""
BEFORE_IMPORT = {"gcsfs": ("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")}
"""Package → an environment variable that it reads on import, and the value for it unless the user has set it.

Without it gcsfs asks a second service, over gRPC, for the kind of each bucket. Where that service refuses or cannot be
reached, gcsfs asks again before every request, for a minute each.
"""
LISTS = "manifest.json"
"""The file of a run that lists all others."""
MISSED = {"manifest.json", "verify.json", "run.log"}


def file_system(url: str) -> tuple[Any, str]:
    """Make the fsspec file system of an address; return it and the path in it.

    Raises UsageError where the package is not installed, or the address has a password in it: credentials come from
    where the store's own tools take them.
    """
    import fsspec

    check_no_password(url)
    package = SCHEMES[scheme_of(url) or ""]
    try:
        if is_web(url):
            fsspec.register_implementation(WEB, WebFileSystem, clobber=True)
            return fsspec.filesystem(WEB), as_url(url)
        if package in BEFORE_IMPORT:
            os.environ.setdefault(*BEFORE_IMPORT[package])
        importlib.import_module(package)
    except ImportError as error:
        raise lacking(url, package) from error
    for scheme, settings in SETTINGS.items():
        own = fsspec.config.conf.setdefault(scheme, {})
        for name, value in settings.items():
            own.setdefault(name, value)
    # Not `fsspec.url_to_fs`: it takes a key with `::` in it for a chain of addresses.
    kind, address = fsspec.get_filesystem_class(scheme_of(url)), as_url(url)
    return kind(**kind._get_kwargs_from_urls(address)), str(kind._strip_protocol(address))


def for_arrow(url: str) -> str:
    """Rewrite an address so that pyarrow opens it through fsspec."""
    return f"fsspec+{WEB}://{as_url(url)}" if is_web(url) else f"fsspec+{as_url(url)}"


class WebFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """A run on a web server, read only: the web lists no folders, but a run's last manifest lists its files."""

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

    def open(self, path: str, mode: str = "rb", **_more: Any) -> Any:
        """Open a file to be read; without a cache, since readers of tables ask for exact ranges of bytes."""
        if mode != "rb":
            raise OSError("the web is read only")
        return WebFile(self._strip_protocol(path))

    def _files(self, folder: str) -> dict[str, int]:
        """Path → bytes of the files in the last manifest of the run at `folder`; empty where there is no manifest."""
        if folder not in self.dircache:
            found: dict[str, int] = {}
            if folder.count("/") > 2:
                no_manifest = suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError)
                with no_manifest, WebFile(f"{folder}/{LISTS}") as file:
                    data = file.read()
                    found = {name: about["bytes"] for name, about in json.loads(data)["files"].items()}
                    found[LISTS] = len(data)
            self.dircache[folder] = found
        return dict(self.dircache[folder])
