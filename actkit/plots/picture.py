"""`Picture` is drawn of a run, `Pick` chooses the layer, SAE, feature, record or token, `Drawn` is the result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

import plotly.graph_objects as go
import pyarrow as pa

from actkit.errors import ActkitError


class Source(Protocol):
    """A finished run, as far as pictures read it; `actkit.runs.run.Run` is one."""

    @property
    def path(self) -> Any:
        """Where it lies."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The contents of `run.json`."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""

    def table(self, name: str, columns: Any = None) -> pa.Table:
        """One table, all shards together."""


@dataclass(frozen=True)
class Pick:
    """The choices for a picture; None leaves one to the picture."""

    layer: int | None = None
    sae: str | None = None
    feature: int | None = None
    record: int | None = None
    token: str | None = None


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn."""

    figure: go.Figure
    title: str
    says: str
    """One sentence: what is shown, n, and the interval or the null band."""
    query: str
    """The DuckDB query that gives its numbers, `RUN` being the run's directory."""
    opens: Literal["feature", "record", "sequence", ""] = ""
    """The kind of id that `customdata` of its points holds, for a click; of several, the first."""


class LackingError(ActkitError):
    """A picture cannot be drawn of this run: the message is the sentence that stands in its place."""

    exit_status = 1


@dataclass(frozen=True)
class Picture:
    """One picture of a command's runs."""

    name: str
    shows: str
    """A few words, for lists and help."""
    draw: Callable[[Any, Pick], Drawn]
    """From a `Source` and a `Pick`. Raises LackingError where the run does not hold what it needs."""


def needs(run: Source, table: str, *columns: str) -> None:
    """Raise LackingError unless the run has a table, with these columns."""
    if table not in run.tables or not run.facts["tables"].get(table, {}).get("rows", 1):
        raise LackingError(f"This run has no rows in {table}.", f"it has {', '.join(run.tables)}")
    if columns:
        there = set(columns_of(run, table))
        lacking = [name for name in columns if name not in there]
        if lacking:
            raise without(run, f"{table} of this run has no column {lacking[0]}")


def without(run: Source, what: str) -> LackingError:
    """The sentence in place of a picture whose run lacks something that runs of this actkit have: it is old or damaged."""
    wrote, own = run.facts.get("versions", {}).get("actkit"), version("actkit")
    if wrote != own:
        by = f"actkit {wrote}" if wrote else "another actkit"
        return LackingError(f"{what}: {by} wrote it, and this is {own}.", "make the run again")
    return LackingError(
        f"{what}, which runs of actkit {own} have: it is not as it was written.", f"actkit verify {run.path}"
    )


def columns_of(run: Source, table: str) -> list[str]:
    """The columns of a table, read without its rows."""
    return [str(name) for name in run.table(table, []).column_names] or _named(run, table)


def _named(run: Source, table: str) -> list[str]:
    from actkit.runs.part import schema_of_part
    from actkit.runs.reader import parts

    found = parts(run.path, table)
    return list(schema_of_part(found[0]).names) if found else []


def sql(text: str) -> str:
    """A text of a run within the quotes of a query."""
    return text.replace("'", "''")
