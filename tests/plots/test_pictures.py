"""Pictures: each says what it shows, its numbers come from the query under it, and texts of a run are only text."""

import html
import io
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from actkit.analysis.concepts.contrast import read_pairs, read_sides
from actkit.analysis.scratch_file import Spill
from actkit.cli.screen.ranking import show_ranking
from actkit.errors import ActkitError, UsageError
from actkit.plots import dpo
from actkit.plots import pictures as saving
from actkit.plots.concept import sides as projected_module
from actkit.plots.feature_dataset.all_features import features_of_token
from actkit.plots.picture import LackingError, Pick
from actkit.plots.pictures import OF_COMMAND, draw, drawn, pictures_of, save
from actkit.plots.style import DARK, label, themed, titled
from actkit.runs.by_feature import positions_of_feature
from actkit.runs.by_sequence import sequences_of
from actkit.runs.run import open_run
from tests.command_line import Run
from tests.verify.tampering import change_part, put

CERTAINTY = re.compile("interval|band|quartile|chance|empty|95 of 100")
"""What a sentence says of how sure its figures are, or that they are one text's."""
TYPED = re.compile(r"(?<![\w.)])-\.?\d|\d%")
HOSTILE = '</a>\u202e\u0000\n<a href="javascript:">x</a>%{y}&lt;b&gt;</script>'


@pytest.mark.quick(2)
@pytest.mark.parametrize("command", sorted(OF_COMMAND))
def test_every_picture_has_titles_a_number_of_samples_and_a_query_that_runs(
    command: str, six_runs: Mapping[str, Path]
) -> None:
    run = open_run(six_runs[command])
    pictures = pictures_of(run)
    assert len(pictures) == 5 and len({picture.name for picture in pictures}) == 5
    for picture in pictures:
        found = picture.draw(run, Pick())
        assert found.figure.data, picture.name
        assert not {trace.type for trace in found.figure.data} & {"scattergl"}, "WebGL needs unsafe-eval"
        assert re.search(r"\d", found.says) and found.says.endswith("."), found.says
        assert CERTAINTY.search(found.says), found.says
        for text in (found.title, found.says, *(str(trace.name) for trace in found.figure.data)):
            assert not TYPED.search(text), "a minus is one, and per cent stand apart from their number"
        for axis in ("xaxis", "yaxis"):
            title = found.figure.layout[axis].title.text
            hidden = found.figure.layout[axis].showticklabels is False or found.figure.layout[axis].ticktext
            texts = found.figure.layout[axis].type == "category" or hidden or picture.name == "feature"
            assert title or texts, (picture.name, axis)
        layout = found.figure.layout
        assert layout.legend.y >= 1, "a legend below the axes meets their titles"
        for axis in (axis for axis in map(layout.__getitem__, ("xaxis", "yaxis")) if axis.type == "log"):
            assert axis.tickformat or axis.ticktext, "without a format 0.5 and 50 are both written 5"
        for axis in map(layout.__getitem__, ("xaxis", "yaxis")):
            assert "%" not in str(axis.tickformat), "per cent stand apart from their number"
            assert not any(TYPED.search(str(text)) for text in axis.ticktext or ())
        for band in (
            shape for shape in layout.shapes if shape.type == "rect" and shape.xref == "x" and layout.xaxis.range
        ):
            assert layout.xaxis.range[0] <= band.x0 <= band.x1 <= layout.xaxis.range[1], "a band is cut"
        assert duckdb.sql(found.query.replace("RUN", str(run.path))).fetchall(), picture.name
        assert json.dumps(found.figure.to_dict(), default=np.ndarray.tolist)
        assert themed(found.figure, dark=True).layout.paper_bgcolor == DARK["paper"]


def test_figures_are_those_of_the_tables(six_runs: Mapping[str, Path]) -> None:
    run = open_run(six_runs["feature-dataset"])
    stats = run.to_pandas("feature_stats")
    alive = stats[stats["n_active"] > 0]
    drawn = draw(run, "map").figure.data[0]
    assert list(drawn.customdata) == alive["feature_id"].tolist()
    assert np.allclose(drawn.x, alive["density"]) and np.allclose(drawn.y, alive["max"])
    pairs = open_run(six_runs["dpo"])
    divergence = draw(pairs, "divergence").figure.data[0]
    table = pairs.to_pandas("pairs")
    ok = table[table["status"] == "ok"]
    assert sorted(divergence.x) == sorted(ok["chosen_divergence"] - ok["chosen_response_start"])


def test_positions_that_are_not_stored_are_gaps_and_one_line_stands_for_two_that_are_alike(
    actkit: Run, tmp_path: Path
) -> None:
    """Cells beside a gap were as wide as the gap."""
    asked = ("-p", "The capital of France is", "--layers", "0,1", "--positions", "1,3")
    assert actkit("capture", *asked, "-o", str(tmp_path / "run")).status == 0
    run = open_run(tmp_path / "run")
    heat = draw(run, "norms").figure.data[0]
    assert list(heat.x) == [1, 2, 3] and np.isnan(np.array(heat.z, float)).tolist() == [[False, True, False]] * 2
    layers = drawn(next(picture for picture in pictures_of(run) if picture.name == "layers"), run, Pick())
    assert [trace.name for trace in layers.figure.data] == ["hook_resid_post"]
    assert "none of which is a special token" in layers.says


def test_features_of_a_token_have_the_recall_and_precision_that_counting_gives(six_runs: Mapping[str, Path]) -> None:
    run = open_run(six_runs["feature-dataset"])
    sae = run.facts["saes"][0]["name"]
    found = features_of_token(run, sae, " king")
    tokens = run.to_pandas("tokens")
    keys = {(a, b) for a, b in tokens[tokens["token"] == " king"][["sequence_id", "position"]].itertuples(index=False)}
    assert found.n_tokens == len(keys) > 0
    best = int(np.argmax(found.f1))
    special = {(a, b) for a, b in tokens[tokens["is_special"]][["sequence_id", "position"]].itertuples(index=False)}
    table = positions_of_feature(run.path, sae, best).to_pandas()
    places = {(a, b) for a, b in table[["sequence_id", "position"]].itertuples(index=False)} - special
    assert found.recall[best] == len(places & keys) / len(keys)
    assert found.precision[best] == len(places & keys) / len(places)


def test_the_mean_difference_lies_in_its_null_band_where_the_sides_were_exchanged_at_random(
    six_runs: Mapping[str, Path],
) -> None:
    from actkit.plots.dpo.pair_vectors import layer_differences

    for difference in layer_differences(open_run(six_runs["dpo"])):
        assert len(difference.null) == 400 and (difference.null > 0).all()
        # The sign of the whole does not matter, so a draw of all equal signs would be the mean itself.
        assert np.linalg.norm(difference.mean) <= difference.null.max() * 3


def test_sequences_are_read_by_id_with_boxes_that_are_the_whole_text(six_runs: Mapping[str, Path]) -> None:
    for command in ("dpo", "capture", "feature-dataset"):
        rows = pq.read_table(six_runs[command] / "sequences").to_pylist()
        found = sequences_of(six_runs[command], [row["sequence_id"] for row in rows])
        for row in rows:
            text = found[row["sequence_id"]]
            assert [token["position"] for token in text.tokens] == list(range(row["n_tokens"]))
            unseen = [box for box in text.boxes if box.is_special and text.tokens[box.first]["char_end"] == 0]
            assert "".join(box.text for box in text.boxes if box not in unseen) == row["text"]
    with pytest.raises(ActkitError, match="no sequence 12345"):
        sequences_of(six_runs["dpo"], [12345])


def test_a_run_without_a_table_gets_a_sentence_and_no_traceback(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    """An older run: without the tables that came later, and here without any but its texts."""
    for command, path in six_runs.items():
        old = tmp_path / command
        shutil.copytree(path, old)
        facts = json.loads((old / "run.json").read_text())
        for lacking in [table for table in facts["tables"] if table not in ("sequences", "tokens")]:
            shutil.rmtree(old / lacking)
            del facts["tables"][lacking]
        (old / "run.json").write_text(json.dumps(facts))
        for picture in pictures_of(open_run(old)):
            if picture.name != "probes":  # of run.json alone
                with pytest.raises(LackingError) as error:
                    picture.draw(open_run(old), Pick())
                assert error.value.message.endswith(".")


@pytest.mark.parametrize(
    ("command", "picture", "table"),
    [("concept", "projections", "sequences"), ("reward-detect", "forest", "feature_scores")],
)
def test_a_table_whose_files_are_gone_is_named(
    command: str, picture: str, table: str, six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(six_runs[command], run)
    shutil.rmtree(run / table)
    with pytest.raises(ActkitError, match=f"no files of {table}"):
        draw(open_run(run), picture, Pick())


@pytest.mark.slow
def test_a_run_of_an_older_actkit_is_drawn_without_the_columns_that_came_later(
    six_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    later = {"tokens": ["is_sink"], "sequences": ["split"], "feature_stats": ["histogram"]}
    for command in ("dpo", "feature-dataset"):
        old = tmp_path / command
        shutil.copytree(six_runs[command], old)
        for table, columns in later.items():
            for part in (old / table).glob("*.parquet"):
                rows = pq.read_table(part, partitioning=None)
                pq.write_table(
                    rows.drop_columns([original for original in columns if original in rows.column_names]), part
                )
        for picture in pictures_of(open_run(old)):
            assert drawn(picture, open_run(old), Pick()).says
        part = next((old / "sequences").glob("*.parquet"))
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["record_id"]), part)
        needing = next(picture for picture in pictures_of(open_run(old)) if picture.name in ("pair", "document"))
        with pytest.raises(LackingError, match="no record_id, which runs of actkit .* have: it is not as it was"):
            drawn(needing, open_run(old), Pick())
        facts = json.loads((old / "run.json").read_text())
        facts["versions"]["actkit"] = "0.0.1"
        (old / "run.json").write_text(json.dumps(facts))
        with pytest.raises(LackingError, match=r"no record_id: actkit 0\.0\.1 wrote it, and this is "):
            drawn(needing, open_run(old), Pick())


def test_labels_are_text_alone() -> None:
    shown = label(HOSTILE)
    assert "<" not in shown and ">" not in shown and "%{" not in shown and "&lt;/a&gt;" in shown
    assert "⟨U+202E⟩" in shown and "⟨U+0000⟩" in shown and "⏎" in shown
    assert len(label("x" * 500)) == 60


def test_a_hostile_text_is_no_markup_in_any_figure(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    """Statuses and texts come from tables; whatever stands in them, no figure holds a tag of it."""
    bad = tmp_path / "bad"
    shutil.copytree(six_runs["dpo"], bad)
    part = next((bad / "sequences").glob("*.parquet"))
    table = pq.read_table(part, partitioning=None)
    texts = [HOSTILE * (len(original) // len(HOSTILE) + 1) for original in table["text"].to_pylist()]
    texts = [text[: len(original)] for text, original in zip(texts, table["text"].to_pylist(), strict=True)]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", pa.array(texts)), part)
    part = next((bad / "pairs").glob("*.parquet"))
    table = pq.read_table(part, partitioning=None)
    statuses = pa.array([HOSTILE, *table["status"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("status"), "status", statuses), part)
    for name in ("pair", "divergence"):
        text = json.dumps(draw(open_run(bad), name).figure.to_dict(), default=np.ndarray.tolist, ensure_ascii=False)
        assert "<a" not in text and "</script" not in text and "\u202e" not in text
        assert "⟨U+202E⟩" in text or name == "pair"


def test_a_token_in_a_title_is_escaped_once(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    """By whoever shows it: it stood there as &lt;|assistant|&gt;."""
    shutil.copytree(six_runs["sae-extract"], tmp_path / "run")
    for part in (tmp_path / "run/sequences").glob("*.parquet"):
        table = pq.read_table(part, partitioning=None)
        texts = pa.array(["<" * len(text) for text in table["text"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("text"), "text", texts), part)
    found = draw(open_run(tmp_path / "run"), "last")
    assert found.title.endswith("<") and "&lt;" not in found.title + found.says
    assert "&lt;" in titled(found.figure, found.title, found.says).layout.title.text


def test_the_command_line_lists_and_writes_pictures(
    six_runs: Mapping[str, Path], actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = six_runs["dpo"]
    assert [line.split()[0] for line in actkit("plot", run).out.splitlines()] == [
        picture.name for picture in dpo.PICTURES
    ]
    found = actkit("plot", run, "layers", "-o", tmp_path / "x.html")
    assert found.status == 0 and found.out.strip() == str(tmp_path / "x.html") and "12 pairs" in found.err
    assert "cdn.plot.ly" not in (tmp_path / "x.html").read_text().split("<script", 2)[1]
    shown = draw(open_run(run), "layers")
    assert "95\u00a0%" in shown.says and shown.says in " ".join(found.err.split("\n"))
    assert f"<title>{html.escape(shown.title)}</title>" in (tmp_path / "x.html").read_text()
    svg = '<svg class="main-svg" viewBox="0 0 9 9"><rect width="1"/></svg>'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "_image", lambda *_: svg.encode())
        root = ElementTree.fromstring(save(shown, tmp_path / "told.svg").read_text())
    assert root.get("role") == "img" and [child.tag for child in root] == ["title", "desc", "rect"]
    assert [child.text for child in root][:2] == [shown.title, shown.says]
    again = actkit("plot", run, "layers", "-o", tmp_path / "x.html")
    assert again.status == 1 and "exists already" in again.err
    assert "layers" in actkit("plot", run, "nothing", "-o", tmp_path / "y.html").err
    assert ".svg" in actkit("plot", run, "layers", "-o", tmp_path / "y.jpeg").err
    monkeypatch.setitem(__import__("sys").modules, "kaleido", None)
    with pytest.raises(UsageError, match="kaleido"):
        save(draw(open_run(run), "layers"), tmp_path / "x.svg")


def test_a_feature_that_could_not_be_tested_has_no_q_anywhere(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    """Active in texts alone whose labels no exchange changes: it was drawn and printed as q below 1e-300, or raised."""
    path = Path(shutil.copytree(six_runs["reward-detect"], tmp_path / "run"))
    part = path / "feature_scores" / "part-00000.parquet"
    change_part(part, lambda table: put("p_value", 0, None)(put("q_value", 0, None)(table)))
    run = open_run(path)
    number = pq.read_table(part, partitioning=None)["feature_id"][0].as_py()
    assert "twice the smaller tail" in draw(run, "volcano").says
    assert "no q, since" in draw(run, "feature", Pick(feature=number)).says
    for name in ("volcano", "replication"):
        told = [trace.customdata for trace in draw(run, name).figure.data if trace.customdata is not None]
        marked = [at[0] for of_trace in told for at in of_trace]
        assert marked and number not in marked, name
    document = json.loads((path / "reward_features.json").read_text())
    document["features"][0]["q_value"] = None
    document["statistics"]["saes"][0]["largest_auroc_by_chance"]["q95"] = 0.6  # a sample that a ranking is shown of
    (path / "reward_features.json").write_text(json.dumps(document))
    printed = Console(file=io.StringIO(), width=200)
    show_ranking(path, printed)
    row = next(line for line in printed.file.getvalue().splitlines() if line.split()[:2] == ["1", str(number)])
    assert "1e-300" not in row and row.split()[-3] == "-", row


def test_pictures_project_what_directions_are_fitted_to(actkit: Run, tmp_path: Path) -> None:
    """A special token that is typed inside of an answer is in no mean: pictures had it in theirs."""
    words = ("tea", "rain", "salt", "bread", "glass", "winter")
    records = [
        {
            "question": f"Is {word} good?",
            "answer_matching_behavior": f" Yes, {word} <|user|> is",
            "answer_not_matching_behavior": f" No, {word} never is",
        }
        for word in words
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    asked = ("--positions", "response-mean", "--layers", "1", "--no-chat", "-o", str(tmp_path / "run"))
    assert actkit("concept", str(tmp_path / "in.jsonl"), *asked).status == 0
    run = open_run(tmp_path / "run")
    assert run.facts["counts"]["special_in_text"] == len(words)
    with closing(Spill(tmp_path)) as file:
        sides = read_sides(run.path, read_pairs(run.path), "blocks.1.hook_resid_post", False, file).pairs
    unit = np.array(run.table("directions", ["direction"])["direction"][0].as_py())
    row = {"layer": 1, "hook_point": "blocks.1.hook_resid_post", "method": "mean-diff"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projected_module, "chosen", lambda _run, _pick: row)  # six pairs choose no layer
        found = projected_module.projected(run, Pick())
    for own, expected in zip((found.positive, found.negative), sides.projected(unit), strict=True):
        assert own == pytest.approx(expected, abs=1e-5)
