"""Check that `run.json` agrees with itself, and with the other files that repeat its entries."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, get_args

from actkit.analysis.feature_tests.feature_scores import ScoreSettings
from actkit.config import ExportFormat
from actkit.runs.card import card, is_own_text
from actkit.runs.facts import config_text, read_begun
from actkit.runs.json_file import read_bytes
from actkit.runs.manifest import Manifest
from actkit.runs.paths import CARD, CONFIG, FINGERPRINT, RUN_FILE, SHARDS
from actkit.runs.progress import COUNTERS, Progress
from actkit.verify.tables.findings import Findings

Facts: TypeAlias = Mapping[str, Any]
UNITS = ("record", "pair")
"""Names for the records of a run: the values of `unit`."""
OF_MODEL = ("revision", "dtype", "attn", "quantize", "allow_pickle", "trust_remote_code")
"""Entries of the fingerprint that `model` in `run.json` has under the same name."""
SETTINGS = {each.name: each.metadata.get("option", each.name) for each in fields(ScoreSettings)}
"""Setting of `feature_scores` → the option that gives it."""
LICENCE = re.compile(r'^license: (".*")$', re.MULTILINE)
PLACE = re.compile(r'^load_dataset\((".*"), "[a-z_]+"\)$', re.MULTILINE)
"""Licence and address in a card: `actkit push` was given them, and `run.json` does not have them."""
MOST_TEXT = 1 << 20
"""Most bytes of options, as JSON or YAML, that are compared."""


def check_said_twice(run: Path, facts: Facts, findings: Findings, shards: Sequence[Manifest] = ()) -> None:
    """Add a problem for each entry that differs between two places; other checks report missing files."""
    with _reading(RUN_FILE, findings):
        _check_itself(facts, findings)
    with _reading(SHARDS, findings):
        _check_counted(facts, shards, findings)
    for name, check in ((FINGERPRINT, _check_begun), (CONFIG, _check_config), (CARD, _check_card)):
        with _reading(name, findings):  # older runs lack some; a run may have options that no file can give
            check(run, facts, findings)


@contextmanager
def _reading(name: str, findings: Findings) -> Iterator[None]:
    """Pass over a missing file, which other checks report; add a problem for a file that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        findings.wrong("counts", name, f"cannot be read ({error})")
    except RecursionError:
        findings.wrong("counts", RUN_FILE, "nested too deeply to be compared with what says the same")


def _check_itself(facts: Facts, findings: Findings) -> None:
    """Compare entries of `run.json` with one another."""
    fingerprint, options = facts.get("fingerprint", {}), facts.get("options", {})
    twice = [(f"fingerprint.{name}", fingerprint, name, value) for name, value in _of_fingerprint(facts)]
    twice += [
        (f"statistics.{function}.{name}", options, SETTINGS.get(name, name), value)
        for function, settings in facts.get("statistics", {}).items()
        for name, value in settings.items()
        if name in SETTINGS or options.get(name) is not None  # otherwise the run determined it
    ]
    for where, other, name, value in twice:
        findings.count("counts")
        if name in other and other[name] != value:
            findings.wrong("counts", RUN_FILE, f"{where} is not what the rest of it says")
    for where, value, known in _of_few(facts):
        findings.count("counts")
        if value not in known:
            findings.wrong("counts", RUN_FILE, f"{where} is {value!r:.60}, not {' or '.join(map(str, known))}")


def _of_fingerprint(facts: Facts) -> Iterator[tuple[str, Any]]:
    """Entry of the fingerprint → its value in the rest of `run.json`."""
    yield "command", facts["command"]
    yield "schema_version", facts["schema_version"]
    yield "hook_points", facts["hook_points"]
    if "made_from" not in facts:
        yield "actkit", facts.get("versions", {}).get("actkit")
    yield "model", facts["model"]["name"]
    yield from ((name, facts["model"][name]) for name in OF_MODEL if name in facts["model"])
    yield from ((f"option.{name}", value) for name, value in facts.get("options", {}).items())
    yield from ((f"rules.{name}", value) for name, value in facts["rules"].items())
    yield from ((f"detected.{name}", value) for name, value in facts.get("detected", {}).items())


def _of_few(facts: Facts) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Entry of `run.json`, its value, and the values that it can have."""
    options = facts.get("options", {})
    yield "unit", facts.get("unit"), (None, *UNITS)
    yield from (("exports", name, get_args(ExportFormat)) for name in facts.get("exports", ()))
    sessions = facts.get("sessions") or [{}]
    if "device" in sessions[-1]:
        yield "model.device", facts["model"].get("device"), (sessions[-1]["device"],)
    if "torch" in sessions[-1]:
        build = str(sessions[-1]["torch"])  # runs before 0.11.1 may have the version without its build: `+cu130`
        yield "versions.torch", facts.get("versions", {}).get("torch"), (build, build.partition("+")[0])
    allowed = (options.get("sae_dtype"), "float32")  # where the other dtype is no faster, features are found in float32
    yield from ((f"saes.{sae['name']}.found_in", sae.get("found_in"), allowed) for sae in facts.get("saes", ()))
    if options.get("save_all_tokens") is not None:
        yield "positions", facts.get("positions"), ("all" if options["save_all_tokens"] else "prompt-last",)
    if "began" in sessions[0] and "made_from" not in facts:
        yield "began", facts.get("began"), (sessions[0]["began"],)
    for function, settings in facts.get("statistics", {}).items():
        if "n_layers" in settings:
            yield f"statistics.{function}.n_layers", settings["n_layers"], (facts["model"].get("n_layers"),)


def _check_counted(facts: Facts, shards: Sequence[Manifest], findings: Findings) -> None:
    """Compare the counts of `run.json` with those of the shards' manifests, if all manifests are whole."""
    if not shards:
        return
    every, nothing = Progress(), Progress()
    for shard in shards:
        every.add(shard.progress, nothing)
    counted: dict[str, Any] = {f"counts.{name}": getattr(every, name) for name in COUNTERS}
    counted["first_rejected"] = every.first_rejected or None
    stated: dict[str, Any] = {f"counts.{name}": facts["counts"][name] for name in COUNTERS}
    stated["first_rejected"] = facts.get("first_rejected")
    counted |= {"input": _counts(every.seen), "rejected_reasons": every.reasons}
    stated |= {"input": _counts(facts.get("input", {})), "rejected_reasons": facts["rejected_reasons"]}
    for name, value in counted.items():
        findings.count("counts")
        if stated[name] != value:
            findings.wrong("counts", RUN_FILE, f"{name} is not what the manifests in {SHARDS} say")

    used = {shard.used for shard in shards} | {session.get("batch_tokens") for session in facts.get("sessions", ())}
    if facts.get("batch_tokens_used", shards[0].used) not in used:
        findings.wrong("counts", RUN_FILE, f"batch_tokens_used is not among those that the manifests in {SHARDS} say")


def _counts(seen: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Kind → name → count, without names and kinds that count zero."""
    found = {kind: {name: n for name, n in counts.items() if n} for kind, counts in seen.items()}
    return {kind: counts for kind, counts in found.items() if counts}


def _check_begun(run: Path, facts: Facts, findings: Findings) -> None:
    begun = read_begun(run)
    for name, here in (("fingerprint", begun.fingerprint), ("sessions", begun.sessions)):
        findings.count("counts")
        if name in facts and facts[name] != here:
            findings.wrong("counts", FINGERPRINT, f"{name} is not what run.json says")


def _check_config(run: Path, facts: Facts, findings: Findings) -> None:
    text = read_bytes(run / CONFIG)
    findings.count("counts")
    options = facts.get("options", {})
    # No run writes more, and spelling that as YAML could take minutes.
    is_short = len(text) <= MOST_TEXT and len(json.dumps(options)) <= MOST_TEXT
    if not is_short or text.decode("utf-8", "replace") != config_text(facts["command"], options):
        findings.wrong("counts", CONFIG, "not the options that run.json states")


def _check_card(run: Path, facts: Facts, findings: Findings) -> None:
    """Compare the card with one made again from `run.json`; a card that somebody edited is not compared."""
    data = read_bytes(run / CARD)
    if not is_own_text(data):
        return
    text = data.decode()
    licence, place = (json.loads(found[1]) if found else None for found in (LICENCE.search(text), PLACE.search(text)))
    findings.count("counts")
    if text != card(facts) and (place is None or text != card(facts, licence, place)):
        findings.wrong("counts", CARD, "not the card that run.json gives")
