"""`actkit.steer` asks for what the command line would."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actkit.api import steering
from actkit.errors import RunError, UsageError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The specs that `run_steer` was called with; nothing is run."""
    specs: list[Any] = []

    def run_steer(spec: Any, _follow: Any) -> None:
        specs.append(spec)
        raise RunError("enough")

    monkeypatch.setattr(steering, "run_steer", run_steer)
    return specs


def test_numbers_of_any_kind_arrive_whole(asked: list[Any], tmp_path: Path) -> None:
    """Six digits of a feature's id were kept, and numbers of numpy were no numbers."""
    with pytest.raises(RunError, match="enough"):
        steering.steer(tmp_path, layers=np.int64(2), strengths=np.array([0.5, 2], np.float32), features=[1048575])
    assert (asked[0].layers, asked[0].strengths, asked[0].features) == ("2", "0.5,2", "1048575")


@pytest.mark.parametrize("options", [{"layers": [1.5]}, {"strengths": ["much"]}, {"features": [None]}], ids=str)
def test_what_is_no_number_is_said(options: dict[str, Any], asked: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        steering.steer(tmp_path, **options)
    assert asked == []
