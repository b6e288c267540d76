"""Check that a Parquet file can be read in bounded memory: a few bytes of one may stand for any number of values.

actkit stores vectors, ids and texts plainly, and dictionaries for names alone; files of others can claim what they want
in their footer, and a run of equal values takes no room at all.
"""

from pathlib import Path

import pyarrow.parquet as pq

from actkit.runs.parquet_footer import contradiction
from actkit.runs.writer import DICTIONARY

ALWAYS = 128 << 20
"""Bytes that a column of one row group may have in memory, however small it is on disk."""
RATIO = 64
"""Most bytes in memory for one on disk, beyond that."""
REPEATED = 1 << 30
"""Bytes that a column may have in memory whose every value may be the whole dictionary: no file of actkit's has one."""
NEVER_NULL = ("sequence_id", "position")
"""Columns that number rows in every table that has them: a null would become some number in what is made of them."""
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "INT96": 12, "FIXED_LEN_BYTE_ARRAY": 2}


def implausible(path: Path, metadata: pq.FileMetaData) -> str | None:
    """Why a file is not read, in a few words; None where nothing speaks against it.

    `metadata` is its footer as Arrow reads it. Raises ValueError for one that is damaged, and OSError.
    """
    why = contradiction(path, metadata)
    if why is not None:
        return why
    rows = 0
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        rows += about.num_rows
        if about.num_rows < 0:
            return f"row group {group} claims {about.num_rows:,} rows"
        for number in range(about.num_columns):
            why = _of_column(about.column(number), about.num_rows)
            if why is not None:
                return f"row group {group}: {why}"
    return None if rows == metadata.num_rows else f"its row groups have {rows:,} rows, it claims {metadata.num_rows:,}"


def _of_column(column: pq.ColumnChunkMetaData, rows: int) -> str | None:
    name, size = column.path_in_schema, column.total_compressed_size
    if min(column.num_values, size, column.total_uncompressed_size) < 0:
        return f"{name} claims sizes below zero"
    about = column.statistics if name in NEVER_NULL else None
    if about is not None and about.has_null_count and about.null_count:
        return f"nulls in the column {name}"
    wide = max(column.num_values, rows) * WIDTHS.get(column.physical_type, 1)
    if column.physical_type == "BYTE_ARRAY":
        wide = max(wide, column.total_uncompressed_size)
        if column.has_dictionary_page:
            most = column.num_values * column.total_uncompressed_size
            if name.partition(".")[0] not in DICTIONARY and most > REPEATED:
                return f"{name} has a dictionary, as no file of actkit's has, whose values may be any number of bytes"
            if column.total_uncompressed_size > ALWAYS:
                return f"{name} claims a dictionary of {column.total_uncompressed_size:,} bytes"
    if wide > max(ALWAYS, RATIO * size):
        return f"{name} claims {wide:,} bytes in {size:,}, too many to be read"
    return None
