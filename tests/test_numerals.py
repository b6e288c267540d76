"""How numbers are written for readers."""

from actkit.numerals import TIMES, percent, signed


def test_a_minus_is_one_and_powers_of_ten_are_raised() -> None:
    assert [signed(value) for value in (-4, 4, -0.5, 2e-05, -1.5e20)] == [
        "−4",
        "4",
        "−0.5",
        f"2{TIMES}10⁻⁵",
        f"−1.5{TIMES}10²⁰",
    ]
    assert [signed(0.52, "+.2f"), signed(-0.52, "+.2f"), signed(1e-10, ".1e")] == ["+0.52", "−0.52", f"1.0{TIMES}10⁻¹⁰"]
    assert signed(float("nan")) == "nan" and signed(1.0, ".0e") == f"1{TIMES}10⁰"
    assert [percent(0.125), percent(1.0), percent(0.00123, 2)] == ["12 %", "100 %", "0.12 %"]
