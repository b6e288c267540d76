"""The top of every page: what was run, on what, what became of the records, and how to run it again."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.numerals import signed
from actkit.report.finding import verdicts_of
from actkit.runs.facts import detected_of, health_of
from actkit.runs.paths import VERIFIED


def header(run: Path, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each fact, in order."""
    model, counts = facts["model"], facts["counts"]
    revision = f" at {model['revision']}" if model.get("revision") else ""
    rows = [
        ("command", f"actkit {facts['command']}"),
        ("model", f"{model['name']}{revision}, {model['dtype']} on {model['device']}, attention {model['attn']}"),
        ("hook points", ", ".join(facts["hook_points"])),
    ]
    for sae in facts.get("saes", ()):
        about = f"{sae['name']}, {sae['d_sae']:,} features at {sae['hook_point']}"
        rows.append(("SAE", about))
    rows += [("SAE health", said) for _, said in health_of(facts)]
    rows += [
        (
            "records",
            f"{counts['read']:,} read, {counts['written']:,} written, {counts['rejected']:,} rejected, "
            f"{counts['truncated']:,} truncated; {counts['sequences']:,} sequences, {counts['tokens']:,} tokens",
        )
    ]
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
    """What must be known before the pictures are believed, each once."""
    of_report = facts.get("concept", {}) or {}
    found = [*facts.get("warnings", ()), *of_report.get("warnings", ()), *facts.get("notes", ())]
    found += of_report.get("features", {}).get("warnings", ()) if isinstance(of_report.get("features"), dict) else ()
    return list(dict.fromkeys(str(warning) for warning in found))


def verified(run: Path, facts: Mapping[str, Any]) -> str:
    """What `actkit verify` found, if it was run; else what `--verify N` found."""
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
