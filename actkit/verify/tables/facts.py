"""The entries that `run.json` must have, and their kinds; and whether the files that repeat them say the same."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actkit.runs.card import card, is_own_text
from actkit.runs.facts import config_text, read_begun
from actkit.runs.json_file import MOST, read_bytes
from actkit.runs.paths import CARD, CONFIG, FINGERPRINT, RUN_FILE
from actkit.runs.progress import COUNTERS
from actkit.verify.tables.findings import Findings

Shape = Any
"""A type or several, `[shape]` of every element of a list, `{name: shape}` of entries that must be there."""
COUNT = "a count"
"""A whole number that is not negative."""
WIDTH = "a width"
"""A count for which arrays of so many numbers are made."""
MOST_WIDE = 1 << 26
TEXT = (str, type(None))
NAME = re.compile(r"[a-z][a-z_]*")
"""Of a table: nothing that leads out of the run."""
NEEDED: Mapping[str, Shape] = {
    "schema_version": COUNT,
    "command": str,
    "model": {"name": str, "revision": TEXT, "d_model": WIDTH, "dtype": str, "attn": TEXT, "backend": str},
    "hook_points": [str],
    "counts": dict.fromkeys((*COUNTERS, "sequences"), COUNT),
    "rejected_reasons": {},
    "rules": {"top_k": (int, type(None)), "threshold": (int, float), "pooling": (dict, type(None))},
    "tables": {},
}
KNOWN: Mapping[str, Shape] = {
    "options": {},
    "detected": {},
    "fingerprint": {},
    "versions": {},
    "seconds": {},
    "profile": {},
    "saes": [{"name": str, "hook_point": str, "d_sae": WIDTH, "metadata": {}}],
    "health": [{}],
    "notes": [str],
    "first_rejected": TEXT,
    "warnings": [str],
    "sessions": [{}],
}
"""Entries that may be missing."""
OF_MODEL = ("revision", "dtype", "attn", "quantize", "allow_pickle", "trust_remote_code")
"""Entries of the fingerprint that `model` in `run.json` has under the same name."""
LICENCE = re.compile(r'^license: (".*")$', re.MULTILINE)
PLACE = re.compile(r'^load_dataset\((".*"), "[a-z_]+"\)$', re.MULTILINE)
"""What a card says that `run.json` does not: both were given to whoever pushed the run."""
MOST_TEXT = 1 << 20
"""Bytes of options, as JSON or YAML, that are compared."""


def wrong_in(facts: Mapping[str, Any]) -> str | None:
    """The fault that keeps `run.json` from being used, in a few words; None where there is none."""
    known = {name: shape for name, shape in KNOWN.items() if name in facts}
    wrong = _wrong(facts, {**NEEDED, **known}, "")
    if wrong is not None:
        return wrong
    for table, about in facts["tables"].items():
        if not NAME.fullmatch(table):
            return f"{table!r:.60} is no name of a table"
        wrong = _wrong(about, {"rows": COUNT, "parts": COUNT, "bytes": COUNT}, f"tables.{table}")
        if wrong is not None:
            return wrong
    reasons = facts["rejected_reasons"].values()
    if not all(_is_count(reason) for reason in reasons):
        return "rejected_reasons are not counts"
    return None


def _wrong(value: Any, shape: Shape, where: str) -> str | None:
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return f"{where or 'it'} is {_kind(value)}, not an object"
        for name, inner in shape.items():
            place = f"{where}.{name}".lstrip(".")
            if name not in value:
                return f"it has no {place}"
            wrong = _wrong(value[name], inner, place)
            if wrong is not None:
                return wrong
        return None
    if isinstance(shape, list):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return f"{where} is {_kind(value)}, not a list"
        return next((wrong for item in value if (wrong := _wrong(item, shape[0], f"{where}[]")) is not None), None)
    if shape == WIDTH:
        return None if _is_count(value) and value <= MOST_WIDE else f"{where} is {_kind(value)}, not a width"
    if shape == COUNT:
        return None if _is_count(value) else f"{where} is {_kind(value)}, not a count"
    return None if isinstance(value, shape) else f"{where} is {_kind(value)}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), f"{value!r:.40}")


def check_said_twice(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Add a problem for each entry that is not the same in both places; files that are not there, others name."""
    try:
        _check_fingerprint(facts, findings)
        _check_begun(run, facts, findings)
        _check_config(run, facts, findings)
        _check_card(run, facts, findings)
    except RecursionError:
        findings.wrong("counts", RUN_FILE, "nested too deeply to be compared with what says the same")


def _check_fingerprint(facts: Mapping[str, Any], findings: Findings) -> None:
    fingerprint = facts.get("fingerprint", {})
    for name, value in _of_fingerprint(facts):
        findings.count("counts")
        if name in fingerprint and fingerprint[name] != value:
            findings.wrong("counts", RUN_FILE, f"fingerprint.{name} is not what the rest of it says")


def _of_fingerprint(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entry → what the rest of `run.json` says of it."""
    yield "command", facts["command"]
    yield "schema_version", facts["schema_version"]
    yield "hook_points", facts["hook_points"]
    yield "model", facts["model"]["name"]
    yield from ((name, facts["model"][name]) for name in OF_MODEL if name in facts["model"])
    yield from ((f"option.{name}", value) for name, value in facts.get("options", {}).items())
    yield from ((f"detected.{name}", value) for name, value in facts.get("detected", {}).items())


def _check_begun(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    try:
        begun = read_begun(run)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        findings.wrong("counts", FINGERPRINT, f"cannot be read ({error})")
        return
    for name, here in (("fingerprint", begun.fingerprint), ("sessions", begun.sessions)):
        findings.count("counts")
        if name in facts and facts[name] != here:
            findings.wrong("counts", FINGERPRINT, f"{name} is not what run.json says")


def _check_config(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    try:
        text = read_bytes(run / CONFIG, MOST)
    except FileNotFoundError:  # runs whose options no file can give have none
        return
    except (OSError, ValueError) as error:
        findings.wrong("counts", CONFIG, f"cannot be read ({error})")
        return
    findings.count("counts")
    options = facts.get("options", {})
    # What is larger is no run's, and writing it as YAML could take minutes.
    is_short = len(text) <= MOST_TEXT and len(json.dumps(options)) <= MOST_TEXT
    if not is_short or text.decode("utf-8", "replace") != config_text(facts["command"], options):
        findings.wrong("counts", CONFIG, "not the options that run.json states")


def _check_card(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """The card, made of `run.json` again; one that somebody wrote in stays as it is when a run is pushed."""
    try:
        data = read_bytes(run / CARD, MOST)
        if not is_own_text(data):
            return
        text = data.decode()
        licence, place = (
            json.loads(found[1]) if found else None for found in (LICENCE.search(text), PLACE.search(text))
        )
        same = text == card(facts) or (place is not None and text == card(facts, licence, place))
    except FileNotFoundError:  # runs of older versions have none
        return
    except (OSError, ValueError) as error:
        findings.wrong("counts", CARD, f"cannot be read ({error})")
        return
    findings.count("counts")
    if not same:
        findings.wrong("counts", CARD, "not the card that run.json gives")
