"""safetensors: arrays that load without copying, as `safetensors` reads them; what it holds, `arrays` says.

The layout is 8 bytes with the header's length, the header in JSON, then the arrays one after the other. It is written
here because the library's own writer takes only arrays that are in memory.
"""

import json
import struct

from actkit.export.arrays import Array, arrays_of, written
from actkit.export.job import ExportJob

NAMES = {"<f4": "F32", "<f2": "F16", "<f8": "F64", "<i8": "I64"}
"""numpy's names of types → the format's."""
ALIGNED = 8
"""The arrays begin at a multiple of this many bytes."""


def write(job: ExportJob, method: str | None = None) -> None:
    """Write the arrays of the run; `method` chooses a concept run's directions. Errors: `arrays_of`."""
    arrays = arrays_of(job, method)
    with job.out.open("wb") as file:
        file.write(_header(arrays, job))
        for _, pieces in written(arrays, job):
            for piece in pieces:
                file.write(piece)


def _header(arrays: list[Array], job: ExportJob) -> bytes:
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
