"""The file systems of fsspec, one a kind of store: with how patient they are, and what of a file they read ahead."""

import importlib
import os
from typing import Any

from actkit.remote.failures import check_no_password, lacking, package_of
from actkit.remote.url import as_url, is_web, scheme_of

WEB = "actkit-web"
"""The name by which fsspec, and pyarrow through it, knows `WebFileSystem`."""
SETTINGS: dict[str, dict[str, Any]] = {
    # Parquet's footers and column chunks are read whole; what is read ahead of them, 50 MB by default, is for nothing.
    "s3": {
        "default_cache_type": "none",
        "config_kwargs": {"connect_timeout": 3, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 2}},
    },
    "abfs": {"default_cache_type": "none"},
}
"""Settings where the user's own configuration of fsspec has none."""
BEFORE_IMPORT = {"gcsfs": ("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")}
"""Package → a variable of the environment that it reads when it is imported, and what it is unless it is set.

gcsfs else asks a second service, over gRPC, of what kind each bucket is: where that is not allowed or not reached, it
asks again before every request, for a minute each, and goes on without.
"""


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises UsageError where its package is not installed, or the address has a password in it: credentials are looked
    for as the store's own tools do.
    """
    import fsspec

    check_no_password(url)
    package = package_of(url)
    try:
        if is_web(url):
            from actkit.remote.web_files import WebFileSystem

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
    # Not `fsspec.url_to_fs`, to which a key with `::` in it is a chain of addresses.
    kind, address = fsspec.get_filesystem_class(scheme_of(url)), as_url(url)
    return kind(**kind._get_kwargs_from_urls(address)), str(kind._strip_protocol(address))


def for_arrow(url: str) -> str:
    """Make of a path what pyarrow opens in its place: it asks fsspec for the file system."""
    return f"fsspec+{WEB}://{as_url(url)}" if is_web(url) else f"fsspec+{as_url(url)}"
