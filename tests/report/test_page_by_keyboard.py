"""A report without a mouse, without its script, on paper, and read out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actkit.report.write import write_report
from actkit.runs.run import open_run
from tests.report.browser import watched

pytestmark = pytest.mark.slow
STOPS = """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
  .filter((one) => one.tabIndex >= 0 && one.checkVisibility({visibilityProperty: true})).length"""
HERE = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  one.dataset.seen = 'yes';
  const style = getComputedStyle(one);
  return [one.outerHTML.slice(0, 120), style.outlineStyle, parseFloat(style.outlineWidth)];
}"""
UNNAMED = """() => [...document.querySelectorAll('svg, img, button, input, select, [role=group], [role=region]')]
  .filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true], [role=img], [role=button]')
  && !(one.getAttribute('aria-label') || one.textContent.trim() || one.title))
  .map((one) => one.outerHTML.slice(0, 120))"""
"""What has no name to be read out."""


@pytest.fixture(scope="module")
def pages(six_runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    names = ("dpo", "feature-dataset")
    return {name: write_report([open_run(six_runs[name])], folder / f"{name}.html") for name in names}


def walk(seen: Any) -> None:
    """Tab from the page's beginning to its end: every control is met, each with a ring around it."""
    seen.page.evaluate(
        "() => { document.querySelectorAll('[data-seen]').forEach((one) => { delete one.dataset.seen });"
        " const home = document.querySelector('.home'); home.focus(); home.dataset.seen = 'yes' }"
    )
    wanted = seen.page.evaluate(STOPS)
    for _ in range(wanted + 5):
        seen.page.keyboard.press("Tab")
        found = seen.page.evaluate(HERE)
        if found is None:
            break
        assert found[1] != "none" and found[2] >= 2, f"no ring around {found[0]}"
    met = seen.page.evaluate("() => document.querySelectorAll('[data-seen]').length")
    assert met == wanted > 0, "a control that Tab does not come to"
    assert seen.page.evaluate(UNNAMED) == []


def test_every_control_is_reached_by_keys_and_named(
    pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    stats = open_run(six_runs["feature-dataset"]).to_pandas("feature_stats")
    feature = int(stats.nlargest(1, "density")["feature_id"].iloc[0])
    with watched(browser, viewport={"width": 1600, "height": 900}) as seen:
        seen.go(pages["feature-dataset"].as_uri())
        seen.drawn()
        walk(seen)
        name = seen.page.title()
        for address, heading in (
            ("#/0/sequences", "Texts"),
            (f"#/0/feature/0/{feature}", f"Feature {feature}"),
            ("#/0/sequence/0", "Text 0"),
        ):
            seen.to(address)
            assert seen.page.evaluate("document.activeElement.textContent") == heading, "what is read out first"
            assert seen.page.title() == f"{heading} · {name}"
            walk(seen)
        # One stop a strip: the arrows go from token to token, Enter says what is active there.
        seen.page.locator(".strip .tok[tabindex='0']").first.focus()
        assert "position 0" in seen.page.inner_text("#hover")
        seen.page.keyboard.press("ArrowRight")
        seen.page.keyboard.press("ArrowRight")
        assert "position 2" in seen.page.inner_text("#hover")
        seen.page.keyboard.press("Enter")
        assert "Position 2" in seen.page.inner_text("#chosen")
        seen.page.keyboard.press("Home")
        assert "position 0" in seen.page.inner_text("#hover")
        seen.to("#/0/features")
        seen.page.locator("th button", has_text="largest").focus()
        seen.page.keyboard.press("Enter")
        column = seen.page.locator("tbody tr td:nth-child(4)").all_inner_texts()[:5]
        assert [float(text) for text in column] == sorted(map(float, column), reverse=True)
        assert seen.page.locator("th[aria-sort=descending]").inner_text().startswith("largest")
        assert not seen.problems, seen.problems


def test_what_both_sides_of_a_pair_begin_with_is_a_text_too(
    pages: Mapping[str, Path], six_runs: Mapping[str, Path], browser: Any
) -> None:
    """It was "not in this page", although both sides stand under it."""
    rows = open_run(six_runs["dpo"]).to_pandas("sequences")
    shared = int(rows[rows["side"] == "shared"]["sequence_id"].iloc[1])
    with watched(browser) as seen:
        seen.go(pages["dpo"].as_uri())
        text = seen.to(f"#/0/sequence/{shared}")
        assert f"Text {shared} is what these texts begin with." in text and "not in this page" not in text
        assert "shared by both" in text and "chosen, " in text and "rejected, " in text
        assert "is not in this page" in seen.to("#/0/sequence/99999")
        assert not seen.problems


def test_without_a_script_and_on_paper(pages: Mapping[str, Path], browser: Any) -> None:
    with watched(browser, java_script_enabled=False) as seen:
        seen.page.goto(pages["dpo"].as_uri())
        said = seen.page.inner_text("main")
        assert "Without JavaScript" in said and "actkit dpo" in said
    with watched(browser, viewport={"width": 1600, "height": 900}, color_scheme="dark") as seen:
        seen.go(pages["dpo"].as_uri())
        seen.drawn()
        seen.page.emulate_media(media="print")
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        seen.page.wait_for_function("document.querySelector('.plot').layout.width < 700")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not seen.page.locator("header").is_visible() and not seen.page.locator(".modebar").first.is_visible()
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        seen.page.wait_for_function("!(document.querySelector('.plot').layout.width < 700)")
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert not seen.problems, seen.problems


def test_words_of_several_tokens_stand_in_the_direction_of_their_script(
    actkit: Any, tmp_path: Path, browser: Any
) -> None:
    """Each token is isolated; the letters of a Hebrew word stood from left to right."""
    assert actkit("capture", "-p", "שלום world", "--layers", "0", "-o", tmp_path / "x", "-q").status == 0
    page = write_report([open_run(tmp_path / "x")], tmp_path / "x.html")
    with watched(browser) as seen:
        seen.go(page.as_uri())
        seen.to("#/0/sequence/0")
        places = seen.page.evaluate(
            "() => [...document.querySelectorAll('.tok:not(.special)')]"
            ".map((one) => [one.textContent, one.getBoundingClientRect().left])"
        )
        letters = [left for text, left in places if text.strip() in ("ש", "ל", "ו", "ם")]
        assert len(letters) == 4 and letters == sorted(letters, reverse=True)
        words = [left for text, left in places if text.strip().isascii() and text.strip()]
        assert words == sorted(words) and max(words) < min(letters), "the text is of the first word's direction"
        seen.page.locator(".tok[tabindex='0']").focus()
        seen.page.keyboard.press("ArrowLeft")
        assert "position 1" in seen.page.inner_text("#hover"), "to where the next one stands"
        assert not seen.problems
