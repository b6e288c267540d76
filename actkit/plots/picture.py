"""A `Picture` draws a run and returns a `Drawn`. `Pick` chooses a layer, SAE, feature, record or token.

`layer_shown`, `sae_shown` and `sequence_shown` have a default for a choice that `Pick` leaves open.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

import plotly.graph_objects as go
import pyarrow as pa

from actkit.errors import ActkitError
from actkit.runs.by_sequence import sequence_of_record
from actkit.runs.part import schema_of_part
from actkit.runs.reader import parts

DEPTH = 0.65
"""The middle of the recommended range of layers, 45 to 85 % of the depth."""


class Source(Protocol):
    """A finished run, as far as pictures read it; `actkit.runs.run.Run` is one."""

    @property
    def path(self) -> Any:
        """The run's directory."""

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
    """The choices for a picture; None leaves a choice to the picture."""

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
    """One sentence with the subject, n, and the interval or the null band."""
    query: str
    """The DuckDB query that gives its numbers, `RUN` being the run's directory."""
    opens: Literal["feature", "record", "sequence", ""] = ""
    """The page that a click on a point opens. The point's `customdata` holds its id, alone or as the first value."""


class LackingError(ActkitError):
    """A picture cannot be drawn of this run. The message is the sentence that stands in its place."""

    exit_status = 1


@dataclass(frozen=True)
class Picture:
    """One picture of a command's runs."""

    name: str
    shows: str
    """A few words, for lists and help."""
    draw: Callable[[Any, Pick], Drawn]
    """Draws a `Source` by a `Pick`. Raises LackingError where the run lacks something that the picture needs."""


def needs(run: Source, *tables: str) -> None:
    """Raise LackingError unless the run has rows in each of these tables."""
    for table in tables:
        if table not in run.tables or not run.facts["tables"].get(table, {}).get("rows", 1):
            raise LackingError(f"This run has no rows in {table}.", f"it has {', '.join(run.tables)}")


def without(run: Source, what: str) -> LackingError:
    """Return the error for a run that lacks `what`, which runs of this actkit have: it is old or damaged."""
    wrote, own = run.facts.get("versions", {}).get("actkit"), version("actkit")
    if wrote != own:
        by = f"actkit {wrote}" if wrote else "another actkit"
        return LackingError(f"{what}: {by} wrote it, and this is {own}.", "make the run again")
    return LackingError(
        f"{what}, which runs of actkit {own} have: it is not as it was written.", f"actkit verify {run.path}"
    )


def columns_of(run: Source, table: str) -> list[str]:
    """Read the names of a table's columns, without its rows. Raises LackingError where the table has no files."""
    found = parts(run.path, table)
    if not found:
        raise without(run, f"This run has no files of {table}")
    return list(schema_of_part(found[0]).names)


def sql(text: str) -> str:
    """Escape a text of a run for the quotes of a query."""
    return text.replace("'", "''")


def layer_shown(run: Source, pick: Pick, known: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """Return layer and hook point: the layer picked, or that nearest to DEPTH of the last one. Raises LackingError."""
    if pick.layer is not None:
        found = [place for place in known if place[0] == pick.layer]
        if not found:
            layers = ", ".join(str(layer) for layer in sorted({layer for layer, _ in known}))
            raise LackingError(f"This run has no layer {pick.layer}.", f"it has {layers or 'none'}")
        return found[0]
    wanted = DEPTH * (run.facts["model"]["n_layers"] - 1)
    return min(known, key=lambda place: (abs(place[0] - wanted), place))


def sae_shown(run: Source, pick: Pick) -> str:
    """Return the SAE picked, or the run's first. Raises LackingError."""
    names = [sae["name"] for sae in run.facts.get("saes", ())]
    if not names:
        raise LackingError("This run has no SAE.", "--sae-release and --sae-id name one")
    if pick.sae is not None and pick.sae not in names:
        raise LackingError(f"This run has no SAE {pick.sae}.", f"it has {', '.join(names)}")
    return pick.sae or names[0]


def d_sae_of(run: Source, sae: str) -> int:
    """Return the number of features of an SAE of the run."""
    return next(int(entry["d_sae"]) for entry in run.facts["saes"] if entry["name"] == sae)


def sequence_shown(run: Source, pick: Pick) -> int:
    """Return the first sequence that no other continues, of the record picked or of the run. Raises LackingError."""
    found = sequence_of_record(run.path, pick.record)
    if found is None:
        raise LackingError(f"This run has no record {pick.record}.", "actkit show lists them")
    return found
