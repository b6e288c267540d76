"""`Column`: one column of a table."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: `type` None is the vector type, which depends on the run (see `vector_type`)."""

    name: str
    type: pa.DataType | None
    meaning: str
