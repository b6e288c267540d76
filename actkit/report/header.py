"""The top of every page: command, model, SAEs, counts of records, findings, and the line that runs it again."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.numerals import signed
from actkit.plots.concept.sides import interval
from actkit.plots.picture import LackingError, Pick
from actkit.plots.pictures import drawn, pictures_of
from actkit.runs.facts import detected_of, health_of
from actkit.runs.paths import VERIFIED
from actkit.runs.run import Run


def verdicts_of(facts: Mapping[str, Any]) -> list[str]:
    """Return the verdicts of a command that gives some; the console prints them too."""
    found: list[str] = []
    steered, concept, scores = ((facts.get(name) or {}) for name in ("steer", "concept", "scores"))
    for row in steered.get("verdicts", ()):
        how = ", chosen on the validation texts" if steered.get("chosen") else ""
        strength = signed(row["strength"])
        found.append(f"{row['source']}, layer {row['layer']}, strength {strength}{how}: {row['verdict']}")
    row = concept.get("chosen", {}).get(concept.get("method")) or {}
    if row.get("auroc_heldout") is not None:
        found.append(
            f"{row['method']}, layer {row['layer']}, chosen on the validation pairs: AUROC {interval(row)} on "
            f"{row['n_heldout']:,} test pairs"
        )
    if "found" in scores:
        sides = scores["found"]["respond_to"]
        found.append(
            f"of {scores['found']['tested']:,} features {sides['positive']:,} respond to positive and "
            f"{sides['negative']:,} to negative feedback by all evidence"
        )
    return found


def finding(run: Run) -> str:
    """Return the run's verdicts; else the sentence of its first picture, or why that picture cannot be drawn."""
    told = verdicts_of(run.facts)
    if told:
        return "; ".join(told)
    known = pictures_of(run)
    if not known:
        return f"A run of {run.facts['command']} has no picture."
    try:
        return drawn(known[0], run, Pick()).says
    except LackingError as error:
        return error.message


def header(run: Path, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each fact, in order."""
    model, counts = facts["model"], facts["counts"]
    revision = f" at {model['revision']}" if model.get("revision") else ""
    rows = [
        ("command", f"actkit {facts['command']}"),
        ("model", f"{model['name']}{revision}, {model['dtype']} on {model['device']}, attention {model['attn']}"),
        ("hook points", ", ".join(facts["hook_points"])),
    ]
    saes = facts.get("saes", ())
    rows += [("SAE", f"{sae['name']}, {sae['d_sae']:,} features at {sae['hook_point']}") for sae in saes]
    rows += [("SAE health", said if len(saes) < 2 else f"{sae}: {said}") for sae, said in health_of(facts)]
    of_records = ", ".join(f"{counts[name]:,} {name}" for name in ("read", "written", "rejected", "truncated"))
    rows.append(("records", f"{of_records}; {counts['sequences']:,} sequences, {counts['tokens']:,} tokens"))
    reasons = sorted(facts.get("rejected_reasons", {}).items(), key=lambda reason: (-reason[1], reason[0]))
    if reasons:
        rows.append(("rejected", "; ".join(f"{count:,} × {reason}" for reason, count in reasons[:5])))
    detected = [f"{name}: {said}" for name, said in detected_of(facts)]
    if detected:
        rows.append(("detected", ", ".join(detected)))
    rows += [("found", said) for said in verdicts_of(facts)]
    rows.append(("verified", verified(run, facts)))
    rows.append(("again", f"actkit {facts['command']} --config {shlex.quote(f'{run.name}/config.yaml')} --out AGAIN"))
    return rows


def warnings_of(facts: Mapping[str, Any]) -> list[str]:
    """List the warnings and notes of a run, each once."""
    concept = facts.get("concept") or {}
    found = [*facts.get("warnings", ()), *concept.get("warnings", ()), *facts.get("notes", ())]
    found += (concept.get("features") or {}).get("warnings", ())
    return list(dict.fromkeys(str(warning) for warning in found))


def verified(run: Path, facts: Mapping[str, Any]) -> str:
    """Write the result of `actkit verify`, if it was run; else the result of `--verify N`."""
    try:
        found = json.loads((run / VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict):
        worst = _worst(found.get("recomputed") or found)
        problems = found.get("problems") or []
        right = found.get("ok", not problems)
        return ("every file and number as written" if right else f"{len(problems) or 'some'} problems found") + worst
    if facts.get("verify"):
        return f"{facts['verify'].get('records', 0):,} records computed again while it ran{_worst(facts['verify'])}"
    return f"not yet: actkit verify {shlex.quote(run.name)} --recompute 20"


def _worst(found: Mapping[str, Any]) -> str:
    rows = [*(found.get("hook_points") or {}).values(), *(found.get("saes") or {}).values()]
    errors = [row["worst_error"] for row in rows if isinstance(row, Mapping) and row.get("worst_error") is not None]
    return f"; worst error against the plain model {signed(max(errors), '.1e')}" if errors else ""
