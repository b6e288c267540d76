"""`Run`: read the tables of a finished run, its activations as an array, its features as a sparse matrix."""

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actkit.errors import RunError, UsageError, in_short
from actkit.remote.path import path_of
from actkit.runs.facts import facts_of
from actkit.runs.reader import Rows, active_in, hook_points_of, part_of, parts, rows_of, sae_groups

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix


class Run:
    """A finished run. Only `run.json` is read at once, tables when they are asked for."""

    def __init__(self, path: "Path | str | Run") -> None:
        self.path = path_of_run(path)
        self.facts: dict[str, Any] = facts_of(self.path)
        """The contents of `run.json`: options, model, counts, tables, versions."""

    def __repr__(self) -> str:
        counts, model = self.facts["counts"], self.facts["model"]["name"]
        written = f"{counts['written']:,} of {counts['read']:,} {self.facts['unit']}s"
        tables = ", ".join(f"{name} {about['rows']:,}" for name, about in self.facts["tables"].items())
        return f"Run({str(self.path)!r}: {self.facts['command']} with {model}, {written}; rows: {tables})"

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self.facts["tables"])

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one table, all parts. Raises RunError for a table that the run does not have."""
        return pa.concat_tables([part_of(self.path, name, part, columns) for part in self._parts(name)])

    def to_pandas(self, name: str) -> "pd.DataFrame":
        """Read one table as a data frame."""
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    @property
    def hook_points(self) -> tuple[str, ...]:
        """Hook points whose activations are stored."""
        self._parts("activations")  # raises RunError where there are none
        return tuple(hook_points_of(self.path))

    def activations(self, hook_point: str, side: str | None = None) -> npt.NDArray[np.float32]:
        """[n, d_model]: every stored vector of one hook point, in order of sequence and position.

        `side` takes the sequences of one side only: shared, chosen, rejected, positive or negative. Only this hook
        point's vectors are read; `positions` has the place of each row. Raises RunError for one that is not stored.
        """
        wanted = self._of_side(side)
        found = [rows.activations[_rows_of(rows, wanted)] for rows in self._rows(hook_point)]
        return np.concatenate(found)  # copies even a single part, since arrays read from Parquet may not be writable

    def positions(self, hook_point: str, side: str | None = None) -> "pd.DataFrame":
        """The sequence_id and position of each row of `activations`, as a data frame."""
        import pandas as pd

        wanted = self._of_side(side)
        found = [
            pd.DataFrame({"sequence_id": rows.sequence_ids, "position": rows.positions})[_rows_of(rows, wanted)]
            for rows in self._rows(hook_point)
        ]
        frame: pd.DataFrame = pd.concat(found, ignore_index=True)
        return frame

    def features(self, sae: str | None = None) -> "csr_matrix":
        """[n, d_sae] sparse: a row for each row of `features`, or else of `pooled_features`.

        `sae` may be left out where the run has one. Rows are in order of sequence and position.
        """
        from scipy.sparse import csr_matrix

        about = {sae["name"]: sae["d_sae"] for sae in self.facts.get("saes", ())}
        if sae is None and len(about) == 1:
            sae = next(iter(about))
        if not isinstance(sae, str) or sae not in about:
            raise RunError(f"{self.path}: which SAE?", f"it has {', '.join(about) or 'none'}")
        stored = self._parts("features" if "features" in self.tables else "pooled_features")
        found = [active_in(table) for part in stored for table in sae_groups(part, sae)]
        lengths, ids, values = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
        ends = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *lengths]))
        columns: Any = (np.concatenate(values), np.concatenate(ids), ends) if ids else ([], [], ends)
        return csr_matrix(columns, shape=(len(ends) - 1, about[sae]))

    def _rows(self, hook_point: str) -> Iterator[Rows]:
        found = False
        for part in self._parts("activations"):
            for rows in rows_of(part, str(hook_point)):  # str: None would read all hook points
                found = True
                yield rows
        if not found:
            raise RunError(f"{self.path}: no activations of {hook_point}", f"it has {', '.join(self.hook_points)}")

    def _of_side(self, side: str | None) -> npt.NDArray[np.int64] | None:
        """The ids of the sequences of one side; None for all sides. Raises RunError for an unknown side."""
        if side is None:
            return None
        sequences = self.table("sequences", ["sequence_id", "side"])
        of_side = pc.equal(sequences["side"], str(side))
        wanted: npt.NDArray[np.int64] = sequences.filter(of_side)["sequence_id"].to_numpy()
        if not len(wanted):
            sides = ", ".join(side for side in pc.unique(sequences["side"]).to_pylist() if side)
            raise RunError(f"{self.path}: no side {side}", f"it has {sides or 'none'}")
        return wanted

    def _parts(self, name: str) -> list[Path]:
        found = parts(self.path, name) if name in self.tables else []
        if not found:
            raise RunError(f"{self.path}: no table {name}", f"it has {', '.join(self.tables)}")
        return found


def path_of_run(run: Run | Path | str) -> Path:
    """The path of an open run, or a path as it is given. Raises UsageError for anything else."""
    return run.path if isinstance(run, Run) else path_of(run)


def whole(number: int, what: str) -> int:
    """Convert an integer of Python or numpy to int. Raises UsageError, naming `what`, for anything else."""
    try:
        return operator.index(number)
    except TypeError as error:
        raise UsageError(f"{what} {in_short(repr(number))} is not possible", "give a whole number") from error


def _rows_of(rows: Rows, wanted: npt.NDArray[np.int64] | None) -> Any:
    """An index of the rows of the sequences `wanted`; a slice, which makes no copy, for all."""
    return slice(None) if wanted is None else np.isin(rows.sequence_ids, wanted)


def open_run(path: Path | str | Run) -> Run:
    """Open a finished run, in a directory or at an address. Raises RunError where there is none."""
    return Run(path)
