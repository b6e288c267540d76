"""What every picture has in common."""

import pytest

from actkit.plots import style
from actkit.plots.traces import band


def test_a_band_at_a_single_layer_can_be_seen() -> None:
    low, high = band([15], [-0.2], [0.3], "controls", "#8a8a8a")
    assert high.x[0] < 15 < high.x[1] and (low.y, high.y) == ((-0.2, -0.2), (0.3, 0.3))
    assert band([1, 2], [0, 0], [1, 1], "quartiles", "#8a8a8a")[1].x == (1, 2)


@pytest.mark.parametrize(("values", "step"), [([6, 7, 10], 1), ([0, 40], None), ([], 1)])
def test_axes_of_positions_have_whole_numbers(values: list[int], step: int | None) -> None:
    """Between 6 and 7 plotly would mark 6.5, where there is no position."""
    axis = style.wholes(values)
    assert axis["tickformat"] == ",d" and axis.get("dtick") == step
