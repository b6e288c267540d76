"""Runs that another version of actkit made, whose tables may have other columns or other meanings."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from actkit.errors import RunError
from actkit.runs.facts import facts_of
from actkit.schemas import SCHEMA_VERSION

STILL = "actkit show, export, plot and report read what they know of it, and any reader of Parquet all of it"


def check_age(run: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Raise RunError for a run of another schema version, which says who made it and what can still be done with it.

    `facts` are read from `run.json` where they are not given; what is no run, or is damaged, is left to whoever reads
    it.
    """
    if facts is None:
        with suppress(RunError):
            facts = facts_of(run)
    found = (facts or {}).get("schema_version")
    if facts is None or isinstance(found, bool) or not isinstance(found, int) or found == SCHEMA_VERSION:
        return
    versions = facts.get("versions")
    by = versions.get("actkit") if isinstance(versions, Mapping) else None
    named = f" ({by})" if isinstance(by, str) and by.isprintable() and len(by) < 40 else ""
    age = "an older" if found < SCHEMA_VERSION else "a newer"
    with_it = f"{f'pip install actkit=={by}' if named else 'the actkit that made it'} checks and continues it"
    raise RunError(
        f"{run} was made by {age} actkit{named}: schema version {found}, and this one's is {SCHEMA_VERSION}",
        f"{STILL}; {with_it}; or make the run again",
    )
