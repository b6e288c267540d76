"""Debian's Chromium for tests of pages; skipped where there is none, failed where CI is set."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OWN = ("file:", "data:", "blob:")


@dataclass
class Watched:
    """A page, and whatever it did that no page may."""

    page: Any
    problems: list[str] = field(default_factory=list)

    def go(self, address: str) -> None:
        """Open an address, and wait until the page says it is ready."""
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def drawn(self) -> None:
        """Wait until every picture is there."""
        self.page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)

    def to(self, address: str) -> str:
        """Go to a page of the page; returns its text."""
        self.page.evaluate("(address) => { location.hash = address }", address)
        self.settled(address)
        return str(self.page.inner_text("#detail"))

    def settled(self, address: str) -> None:
        """Wait until the page at an address is shown."""
        self.page.wait_for_function(
            "(at) => decodeURIComponent(document.documentElement.dataset.page || '') === at", arg=address
        )


def executable() -> str:
    """Where Chromium is; skips the test where it is not."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium: apt-get install -y chromium")
    return str(found)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def watched(browser: Any, allowed: tuple[str, ...] = OWN, **options: Any) -> Iterator[Watched]:
    """A page that may ask for nothing but `allowed`, offline unless that is more than files."""
    context = browser.new_context(offline=allowed == OWN, **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    found = Watched(page)
    page.on("console", lambda said: found.problems.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("dialog", lambda dialog: (found.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda asked: None if asked.url.startswith(allowed) else found.problems.append(asked.url))
    page.on("popup", lambda _popup: found.problems.append("popup"))
    yield found
    context.close()
