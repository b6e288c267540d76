"""What a run says twice: `fingerprint.json`, `config.yaml` and the fingerprint in `run.json` repeat the rest."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actkit.runs.config_text import config_text
from actkit.runs.facts import read_begun
from actkit.runs.json_file import MOST, read_bytes
from actkit.runs.paths import CONFIG, FINGERPRINT, RUN_FILE
from actkit.verify.tables.findings import Findings

OF_MODEL = ("revision", "dtype", "attn", "quantize", "allow_pickle", "trust_remote_code")
"""Entries of the fingerprint that `model` in `run.json` has under the same name."""
MOST_TEXT = 1 << 20
"""Bytes of options, as JSON or YAML, that are compared."""


def check_said_twice(run: Path, facts: Mapping[str, Any], findings: Findings) -> None:
    """Add a problem for each entry that is not the same in both places; files that are not there, others name."""
    try:
        _check_fingerprint(facts, findings)
        _check_begun(run, facts, findings)
        _check_config(run, facts, findings)
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
