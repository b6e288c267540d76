"""A run in a notebook: what shows itself is text between tags, and the numbers are those of the tables."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import actkit
from actkit.api.run_location import rows_in
from actkit.errors import ActkitError, UsageError
from tests.command_line import Run
from tests.report.hostile import ATTACKS, hostile_run

TAGS = re.compile(r"<(/?)([a-z0-9]+)")
ALLOWED = {"div", "b", "p", "table", "thead", "tbody", "tr", "th", "td", "bdi"}


def test_tables_texts_features_and_pictures_of_a_run(six_runs: Mapping[str, Path]) -> None:
    run = actkit.open_run(six_runs["feature-dataset"])
    table = run["feature_stats"]
    assert len(table) == 4096 and table.to_pandas(["feature_id"])["feature_id"].tolist() == list(range(4096))
    assert pl.DataFrame(run["sequences"]).height == len(run["sequences"])
    assert run["tokens"].head(2).num_rows == 2
    assert "feature-dataset/config.yaml --out AGAIN" in run._repr_html_(), "the line that runs it again is cut"
    best = run.to_pandas("feature_stats").nlargest(1, "density").iloc[0]
    feature = run.feature(int(best["feature_id"]))
    assert feature.page["n_active"] == best["n_active"] and len(feature.page["contexts"]) == len(best["contexts"])
    text = run.sequence(2)
    assert "".join(t for at, t in enumerate(text.view["texts"]) if at not in text.view["special"]) == (
        run.table("sequences")["text"][2].as_py()
    )
    assert run.plot.l0(dark=True).layout.title.text
    assert set(dir(run.plot)) == {"map", "feature", "search", "document", "l0"}
    with pytest.raises(AttributeError, match="no picture layers"):
        _ = run.plot.layers
    wrongs = (lambda: run["none"], lambda: run.feature(4096), lambda: run.sequence(999), lambda: run.feature(1, "x"))
    for wrong in wrongs:
        with pytest.raises(ActkitError):
            wrong()


@pytest.mark.parametrize("wrong", [None, 5, [], "nope", 1.0])
def test_names_and_numbers_that_a_run_does_not_have_are_said(wrong: Any, six_runs: Mapping[str, Path]) -> None:
    """Some ended in pyarrow, and the activations of None were those of every hook point, one below the other."""
    run, dense = actkit.open_run(six_runs["feature-dataset"]), actkit.open_run(six_runs["dpo"])
    point = dense.hook_points[0]
    asked = [run.table, run.to_pandas, run.__getitem__, dense.activations, dense.positions]
    asked += [lambda side: dense.activations(point, side)] if wrong is not None else []
    asked += [run.features] if wrong is not None else []
    asked += [run.sequence, run.feature] if wrong != 5 else []
    for ask in asked:
        with pytest.raises(ActkitError):
            ask(wrong)


def test_a_run_is_opened_by_a_path_or_is_open(six_runs: Mapping[str, Path]) -> None:
    run = actkit.open_run(six_runs["capture"])
    assert actkit.open_run(run).path == run.path and run.sequence(np.int64(1)).sequence_id == 1
    for wrong in (None, 5, [], b"run"):
        with pytest.raises(UsageError, match="is no path"):
            actkit.open_run(wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_table_and_the_pictures_say_what_they_hold(six_runs: Mapping[str, Path]) -> None:
    run = actkit.open_run(six_runs["capture"])
    assert repr(run["tokens"]).startswith(f"RunTable('tokens': {len(run['tokens'])} rows of sequence_id, position, ")
    assert repr(run.plot) == f"Plots(of a run of capture: {', '.join(dir(run.plot))})" and "norms" in dir(run.plot)
    with pytest.raises(UsageError, match="int is neither a text nor records"):
        rows_in(1)


@pytest.mark.slow
def test_html_in_notebooks_is_text_between_a_few_tags(tmp_path: Path) -> None:
    run = actkit.open_run(hostile_run(tmp_path))
    shown = [run._repr_html_(), *(run[name]._repr_html_() for name in run.tables)]
    shown += [run.sequence(number)._repr_html_() for number in range(len(ATTACKS))]
    best = run.table("feature_positions")["feature_id"][0].as_py()
    shown.append(run.feature(best)._repr_html_())
    for html in shown:
        assert {tag for _, tag in TAGS.findall(html)} <= ALLOWED
        assert "\u202e" not in html and "\u2028" not in html and ' onmouseover="' not in html
        assert html.count("<div") == html.count("</div>")
    assert "&lt;script&gt;" in shown[0] and "⟨U+202E⟩" in "".join(shown)


def test_show_repeats_the_verdict_and_picks_rows_features_and_texts(six_runs: Mapping[str, Path], actkit: Run) -> None:
    call = actkit
    found = call("show", six_runs["concept"])
    scores = json.loads((six_runs["concept"] / "run.json").read_text())["concept"]["chosen"]
    assert "held out" in found.out and ("→" in found.out) is bool(scores)
    assert "length alone" in call("show", six_runs["reward-detect"]).out
    asked = ("--table", "feature_stats", "--sort=-density", "--columns", "feature_id,density", "-n", "7", "--json")
    rows = call("show", six_runs["feature-dataset"], *asked)
    stats = actkit_table(six_runs["feature-dataset"]).nlargest(7, "density")
    listed = [json.loads(line) for line in rows.out.splitlines()]
    assert [row["density"] for row in listed] == pytest.approx(stats["density"].tolist())
    assert list(listed[0]) == ["feature_id", "density"]
    best = int(stats.iloc[0]["feature_id"])
    assert f"feature {best}" in call("show", six_runs["feature-dataset"], "--feature", str(best)).out
    assert "sequence 1," in call("show", six_runs["dpo"], "--sequence", "1").out
    of_table = (("none",), ("tokens", "--sort", "none"), ("features", "--sort", "feature_ids"))
    others = (("--feature", "99999"), ("--sequence", "999"), ("--sort", "x"))
    for wrong in (*(("--table", *arguments) for arguments in of_table), *others):
        failed = call("show", six_runs["feature-dataset"], *wrong)
        assert failed.status in (1, 2) and "hint:" in failed.err and "Traceback" not in failed.err


def actkit_table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path / "feature_stats")
