"""A dictionary with large tensors in torch's file format, written without having the tensors in memory.

The format is a zip archive: `data.pkl` is the pickled dictionary, in which a tensor names its storage, and `data/N` are
the storages' bytes. `torch.save` writes the same format, from tensors in memory.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actkit.export.arrays import Array, written
from actkit.export.job import ExportJob

ALIGNED = 64
"""Storages begin at a multiple of this many bytes, so that they can be mapped into memory."""
HEADER, EXTRA, ZIP64 = 30, 4, 20
"""Bytes before an entry's data: a zip file's local header, an extra field's head, and the field for large entries."""
PADDING = 0x4246
"""The extra field that pads; readers leave out those that they do not know."""


class _Storage:
    """Stands for the storage of an array in the pickle."""

    def __init__(self, number: int, array: Array) -> None:
        self.number, self.array = number, array


class _Tensor:
    """Stands for the tensor of an array, and unpickles as a tensor."""

    def __init__(self, storage: _Storage) -> None:
        self.storage = storage

    def __reduce__(self) -> tuple[Any, ...]:
        import torch

        shape = self.storage.array.shape
        strides = tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
        return torch._utils._rebuild_tensor_v2, (self.storage, 0, shape, strides, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        import torch

        kinds = {"f4": torch.FloatStorage, "f2": torch.HalfStorage, "i8": torch.LongStorage}
        array = obj.array
        n = int(np.prod(array.shape, dtype=np.int64))
        return "storage", kinds[array.dtype.str[1:]], str(obj.number), "cpu", n


def save(document: Mapping[str, Any], arrays: Sequence[Array], job: ExportJob) -> None:
    """Write `document` to the job's file; the `arrays` in it, directly or in dictionaries, become tensors."""
    storages = {array.name: _Storage(number, array) for number, array in enumerate(arrays)}

    def with_tensors(value: Any) -> Any:
        if isinstance(value, Array):
            return _Tensor(storages[value.name])
        return {key: with_tensors(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value

    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump(with_tensors(document))
    with zipfile.ZipFile(job.out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled.getvalue())
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), "little")
        for number, (_, pieces) in enumerate(written(list(arrays), job)):
            with archive.open(_aligned(archive, f"archive/data/{number}"), "w", force_zip64=True) as entry:
                for piece in pieces:
                    entry.write(piece)
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")


def _aligned(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return an entry whose data begins at a multiple of `ALIGNED`."""
    entry = zipfile.ZipInfo(name)
    assert archive.fp is not None
    begins = archive.fp.tell() + HEADER + len(name) + EXTRA + ZIP64
    padding = -begins % ALIGNED
    entry.extra = struct.pack("<HH", PADDING, padding) + bytes(padding)
    return entry
