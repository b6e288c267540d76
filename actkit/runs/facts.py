"""Read the small files of a run (`run.json`, `fingerprint.json`), check its version, and read tables' first rows."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from actkit.errors import RunError, listed
from actkit.numerals import percent, signed
from actkit.remote.path import RemotePath
from actkit.runs.json_file import read_entries, read_object
from actkit.runs.part import open_part
from actkit.runs.paths import FINGERPRINT, RUN_FILE, is_run
from actkit.runs.reader import parts
from actkit.schemas import SCHEMA_VERSION

LOOKED_AT, NAMED = 500, 3
"""Most entries of a folder that are searched for runs, and most runs that an error names."""


def _beside(run: Path) -> str:
    """The end of a hint: the other runs in the folder of a missing run; empty where there are none."""
    if isinstance(run, RemotePath):
        return ""
    try:
        there = [] if run.exists() else [entry for entry in islice(run.parent.iterdir(), LOOKED_AT) if is_run(entry)]
    except OSError:
        return ""
    return f"; in the same folder: {listed(sorted(entry.name for entry in there), NAMED)}" if there else ""


def facts_of(run: Path) -> dict[str, Any]:
    """Read `run.json`. Raises RunError when `run` is no finished run."""
    try:
        return read_object(run / RUN_FILE)
    except OSError as error:
        if isinstance(run, RemotePath):
            unfinished = (run / FINGERPRINT).exists()
        else:  # Path.is_dir raises OSError again for a name that is too long.
            unfinished = run.name.endswith(".partial") or os.path.isdir(f"{run}.partial")  # noqa: PTH112
        why = "the run is unfinished" if unfinished else "a run is a directory with run.json"
        raise RunError(f"{run}: no finished run", f"{why}{_beside(run)}") from error
    except ValueError as error:
        raise RunError(f"{run}/run.json is damaged ({error})", "the tables beside it can still be read") from error


def metadata_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of every Parquet file of a run, so that each file names its origin; `facts` is `run.json`."""
    model = facts["model"]
    return {
        "actkit.command": facts["command"],
        "actkit.model": model["name"],
        "actkit.revision": model["revision"] or "",
        "actkit.dtype": model["dtype"],
        "actkit.hook_points": ",".join(facts["hook_points"]),
    }


def heads(run: Path, rows: int) -> Iterator[tuple[str, pa.Table]]:
    """Read the first `rows` rows of each table, in the order of `run.json`; yield name and rows."""
    for table in facts_of(run)["tables"]:
        for part in parts(run, table)[:1]:
            yield table, head(part, rows)


def head(part: Path, rows: int) -> pa.Table:
    """Read the first `rows` rows of a part, and no others."""
    with open_part(part) as file:
        first = next(file.iter_batches(batch_size=rows), None)
        return pa.Table.from_batches([first] if first is not None else [], file.schema_arrow)


DIGEST = re.compile("[0-9a-f]{64}")
"""Values that identify something and tell a reader nothing."""


def detected_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each detected fact: the shape, the meaning of labels, whether the chat template was used."""
    for name, value in facts.get("detected", {}).items():
        if isinstance(value, Mapping):
            yield name.replace("_", " "), labels_shown(value)
        elif name == "chat" and isinstance(value, bool):
            yield "chat template", "used" if value else "not used"
        elif value not in (None, "") and not DIGEST.fullmatch(str(value)):
            yield name.replace("_", " "), str(value)


def labels_shown(meant: Mapping[str, Any]) -> str:
    """The meaning of labels in words: `good, great → positive; bad → negative (field rating)`."""
    signs = [f"{', '.join(meant[sign])} → {sign}" for sign in ("positive", "negative", "neutral") if meant.get(sign)]
    other = ", ".join(f"{label} ({count:,})" for label, count in meant.get("neither", {}).items())
    told = "; ".join([*signs, *([f"neither: {other}"] if other else [])]) or "none"
    return f"{told} (field {meant['field']})" if meant.get("field") else told


def health_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name of each SAE, and its health on the run's tokens in words."""
    widths = {sae["name"]: sae["d_sae"] for sae in facts.get("saes", ())}
    for row in facts.get("health", ()):
        if not row.get("n_tokens"):
            yield row["sae"], "no health: all tokens that were read are special ones or sinks"
            continue
        explained = row.get("explained_variance")
        silent, dense = (percent(row[of], widths.get(row["sae"], 0)) for of in ("dead_fraction", "dense_fraction"))
        on = f"{row['n_tokens']:,} token{'s' if row['n_tokens'] > 1 else ''}"
        yield (
            row["sae"],
            f"L0 {row['l0']:.1f}, explained variance {'unknown' if explained is None else signed(explained, '.3f')}, "
            f"{silent} of features silent, {dense} dense, on {on}",
        )


STILL = "actkit show, export, plot and report read what they know of it, and any reader of Parquet all of it"


def check_age(run: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Raise RunError for a run of another schema version; its hint says what can still be done with the run.

    Reads `facts` from `run.json` where they are not given. Passes over a missing or damaged `run.json`, which its
    readers report.
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


@dataclass(frozen=True)
class Begun:
    """The contents of `fingerprint.json`: a run continues only with the same fingerprint."""

    fingerprint: Mapping[str, Any]
    replaces: bool
    """Whether the run will replace a finished one."""
    sessions: Sequence[Mapping[str, Any]]
    """For each process that wrote the run: when, where and with which versions it began."""

    def text(self) -> str:
        """The text of `fingerprint.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_begun(run: Path) -> Begun:
    """Read `fingerprint.json`. Raises OSError where it cannot be read, ValueError where it has other entries."""
    return Begun(**read_entries(run / FINGERPRINT, {"fingerprint": dict, "replaces": bool, "sessions": list}))


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys at which two fingerprints differ, sorted."""
    return [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def config_text(command: str, options: Mapping[str, Any]) -> str:
    """The text of a `config.yaml` that runs the same again: `actkit <command> --config FILE --out ELSEWHERE`."""
    import yaml

    given = {name: value for name, value in options.items() if value is not None}
    return str(yaml.safe_dump({"command": command, **given}, sort_keys=False, allow_unicode=True))
