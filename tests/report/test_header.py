"""What stands at the top of a page: the run's verdict in words, and nothing that is only a program's."""

import json
from collections.abc import Mapping
from pathlib import Path

from actkit.plots.picture import LackingError
from actkit.report.header import finding, header, verdicts_of
from actkit.report.write import _sections
from actkit.runs.facts import detected_of
from actkit.runs.run import open_run
from tests.command_line import Run


def test_the_verdict_of_a_run_stands_on_its_page(six_runs: Mapping[str, Path]) -> None:
    """A page of steer that did not say `not shown` looked like an effect."""
    for command, wanted in (
        ("steer", ": "),
        ("concept", " test pairs"),
        ("reward-detect", "respond to positive and"),
    ):
        path = six_runs[command]
        facts = json.loads((path / "run.json").read_text())
        told = verdicts_of(facts)
        assert told and all(wanted in said for said in told)
        assert [said for name, said in header(path, facts) if name == "found"] == told
        assert finding(open_run(path)) == "; ".join(told)
    facts = json.loads((six_runs["steer"] / "run.json").read_text())
    assert all(row["verdict"] in said for row, said in zip(facts["steer"]["verdicts"], verdicts_of(facts), strict=True))
    facts = json.loads((six_runs["dpo"] / "run.json").read_text())
    assert verdicts_of(facts) == [] and finding(open_run(six_runs["dpo"])).endswith(".")


def test_health_names_its_sae_where_there_are_several(six_runs: Mapping[str, Path]) -> None:
    path = six_runs["feature-dataset"]
    facts = json.loads((path / "run.json").read_text())

    def health() -> list[str]:
        return [said for name, said in header(path, facts) if name == "SAE health"]

    (alone,) = health()
    for of in ("saes", "health"):
        name = "name" if of == "saes" else "sae"
        facts[of] = [{**facts[of][0], name: "first"}, {**facts[of][0], name: "second"}]
    assert health() == [f"first: {alone}", f"second: {alone}"]


def test_what_was_detected_is_told_in_words() -> None:
    labels = {"field": "stars", "positive": ["4", "5"], "negative": ["1"], "neither": {"3": 7}}
    detected = {"input_format": "pairs", "labels": labels, "chat": True, "weights": None, "interventions": "0f" * 32}
    assert dict(detected_of({"detected": detected})) == {
        "input format": "pairs",
        "labels": "4, 5 → positive; 1 → negative; neither: 3 (7) (field stars)",
        "chat template": "used",
    }
    assert dict(detected_of({"detected": {"chat": False}})) == {"chat template": "not used"}


def test_a_picture_that_cannot_be_drawn_is_headed_by_what_it_would_show() -> None:
    sections, _ = _sections([[("l0", "active features by position", LackingError("No token is stored.", ""))]])
    side = sections[0]["sides"][0]
    assert (side["title"], side["says"]) == ("Active features by position", "No token is stored.")


def test_tables_of_findings_fit_a_terminal_of_80_columns(six_runs: Mapping[str, Path], actkit: Run) -> None:
    for command, first in (("concept", "layer"), ("reward-detect", "feature")):
        lines = actkit("show", six_runs[command]).out.splitlines()
        at = next((at for at, line in enumerate(lines) if first in line and "held out" in line), None)
        if at is not None:  # a ranking is not shown where the sample cannot carry one
            assert max(map(len, lines[at : at + 2])) < 80
