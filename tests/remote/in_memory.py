"""A store in this process's memory: fsspec's own, under the name of Google's; no server, and nothing is imported."""

import importlib
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

AT = "gs://bucket/x"


class Bucket(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """What is at `gs://bucket`."""

    protocol = "gs"
    store: dict[str, Any] = {}  # noqa: RUF012 - as fsspec has it
    pseudo_dirs = ["", "/bucket"]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("gs://")))


@contextmanager
def bucket() -> Iterator[type[Bucket]]:
    """The store, empty; afterwards the name means what it meant before."""
    known = importlib.import_module("fsspec.registry")._registry
    before = dict(known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gcsfs", types.ModuleType("gcsfs"))
        fsspec.register_implementation("gs", Bucket, clobber=True)
        Bucket.store.clear()
        Bucket.pseudo_dirs[:] = ["", "/bucket"]
        Bucket.clear_instance_cache()
        try:
            yield Bucket
        finally:
            known.clear()
            known.update(before)


def objects(at: str = AT) -> dict[str, bytes]:
    """Path from an address → bytes."""
    start = f"/{at.removeprefix('gs://')}/"
    return {name.removeprefix(start): file.getvalue() for name, file in Bucket.store.items() if name.startswith(start)}


def put(files: Mapping[str, bytes], at: str = AT) -> None:
    """Have these objects there."""
    for name, data in files.items():
        Bucket().pipe_file(f"{at}/{name}", data)
