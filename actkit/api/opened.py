"""A finished run in a notebook: tables, texts, features and pictures, each of which shows itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from actkit.errors import RunError
from actkit.report.feature_views import pages_of_feature
from actkit.report.static_html import feature_html, run_html, table, text_html
from actkit.report.text_views import scales_of, views_of
from actkit.runs import run as runs
from actkit.runs.facts import head
from actkit.runs.part import schema_of_part
from actkit.runs.reader import parts
from actkit.schemas import TABLES, described

if TYPE_CHECKING:
    import pandas as pd

HEAD = 5


@dataclass(frozen=True)
class RunTable:
    """One table of a run; nothing is read before it is asked for. DuckDB, polars and pandas read it as it is."""

    path: Path = field(repr=False)
    name: str
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"RunTable({self.name!r}: {self.rows:,} rows of {', '.join(self.columns)})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(schema_of_part(parts(self.path, self.name)[0]).names)

    def to_arrow(self, columns: "list[str] | None" = None) -> pa.Table:
        """The table, or some of its columns."""
        return runs.Run(self.path).table(self.name, columns)

    def to_pandas(self, columns: "list[str] | None" = None) -> "pd.DataFrame":
        """The table as a data frame, or some of its columns."""
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def describe(self) -> "pd.DataFrame":
        """Describe its columns: a data frame of name, type, unit and meaning.

        actkit.open_run("runs/pairs")["tokens"].describe()
        """
        known = {row["name"]: row for row in described(self.name)} if self.name in TABLES else {}
        schema = schema_of_part(parts(self.path, self.name)[0])
        return _frame([known.get(field.name) or {"name": field.name, "type": str(field.type)} for field in schema])

    def head(self, rows: int = HEAD) -> pa.Table:
        """The first rows; only those are read."""
        return head(parts(self.path, self.name)[0], rows)

    def _repr_html_(self) -> str:
        head = self.head()
        meanings = {column.name: column.meaning for column in TABLES.get(self.name, ())}
        shown = table(head.column_names, (row.values() for row in head.to_pylist()), meanings)
        return f"<div><b>{self.name}</b>, {self.rows:,} rows{shown}</div>"


@dataclass(frozen=True)
class TextView:
    """One text of a run, token by token."""

    view: Mapping[str, Any] = field(repr=False)
    """`texts`, `first` (position of each), `special`, `features` (of each SAE, of each token: ids and 255ths)."""
    sequence_id: int

    def _repr_html_(self) -> str:
        counts = [
            max((len(of[at][0]) for of in self.view["features"] if of[at]), default=0)
            for at in range(len(self.view["texts"]))
        ]
        most = max(counts, default=0) or 1
        return text_html(self.view, [160 * n // most for n in counts])


@dataclass(frozen=True)
class FeatureView:
    """One feature of one SAE: figures and contexts."""

    sae: str
    feature_id: int
    page: Mapping[str, Any] = field(repr=False)
    """Its columns of feature_stats and feature_scores, and `contexts`, each with text, sizes of tokens and levels."""

    def _repr_html_(self) -> str:
        return feature_html(self.sae, self.page)


class Plots:
    """The pictures of a run: `run.plot.layers()` is a plotly `Figure`; `dir(run.plot)` lists them."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from actkit.plots.picture import Pick
        from actkit.plots.pictures import draw, pictures_of
        from actkit.plots.style import themed, titled

        known = {picture.name: picture for picture in pictures_of(self._run)}
        if name not in known:
            raise AttributeError(
                f"a run of {self._run.facts['command']} has no picture {name}: it has {', '.join(known)}"
            )

        def drawn(*, dark: bool = False, **pick: Any) -> Any:
            found = draw(self._run, name, Pick(**pick))
            return themed(titled(found.figure, found.title, found.says), dark)

        drawn.__name__, drawn.__doc__ = name, f"{known[name].shows}; dark, layer, sae, feature, record, token."
        return drawn

    def __repr__(self) -> str:
        return f"Plots(of a run of {self._run.facts['command']}: {', '.join(dir(self))})"

    def __dir__(self) -> Iterator[str]:
        from actkit.plots.pictures import pictures_of

        return iter([picture.name for picture in pictures_of(self._run)])


class Run(runs.Run):
    """A finished run. Nothing is read before it is asked for."""

    def __getitem__(self, name: str) -> RunTable:
        """One table. Raises RunError for a name that the run does not have."""
        if name not in self.tables:
            raise RunError(f"{self.path}: no table {name}", f"it has {', '.join(self.tables)}")
        return RunTable(self.path, name, int(self.facts["tables"][name]["rows"]))

    @property
    def plot(self) -> Plots:
        """Its pictures."""
        return Plots(self)

    def sequence(self, sequence_id: int) -> TextView:
        """One text, token by token. Raises RunError for an unknown id, UsageError for no whole number."""
        scales = scales_of(self.path, self.facts.get("saes", ()))
        sequence_id = runs.whole(sequence_id, "sequence_id")
        return TextView(views_of(self.path, [sequence_id], scales)[0], sequence_id)

    def feature(self, feature_id: int, sae: str | None = None) -> FeatureView:
        """One feature, of the SAE named or of the first that has it. Raises as `sequence` does."""
        feature_id = runs.whole(feature_id, "feature_id")
        for name, page in pages_of_feature(self.path, feature_id):
            if sae in (None, name):
                return FeatureView(name, feature_id, page)
        names = ", ".join(sae["name"] for sae in self.facts.get("saes", ()))
        raise RunError(f"{self.path}: {sae} has no feature {feature_id}", f"its SAEs are {names}")

    def _repr_html_(self) -> str:
        return run_html(self)


def describe(table: str) -> "pd.DataFrame":
    """Describe the columns of a table: a data frame of name, type, unit and meaning, as `actkit schema TABLE` prints.

    Raises UsageError, with near names, for a table that there is not.

        actkit.describe("feature_scores").set_index("name").loc["q_value", "meaning"]
    """
    return _frame(described(table))


def _frame(rows: "list[dict[str, str]]") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=["name", "type", "unit", "meaning"])


def open_run(path: Path | str | runs.Run) -> Run:
    """Open a finished run, to read its tables and arrays.

    Raises RunError for a directory that is no finished run, UsageError for a value that is no path.

        run = actkit.open_run("runs/pairs")
        run.activations("blocks.2.hook_resid_post", side="chosen").shape
    """
    return Run(path)
