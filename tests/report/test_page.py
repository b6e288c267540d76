"""A report in a real browser: what it shows, how it is moved about in, and that nothing of a run is more than text."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest

from actkit.numerals import percent
from actkit.report import write
from actkit.report.write import write_report
from actkit.runs.run import open_run
from tests.report.browser import OWN, watched
from tests.report.hostile import ATTACKS, hostile_run

FOREIGN = (
    "img, iframe, object, embed, base, form, meta[http-equiv=refresh], a[href^=javascript], [onerror], [onmouseover]"
)
PICTURES = 5
LINES = """[...document.querySelectorAll('#detail td')].filter((cell) => cell.textContent.length <= 16).map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
})"""
"""Of each short cell of a table: on how many lines its text stands."""


@pytest.fixture(scope="module")
def pages(six_runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_report([open_run(path)], folder / f"{name}.html") for name, path in six_runs.items()}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(800, "light"), (1600, "dark")])
def test_every_page_draws_its_five_pictures_at_both_widths_in_both_themes(
    width: int, scheme: Any, pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    names = sorted(pages)[width == 1600 :: 2]
    for name in names:
        with watched(browser, viewport={"width": width, "height": 900}, color_scheme=scheme) as seen:
            seen.go(pages[name].as_uri())
            seen.drawn()
            assert seen.page.locator(".picture").count() == PICTURES, name
            assert seen.page.locator(".plot .main-svg").count() >= PICTURES
            background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            plot = seen.page.evaluate("document.querySelector('.plot').layout.paper_bgcolor")
            assert (background, plot) == (
                ("rgb(22, 24, 27)", "#16181b") if scheme == "dark" else ("rgb(255, 255, 255)", "#ffffff")
            )
            wide = seen.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide"
            for box in [plot.bounding_box() for plot in seen.page.locator(".plot").all()]:
                assert box and box["width"] <= width and box["height"] > 100
            assert seen.page.locator(".picture details pre").count() == PICTURES
            has_features = bool(open_run(six_runs[name]).facts.get("saes"))
            assert seen.page.locator("#search").count() == has_features, "a search that can find nothing"
            assert ("510th" in seen.page.inner_text("footer")) == has_features
            seen.to("#/0/sequences")
            assert set(seen.page.evaluate(LINES)) <= {0, 1}, "a word is broken in a narrow column"
            assert not seen.problems, (name, seen.problems)


@pytest.mark.slow
def test_a_feature_is_found_opened_hovered_and_followed(
    pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    run = open_run(six_runs["feature-dataset"])
    stats = run.to_pandas("feature_stats").sort_values(["density", "feature_id"], ascending=[False, True])
    first, second = stats.iloc[0], stats.iloc[1]
    with watched(browser) as seen:
        seen.go(pages["feature-dataset"].as_uri())
        text = seen.to(f"#/0/feature/0/{first['feature_id']}")
        assert f"Feature {first['feature_id']}" in text and f"{first['n_active']:,} tokens" in text
        contexts = seen.page.locator(".context")
        strongest = contexts.all()[: len(first["contexts"])]  # those of the quantiles follow
        for place, context in zip(strongest, first["contexts"], strict=True):
            bold = place.locator(".tok.at").inner_text().replace("⏎", "\n").strip()
            assert bold == context["token"].strip()
            assert float(place.locator(".value").inner_text()) == pytest.approx(context["activation"], rel=0.01)
        contexts.first.locator(".tok.at").hover()
        assert "activation" in seen.page.inner_text("#hover")
        seen.page.keyboard.press("j")
        seen.settled(f"#/0/feature/0/{second['feature_id']}")
        seen.page.keyboard.press("k")
        seen.settled(f"#/0/feature/0/{first['feature_id']}")
        contexts.first.locator(".value").click()
        context = first["contexts"][0]
        seen.settled(f"#/0/sequence/{context['sequence_id']}/0/{first['feature_id']}")
        assert "largest anywhere" in seen.page.inner_text("#key")
        whole = run.table("sequences").to_pylist()[int(context["sequence_id"])]["text"]
        tokens = "".join(text for text in seen.page.locator(".strip .tok:not(.special)").all_inner_texts())
        assert tokens.replace("⏎", "").split() == whole.replace("\n", "").split()
        seen.page.locator(f".tok[data-position='{context['position']}']").click()
        assert f"{first['feature_id']}" in seen.page.locator("#chosen tbody tr a").all_inner_texts()
        seen.page.keyboard.press("Escape")
        seen.page.wait_for_selector("#overview:not([hidden])")
        assert not seen.problems, seen.problems


@pytest.mark.slow
def test_search_finds_a_tokens_features_with_recall_and_precision(
    pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    from actkit.plots.feature_dataset.all_features import features_of_token

    run = open_run(six_runs["feature-dataset"])
    found = features_of_token(run, run.facts["saes"][0]["name"], " king")
    with watched(browser) as seen:
        seen.go(pages["feature-dataset"].as_uri())
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("king")
        seen.page.keyboard.press("Enter")
        seen.settled("#/search/king")
        rows = [
            [cell.strip() for cell in row.split("\t")]
            for row in seen.page.locator("#detail tbody tr").all_inner_texts()
        ]
        assert f"{found.n_tokens:,} tokens" in seen.page.inner_text("#detail")
        best = max(range(len(found.hits)), key=lambda index: found.f1[index])
        f1 = [found.f1[int(row[0])] for row in rows]
        assert f1 == sorted(f1, reverse=True) and f1[0] == pytest.approx(found.f1[best])
        for row in rows:
            number = int(row[0])
            shares = (found.recall[number], found.n_tokens), (found.precision[number], int(found.active[number]))
            assert row[1:3] == [percent(*share) for share in shares]
        assert not seen.problems


@pytest.mark.slow
def test_a_pair_is_two_strips_under_what_they_share_and_a_click_opens_it(
    pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    run = open_run(six_runs["dpo"])
    sequences = run.to_pandas("sequences")
    with watched(browser, viewport={"width": 1600, "height": 1000}) as seen:
        seen.go(pages["dpo"].as_uri())
        seen.drawn()
        seen.page.evaluate(
            "document.querySelector('#picture-pca .plot').emit('plotly_click', {points: [{customdata: 3}]})"
        )
        seen.settled("#/0/record/3")
        of = sequences[sequences["record_id"] == 3].set_index("side")
        strips = seen.page.locator(".strip").all()
        assert len(strips) == 3
        shown = [
            "".join(strip.locator(".tok").all_inner_texts()).replace("⏎\n", "\n").replace("⏎", "\n") for strip in strips
        ]
        for side, own in (("chosen", shown[1]), ("rejected", shown[2])):
            assert "".join((shown[0] + own).split()) == "".join(of.loc[side, "text"].split())
        boxes = [strip.bounding_box() for strip in strips[1:]]
        assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=2), "side by side"
        assert seen.page.locator(".tok.branch").count() == 2
        assert not seen.problems
        first, last = seen.page.locator("#overview .picture").first, seen.page.locator("#overview .picture").nth(1)
        seen.page.keyboard.press("Escape")
        seen.page.keyboard.press("j")
        assert seen.page.evaluate("document.activeElement.id") == first.get_attribute("id")
        seen.page.keyboard.press("j")
        assert seen.page.evaluate("document.activeElement.id") == last.get_attribute("id")


@pytest.mark.slow
def test_two_runs_stand_side_by_side_on_the_same_axes(
    six_runs: Mapping[str, Path], tmp_path: Path, browser: Any
) -> None:
    runs = [open_run(six_runs["feature-dataset"]), open_run(six_runs["sae-extract"])]
    write_report([runs[0], runs[0]], tmp_path / "same.html")
    write_report(runs, tmp_path / "two.html")
    with watched(browser, viewport={"width": 1600, "height": 900}) as seen:
        seen.go((tmp_path / "same.html").as_uri())
        seen.drawn()
        assert seen.page.locator(".picture.two").count() == PICTURES
        ranges = seen.page.evaluate(
            "[...document.querySelectorAll('#picture-map .plot')].map((one) => one.layout.xaxis.range)"
        )
        assert ranges[0] == ranges[1]
        assert "whose weights are the same" in seen.page.inner_text(".joined")
        seen.go((tmp_path / "two.html").as_uri())
        assert "actkit feature-dataset" in seen.page.inner_text("#overview") and "command" in seen.page.inner_text(
            ".differences"
        )
        assert "Feature" in seen.to(f"#/1/feature/0/{runs[1].table('feature_positions')['feature_id'][0]}")
        assert not seen.problems


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_and_the_limit_holds_and_says_what_it_left_out(
    six_runs: Mapping[str, Path], tmp_path: Path, browser: Any
) -> None:
    run = open_run(six_runs["feature-dataset"])
    first, second = (write_report([run], tmp_path / f"{letter}.html").read_bytes() for letter in "ab")
    assert first == second and len(first) < 4e6
    small = write_report([run], tmp_path / "c.html", limit_mb=2.2)
    assert small.stat().st_size < len(first)
    with watched(browser) as seen:
        seen.go(small.as_uri())
        assert "actkit view" in seen.page.inner_text("footer")
        assert not seen.problems


def attack(seen: Any, path: Path) -> list[str]:
    """Go over every kind of page of a hostile run; returns what went wrong."""
    seen.go(path.as_uri())
    seen.drawn()
    found = []
    addresses = ["#/", "#/0/sequences", "#/0/features", "#/search/<img src=x onerror=alert(1)>"]
    index = seen.page.evaluate("fetch === undefined ? null : location.hash")
    assert index is not None
    seen.to("#/0/features")
    features = seen.page.locator("#detail tbody a").all_inner_texts()[:6]
    addresses += [f"#/0/sequence/{index}" for index in range(len(ATTACKS))]
    addresses += [f"#/0/feature/0/{feature}" for feature in features]
    for address in addresses:
        seen.page.evaluate("(address) => { location.hash = encodeURI(address) }", address)
        seen.page.wait_for_timeout(60)
        for place in seen.page.locator("#detail .tok").all()[:1]:
            place.hover()
            place.click()
        if seen.page.locator(FOREIGN).count():
            found.append(f"{address}: {seen.page.locator(FOREIGN).first.evaluate('(one) => one.outerHTML')[:200]}")
    if seen.page.evaluate("window.hacked"):
        found.append("a script of the run has run")
    return found + seen.problems


@pytest.mark.slow
def test_nothing_of_a_hostile_run_is_markup(hostile: Path, tmp_path: Path, browser: Any) -> None:
    path = write_report([open_run(hostile)], tmp_path / "x.html")
    with watched(browser) as seen:
        assert attack(seen, path) == []
        texts = seen.to("#/0/sequence/0")
        assert "</script><script>window.hacked=1;alert(1)</script>" in texts.replace("⏎\n", "")
        assert "⟨U+202E⟩" in seen.to("#/0/sequence/11") and "\u202e" not in seen.page.content()
        assert seen.page.evaluate("getComputedStyle(document.querySelector('.tok')).unicodeBidi") == "isolate"
        assert ATTACKS[2] in seen.page.inner_text("#overview") or ATTACKS[2] in seen.page.text_content("#overview")
    raw = path.read_text(encoding="utf-8")
    assert raw.count("<script") == raw.count("</script>") and not re.search(r"<(img|iframe|base)\b", raw)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', raw)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "unsafe-eval" not in policy[1]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ["template", "script", "labels"])
def test_without_escaping_the_same_test_fails(
    mutation: str, hostile: Path, tmp_path: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test of the test: escaping taken away in one place is seen."""
    if mutation == "template":
        real = jinja2.Environment
        monkeypatch.setattr(write.jinja2, "Environment", lambda **options: real(**{**options, "autoescape": False}))
    elif mutation == "script":
        text = write.script_text()
        weak = text.replace(
            "made.append(child instanceof Node ? child : document.createTextNode(String(child)));",
            "if (child instanceof Node) made.append(child); else made.insertAdjacentHTML('beforeend', String(child));",
        )
        assert weak != text
        monkeypatch.setattr(write, "script_text", lambda: weak)
    else:
        import actkit.plots.strip as drawn

        monkeypatch.setattr(drawn, "label", lambda text, _longest=60: "<a href='javascript:alert(1)'>x</a>" + str(text))
    path = write_report([open_run(hostile)], tmp_path / "x.html")
    with watched(browser) as seen:
        try:
            found = attack(seen, path)
        except Exception as error:  # a page that is broken by it fails too
            found = [str(error)]
        if mutation == "labels":
            found += [count for count in [seen.page.locator("svg a").count()] if count]
        assert found, f"{mutation} is not noticed"


def test_the_commands_print_the_pages_path(six_runs: Mapping[str, Path], actkit: Any, tmp_path: Path) -> None:
    found = actkit("report", six_runs["capture"], "-o", tmp_path / "x.html")
    assert found.status == 0 and found.out.strip() == str(tmp_path / "x.html") and (tmp_path / "x.html").exists()
    again = actkit("report", six_runs["capture"], "-o", tmp_path / "x.html")
    assert again.status == 1 and "exists already" in again.err  # as of every other command
    assert actkit("report", tmp_path).status == 1
    assert actkit("capture", "--prompt", "hi", "--layers", "1", "-o", tmp_path / "y", "-q", "--report").status == 0
    assert (tmp_path / "y.html").stat().st_size > 1e6
    assert json.loads((tmp_path / "y" / "run.json").read_text())["options"].get("report") is None
    assert OWN
