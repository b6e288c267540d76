"""A run as named arrays, each written piece by piece, as npz and safetensors.

`dpo` and `capture` give one array [n, width] a hook point, with `sequence_ids` [n] and `positions` [n] of its rows.
`concept` gives one unit vector [d_model] a hook point. `<hook point>.norm` is the length of the measured difference,
where the method has one.
"""

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from actkit.errors import RunError, UsageError
from actkit.export.directions import directions_of
from actkit.export.job import ExportJob
from actkit.export.vectors import Held, even, kept_rows
from actkit.runs.reader import parts, rows_of

Pieces = Iterator[npt.NDArray[Any]]
NAMES = {"<f4": "F32", "<f2": "F16", "<f8": "F64", "<i8": "I64"}
"""numpy's name of a type → safetensors' name."""
ALIGNED = 8
"""The arrays begin at a multiple of this many bytes."""


@dataclass(frozen=True)
class Array:
    """One array, whose `pieces` put together are its elements in C order."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Callable[[], Pieces]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def arrays_of(job: ExportJob, method: str | None = None) -> list[Array]:
    """Return the arrays of a run of `dpo`, `capture` or `concept`, those of 8-byte numbers first.

    Raises UsageError for a `method` that the run lacks, or where there are no directions; RunError for a run without
    activations.
    """
    if "direction_scores" in job.facts["tables"]:
        return _directions(job, method)
    if method is not None:
        raise UsageError(f"--method is for runs of concept, and {job.run} is one of {job.command}", "leave it out")
    held = even(job)
    n = held[0].n
    if any(vectors.n != n for vectors in held):
        raise RunError(f"{job.run}: hook points have different numbers of rows", "read its tables one by one")
    return [
        Array("sequence_ids", np.dtype(np.int64), (n,), partial(_rows, job.run, 0)),
        Array("positions", np.dtype(np.int64), (n,), partial(_rows, job.run, 1)),
        *(
            Array(vectors.hook_point, vectors.dtype, (n, vectors.width or 0), partial(_vectors, job.run, vectors))
            for vectors in held
        ),
    ]


def written(arrays: list[Array], job: ExportJob) -> Iterator[tuple[Array, Iterator[memoryview]]]:
    """Yield each array with its bytes, little-endian, piece by piece; report the progress to the job."""
    total, done = sum(array.nbytes for array in arrays) or 1, 0

    def bytes_of(array: Array) -> Iterator[memoryview]:
        nonlocal done
        for piece in array.pieces():
            flat = np.ascontiguousarray(piece, dtype=array.dtype.newbyteorder("<")).reshape(-1)
            yield flat.view(np.uint8).data
            done += flat.nbytes
            job.progress(done / total)

    for array in arrays:
        yield array, bytes_of(array)


def _rows(run: Path, column: int) -> Pieces:
    for part in parts(run, "activations"):
        yield kept_rows(part)[column]


def _vectors(run: Path, held: Held) -> Pieces:
    for part in parts(run, "activations"):
        for rows in rows_of(part, held.hook_point, as_stored=True):
            yield rows.activations


def _directions(job: ExportJob, method: str | None) -> list[Array]:
    found = directions_of(job.run, method)
    whole: list[tuple[str, npt.NDArray[Any]]] = [
        *((f"{each.hook_point}.norm", np.array(each.norm, np.float64)) for each in found if each.norm is not None),
        *((each.hook_point, each.unit) for each in found),
    ]
    return [Array(name, values.dtype, values.shape, partial(iter, [values])) for name, values in whole]


def write_npz(job: ExportJob, method: str | None = None) -> None:
    """Write npz, uncompressed; `method` chooses a concept run's directions. Errors: `arrays_of`."""
    # Entries have no date, so that the same run gives the same bytes.
    with zipfile.ZipFile(job.out, "w", zipfile.ZIP_STORED) as archive:
        for array, pieces in written(arrays_of(job, method), job):
            with archive.open(zipfile.ZipInfo(f"{array.name}.npy"), "w", force_zip64=True) as entry:
                _npy_header(entry, array)
                for piece in pieces:
                    entry.write(piece)


def _npy_header(entry: IO[bytes], array: Array) -> None:
    descr = np.lib.format.dtype_to_descr(array.dtype.newbyteorder("<"))
    np.lib.format.write_array_header_1_0(entry, {"descr": descr, "fortran_order": False, "shape": array.shape})


def write_safetensors(job: ExportJob, method: str | None = None) -> None:
    """Write the arrays as safetensors; `method` chooses a concept run's directions. Errors: `arrays_of`.

    8 bytes with the header's length, the header in JSON, then the arrays. The library's own writer takes only arrays
    that are in memory.
    """
    arrays = arrays_of(job, method)
    with job.out.open("wb") as file:
        file.write(_safetensors_header(arrays, job))
        for _, pieces in written(arrays, job):
            for piece in pieces:
                file.write(piece)


def _safetensors_header(arrays: list[Array], job: ExportJob) -> bytes:
    model = job.facts["model"]
    about = {"command": job.command, "model": str(model["name"]), "revision": str(model["revision"])}
    entries: dict[str, object] = {"__metadata__": about}
    at = 0
    for array in arrays:
        kind = NAMES[array.dtype.newbyteorder("<").str]
        entries[array.name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % ALIGNED)
    return struct.pack("<Q", len(text)) + text
