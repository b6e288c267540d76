"""What a run found, in sentences: its own verdict, or what its first picture says."""

from collections.abc import Mapping
from typing import Any

from actkit.numerals import signed
from actkit.plots.picture import LackingError, Pick
from actkit.plots.pictures import drawn, pictures_of
from actkit.runs.run import Run


def verdicts_of(facts: Mapping[str, Any]) -> list[str]:
    """The verdict of a command that gives one, which the console prints too."""
    found: list[str] = []
    steered, concept, scores = ((facts.get(name) or {}) for name in ("steer", "concept", "scores"))
    for row in steered.get("verdicts", ()):
        how = ", chosen on the validation texts" if steered.get("chosen") else ""
        strength = signed(row["strength"])
        found.append(f"{row['source']}, layer {row['layer']}, strength {strength}{how}: {row['verdict']}")
    row = concept.get("chosen", {}).get(concept.get("method")) or {}
    if row.get("auroc_heldout") is not None:
        ends = (row.get("auroc_heldout_low"), row.get("auroc_heldout_high"))
        interval = "" if None in ends else f" ({ends[0]:.3f} to {ends[1]:.3f})"
        found.append(
            f"{row['method']}, layer {row['layer']}, chosen on the validation pairs: AUROC {row['auroc_heldout']:.3f}"
            f"{interval} on {row['n_heldout']:,} test pairs"
        )
    if "found" in scores:
        sides = scores["found"]["respond_to"]
        found.append(
            f"of {scores['found']['tested']:,} features {sides['positive']:,} respond to positive and "
            f"{sides['negative']:,} to negative feedback by all evidence"
        )
    return found


def finding(run: Run) -> str:
    """One sentence with n and an interval or a null band; why there is none, where the run has not what it needs."""
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
