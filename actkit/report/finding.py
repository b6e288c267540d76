"""The finding of a run, in a sentence: that of its first picture."""

from actkit.plots.picture import LackingError, Pick
from actkit.plots.pictures import drawn, pictures_of
from actkit.runs.run import Run


def finding(run: Run) -> str:
    """One sentence with n and an interval or a null band; why there is none, where the run has not what it needs."""
    known = pictures_of(run)
    if not known:
        return f"A run of {run.facts['command']} has no picture."
    try:
        return drawn(known[0], run, Pick()).says
    except LackingError as error:
        return error.message
