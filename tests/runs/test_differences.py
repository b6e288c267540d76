"""What a manifest of somebody else's making says of a file's size is said, whatever it is."""

from pathlib import Path
from typing import Any

import pytest

from actkit.runs.atomic_files import difference


@pytest.mark.parametrize("size", [[1], "x", None, 10**30, {"a": 1}])
def test_a_size_that_is_no_number_is_a_difference(size: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert str(difference(path, size, "")).startswith("3 bytes, but ")
