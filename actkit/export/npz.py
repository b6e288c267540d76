"""npz: numpy's archive of arrays, as `numpy.load` reads it; what it holds, `arrays` says."""

import zipfile
from typing import IO

import numpy as np

from actkit.export.arrays import Array, arrays_of, written
from actkit.export.job import ExportJob


def write(job: ExportJob, method: str | None = None) -> None:
    """Write the arrays of the run, uncompressed; `method` chooses a concept run's directions. Errors: `arrays_of`."""
    # Entries without a date, so that the same run gives the same bytes.
    with zipfile.ZipFile(job.out, "w", zipfile.ZIP_STORED) as archive:
        for array, pieces in written(arrays_of(job, method), job):
            with archive.open(zipfile.ZipInfo(f"{array.name}.npy"), "w", force_zip64=True) as entry:
                _write_header(entry, array)
                for piece in pieces:
                    entry.write(piece)


def _write_header(entry: IO[bytes], array: Array) -> None:
    descr = np.lib.format.dtype_to_descr(array.dtype.newbyteorder("<"))
    np.lib.format.write_array_header_1_0(entry, {"descr": descr, "fortran_order": False, "shape": array.shape})
