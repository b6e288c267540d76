"""What `actkit steer` prints of the table `effects`."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from actkit.analysis.steering.effects import Made, effect_rows
from actkit.analysis.steering.samples import ANSWERS, TEXTS, WORDS, Changes, Measured
from actkit.analysis.steering.tables import report_of
from actkit.cli.screen.directions import show_effects


def printed(metrics: tuple[str, ...], folder: Path) -> list[str]:
    """The lines about one intervention, two controls and three texts a side, in some measures."""
    made = [Made(at, "zero", 3, "features", 1.0, at > 1, 0, -1, (at,)) for at in (1, 2, 3)]
    change = np.array([[0, -0.9, 0.1, -0.2], [0, -1.0, 0.1, 0.2], [0, -1.1, 0.0, 0.0], *np.zeros((3, 4))])
    texts, side = np.tile(np.arange(3), 2), np.repeat([1, -1], 3)
    samples = [Changes(metric, "test", texts, side, texts, change) for metric in metrics]
    rows = effect_rows(Measured(samples, np.zeros(4)), made, 0.1)
    (folder / "effects").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([{"delta_nll": None, **row} for row in rows]), folder / "effects" / "part-00000.parquet"
    )
    screen = Console(file=io.StringIO(), width=120)
    report = report_of([row for row in rows if row["metric"] == metrics[0]], 30, 0.1)
    show_effects(folder, {"steer": report}, screen)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("metrics", "unit"), [((ANSWERS,), "nats a token"), ((WORDS,), "nats"), ((WORDS, TEXTS), "nats a token")]
)
def test_p_has_no_sign_and_the_measure_stands_where_there_are_several(
    metrics: tuple[str, ...], unit: str, tmp_path: Path
) -> None:
    lines = printed(metrics, tmp_path / "run")
    assert lines[0] == f"on the test texts, in {unit}:"
    assert "0.333" in lines[2].split() and "+0.33" not in lines[2]
    assert ("measure" in lines[1].split()) == (len(metrics) > 1)
    assert all(metric in line.split() for metric, line in zip(metrics, lines[2:], strict=False) if len(metrics) > 1)
    assert any(line.startswith("zero features, layer 3, strength 1:") for line in lines)
    assert any("not shown: −1.00 nats" in line and "2 controls are too few" in line for line in lines)
