"""The browser, once a session."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.report.browser import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; tests that use it are skipped where it is not."""
    with chromium() as opened:
        yield opened
